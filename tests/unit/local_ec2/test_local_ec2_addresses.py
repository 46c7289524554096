# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses, client tokens and what stands between moto and them."""

from __future__ import annotations

import threading
from ipaddress import IPv4Network
from types import SimpleNamespace

import pytest

from local_ec2.addresses import AddressError, AddressPool
from local_ec2.deviations.patch import replace
from local_ec2.network import mac
from local_ec2.tokens import TokenMismatchError, TokenStore

VPC = IPv4Network("10.231.0.0/16")
SMALL = IPv4Network("10.231.0.0/29")


def test_first_four_and_last_are_never_given() -> None:
    pool = AddressPool(VPC)
    assert [pool.take(SMALL) for _ in range(3)] == ["10.231.0.4", "10.231.0.5", "10.231.0.6"]
    with pytest.raises(AddressError, match="no free address") as caught:
        pool.take(SMALL)
    assert caught.value.code == "InsufficientFreeAddressesInSubnet"


def test_released_address_comes_last() -> None:
    pool = AddressPool(VPC)
    first = pool.take(SMALL)
    pool.release(first)
    assert [pool.take(SMALL) for _ in range(3)] == ["10.231.0.5", "10.231.0.6", first]


@pytest.mark.parametrize(
    "address", ["10.231.0.0", "10.231.0.1", "10.231.0.3", "10.231.0.7", "10.231.0.8", "10.230.0.4"]
)
def test_claim_refuses_reserved_and_foreign(address: str) -> None:
    with pytest.raises(AddressError, match=address) as caught:
        AddressPool(VPC).claim(address, SMALL)
    assert caught.value.code == "InvalidParameterValue"


def test_claimed_address_is_not_given_again() -> None:
    pool = AddressPool(VPC)
    pool.claim("10.231.0.4", SMALL)
    assert pool.take(SMALL) == "10.231.0.5"
    with pytest.raises(AddressError) as caught:
        pool.claim("10.231.0.5", SMALL)
    assert caught.value.code == "InvalidIPAddress.InUse"


def test_subnet_elsewhere_is_refused() -> None:
    with pytest.raises(AddressError, match=r"10\.231\.0\.0/16 only"):
        AddressPool(VPC).take(IPv4Network("10.9.0.0/24"))


def test_takers_in_parallel_get_different_addresses() -> None:
    pool, taken = AddressPool(VPC), []
    threads = [threading.Thread(target=lambda: taken.extend(pool.take(VPC) for _ in range(50))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == 400


def test_hardware_address_follows_the_private_one() -> None:
    assert mac("10.231.0.4") == "0a:ff:0a:e7:00:04"


def test_token_does_its_work_once() -> None:
    store, calls = TokenStore(), []
    results = [store.once("token", {"count": 1}, lambda: calls.append(1) or len(calls)) for _ in range(2)]
    assert (results, calls) == ([1, 1], [1])
    assert store.once("other", {"count": 1}, lambda: "other") == "other"


def test_token_with_other_parameters_is_refused() -> None:
    store = TokenStore()
    store.once("token", {"count": 1}, lambda: "first")
    with pytest.raises(TokenMismatchError):
        store.once("token", {"count": 2}, lambda: "second")


def test_failed_request_does_not_use_up_its_token() -> None:
    store = TokenStore()
    with pytest.raises(ZeroDivisionError):
        store.once("token", {}, lambda: 1 // 0)
    assert store.once("token", {}, lambda: "now") == "now"


def test_deviation_from_what_moto_no_longer_has_is_an_error() -> None:
    owner = SimpleNamespace(old=1)
    assert (replace(owner, "old", 2), owner.old) == (1, 2)
    with pytest.raises(AttributeError):
        replace(owner, "gone", 3)
