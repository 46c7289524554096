# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks: their names on EC2, what an instance type has, which data outlives what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from moto.ec2.models.instance_types import INSTANCE_TYPES

from local_ec2 import disks
from local_ec2.deviations.instances import store_sizes
from local_ec2.deviations.volumes import block_devices
from local_ec2.disks import EBS, Disk, NodeDisks, blank_store
from local_ec2.settings import LocalEC2Error


def test_links_are_those_of_debian_12() -> None:
    # As in a listing of a real instance, https://github.com/kubernetes/kubernetes/pull/56354
    worldwide = "766f6c3066616231643565336637326135653233-416d617a6f6e20456c617374696320426c6f636b2053746f7265"
    assert Disk(EBS, "vol0fab1d5e3f72a5e23", 1, Path("x")).links == (
        "nvme-Amazon_Elastic_Block_Store_vol0fab1d5e3f72a5e23",
        "nvme-Amazon_Elastic_Block_Store_vol0fab1d5e3f72a5e23_1",
        f"nvme-nvme.1d0f-{worldwide}-00000001",
    )


def test_instance_store_has_serials_as_on_ec2(tmp_path: Path) -> None:
    one, other = (blank_store(tmp_path, 1) for _ in range(2))
    assert re.fullmatch(r"nvme-Amazon_EC2_NVMe_Instance_Storage_AWS[0-9A-F]{17}", one.links[0])
    assert one.serial != other.serial


@pytest.mark.parametrize(
    ("instance_type", "gigabytes"),
    [
        ("m5d.large", [75]),
        ("m5d.4xlarge", [300, 300]),
        ("i3en.24xlarge", [7500] * 8),
        ("m5.large", []),
        ("m1.small", []),
    ],
)
def test_instance_store_of_a_type(instance_type: str, gigabytes: list[int]) -> None:
    assert store_sizes(INSTANCE_TYPES[instance_type]) == [size * 10**9 for size in gigabytes]


def test_reboot_finds_the_disks_and_a_stop_makes_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def connect(disk: Disk) -> Path:
        disk.file.touch()
        return Path("/dev/loop7")

    def files() -> list[str]:
        return sorted(path.name for path in tmp_path.iterdir())

    monkeypatch.setattr(disks, "connect", connect)
    monkeypatch.setattr(disks, "disconnect", lambda *_: None)
    node = NodeDisks(tmp_path, [1, 2])
    node.connect()
    first = files()
    assert len(first) == 2
    node.connect()
    assert files() == first
    node.disconnect()
    assert files() == []
    node.connect()
    assert len(files()) == 2
    assert not set(files()) & set(first)


def test_file_that_the_host_refuses(tmp_path: Path) -> None:
    with pytest.raises(LocalEC2Error, match=rf"no disk of {2**63 - 1} bytes: {tmp_path} refuses the file"):
        disks.connect(Disk(EBS, "vol0", 2**63 - 1, tmp_path / "vol0"))


def test_host_without_loop_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    losetup = tmp_path / "losetup"
    losetup.write_text("#!/bin/sh\necho 'losetup: cannot find an unused loop device' >&2\nexit 1\n", encoding="ascii")
    losetup.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(LocalEC2Error, match=r"for want of a loop device .*cannot find an unused"):
        disks.connect(Disk(EBS, "vol0", 512, tmp_path / "vol0"))


def test_block_devices_of_a_launch_override_the_images() -> None:
    image = [
        {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 8, "DeleteOnTermination": True}},
        {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}},
    ]
    asked = [
        {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 12}},
        {"DeviceName": "/dev/sdf", "NoDevice": ""},
        {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"},
        {"DeviceName": "/dev/sdg", "Ebs": {"SnapshotId": "snap-1"}},
    ]
    assert block_devices(image, asked) == [
        {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 12, "DeleteOnTermination": True}},
        {"DeviceName": "/dev/sdg", "Ebs": {"SnapshotId": "snap-1"}},
    ]
    assert block_devices(image, []) == image
