# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the NFS gateway's boot hook: who may mount, and what the gateway takes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def hook(load: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, on files below tmp_path and without the user nfsgw."""
    module = load("nfs_gateway/files/nfs-gateway-boot")
    monkeypatch.setattr(module, "HOME", str(tmp_path / "home"))
    monkeypatch.setattr(module.shutil, "chown", lambda *_given: None)
    return module


def test_the_network_is_the_subnet_of_the_address_among_others(hook: ModuleType) -> None:
    second = {"local": "10.3.16.9", "prefixlen": 20}
    links = [
        {"ifname": "lo", "addr_info": [{"local": "127.0.0.1", "prefixlen": 8}]},
        {"ifname": "eth0", "addr_info": [{"local": "198.18.79.4", "prefixlen": 32}, second]},
    ]
    assert hook.network("10.3.16.9", links) == "10.3.16.0/20"


def test_an_address_of_no_link_lets_in_itself_only(hook: ModuleType) -> None:
    assert hook.network("203.0.113.7", [{"ifname": "lo", "addr_info": []}]) == "203.0.113.7/32"


def test_this_machine_has_addresses_in_the_form_that_is_read(hook: ModuleType) -> None:
    done = subprocess.run(["ip", "-json", "-4", "address"], stdout=subprocess.PIPE, check=True)
    assert hook.network("127.0.0.1", json.loads(done.stdout)) == "127.0.0.0/8"


@pytest.mark.parametrize(("memory", "heap"), [(1024, 256), (16_384, 512), (1_000_000, 2_048)])
def test_the_heap_follows_the_node_within_bounds(hook: ModuleType, memory: int, heap: int) -> None:
    found = hook.gateway({"SPARKFLEET_MEMORY_MB": str(memory)})
    assert found["NFS_GATEWAY_MEMORY"] == f"{heap}m"
    assert found["SPARKFLEET_TAKEN_MB"] == heap + 256


def test_what_others_take_is_added_to(hook: ModuleType) -> None:
    found = hook.gateway({"SPARKFLEET_MEMORY_MB": "4096", "SPARKFLEET_TAKEN_MB": "1000"})
    assert found["SPARKFLEET_TAKEN_MB"] == 1000 + 256 + 256


def test_the_folder_is_on_the_first_disk_and_for_the_gateway_alone(hook: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "disk1").mkdir()
    disks = f"{tmp_path}/disk1,{tmp_path}/disk2"
    found = hook.gateway({"SPARKFLEET_MEMORY_MB": "4096", "SPARKFLEET_DISKS": disks})
    assert found["NFS_GATEWAY_DIR"] == f"{tmp_path}/disk1/nfsgw"
    assert (tmp_path / "disk1/nfsgw").stat().st_mode & 0o777 == 0o700


def test_without_disks_it_is_at_home(hook: ModuleType, tmp_path: Path) -> None:
    found = hook.gateway({"SPARKFLEET_MEMORY_MB": "4096", "SPARKFLEET_DISKS": ""})
    assert found["NFS_GATEWAY_DIR"] == str(tmp_path / "home")
