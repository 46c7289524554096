# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses that are handed out once each."""

from __future__ import annotations

import threading
from ipaddress import IPv4Address, IPv4Network
from itertools import chain


class AddressError(Exception):
    """No such address can be had; ``code`` is EC2's for it."""

    def __init__(self, code: str, message: str) -> None:
        """Note EC2's error code beside the message."""
        super().__init__(message)
        self.code = code


class AddressPool:
    """Addresses of one network. An address given back is the last to be given again, as long as there are others."""

    def __init__(self, network: IPv4Network) -> None:
        """Start with all of ``network`` free."""
        self._network = network
        self._taken: set[IPv4Address] = set()
        self._last: dict[IPv4Network, int] = {}
        self._lock = threading.Lock()

    def take(self, subnet: IPv4Network) -> str:
        """Return a free address of the subnet."""
        usable = usable_offsets(subnet)
        self._check(subnet)
        with self._lock:
            first = self._last.get(subnet, usable.start - 1) + 1
            for offset in chain(range(first, usable.stop), range(usable.start, first)):
                if subnet[offset] not in self._taken:
                    self._taken.add(subnet[offset])
                    self._last[subnet] = offset
                    return str(subnet[offset])
        raise AddressError("InsufficientFreeAddressesInSubnet", f"{subnet} has no free address left")

    def claim(self, address: str, subnet: IPv4Network) -> None:
        """Take the given address of the subnet."""
        wanted = IPv4Address(address)
        self._check(subnet)
        if int(wanted) - int(subnet.network_address) not in usable_offsets(subnet):
            raise AddressError("InvalidParameterValue", f"Address {address} is not one that {subnet} can give")
        with self._lock:
            if wanted in self._taken:
                raise AddressError("InvalidIPAddress.InUse", f"Address {address} is in use.")
            self._taken.add(wanted)

    def release(self, address: str) -> None:
        """Give an address back."""
        with self._lock:
            self._taken.discard(IPv4Address(address))

    def _check(self, subnet: IPv4Network) -> None:
        if not subnet.subnet_of(self._network):
            raise AddressError("InvalidSubnet.Range", f"Local EC2 has addresses of {self._network} only, not {subnet}")


def usable_offsets(subnet: IPv4Network) -> range:
    """Return which addresses of a subnet may be given: EC2 keeps the first four and the last."""
    return range(4, subnet.num_addresses - 1)
