# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks as nodes see and use them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from account import NAME, UP, Account, command, wait_until
from botocore.exceptions import ClientError

FILES = Path("/var/lib/sparkfleet-local-ec2") / NAME
INSTANCE_STORE = "nvme-Amazon_EC2_NVMe_Instance_Storage_AWS"
ZONE = "us-east-1a"
BEGAN = "cut -d ' ' -f 22 /proc/1/stat"


@pytest.fixture(scope="module")
def node(account: Account) -> str:
    """Return a running instance with one instance-store disk."""
    instance_id: str = account.run(InstanceType="m5d.large")["Instances"][0]["InstanceId"]
    account.wait(instance_id, "running")
    return instance_id


def connected() -> list[str]:
    """Return the files of ours that are connected to loop devices."""
    shown = subprocess.run(["losetup", "--list", "--noheadings", "--output", "BACK-FILE"], stdout=-1, check=True)
    return [file for file in shown.stdout.decode().splitlines() if file.startswith(f"{FILES}/")]


def disks(account: Account, instance_id: str, kind: str) -> list[str]:
    """Return the disks of a kind that a node has, by id and without other names for the same."""
    listed = account.ssh(instance_id, f"cd /dev/disk/by-id && ls -d {kind}*[!_]? || true")
    return [f"/dev/disk/by-id/{name}" for name in listed.split()]


def is_blank(account: Account, instance_id: str, disk: str) -> bool:
    """Tell whether a disk has no signature, and nothing but zeros where one would be."""
    probed = account.ssh(instance_id, f"sudo blkid --probe {disk}; echo $?")
    return probed == "2" and account.ssh(instance_id, f"sudo cmp --bytes 4M {disk} /dev/zero") == ""


def restart(account: Account, instance_id: str) -> None:
    """Stop and start an instance."""
    account.ec2.stop_instances(InstanceIds=[instance_id])
    account.wait(instance_id, "stopped")
    account.ec2.start_instances(InstanceIds=[instance_id])
    account.wait(instance_id, "running")


def test_instance_store_is_a_blank_nvme_disk(account: Account, node: str) -> None:
    (disk,) = disks(account, node, INSTANCE_STORE)
    assert account.ssh(node, f"readlink -f {disk} {disk}_1").split() == ["/dev/nvme1n1"] * 2
    assert account.ssh(node, "stat -c '%A %U %G' /dev/nvme1n1") == "brw-rw---- root disk"
    assert account.ssh(node, f"lsblk --bytes --noheadings --output SIZE {disk}") == "75000000000"
    assert is_blank(account, node, disk)


def test_node_opens_no_device_of_others(account: Account, node: str) -> None:
    refused = account.ssh(node, "sudo mknod /tmp/loop b 7 0 2>&1 || sudo mknod /tmp/vda b 254 0 2>&1 || true")
    assert refused.count("Operation not permitted") == 2


def test_reboot_keeps_instance_store_and_stop_wipes_it(account: Account, node: str) -> None:
    (before,) = disks(account, node, INSTANCE_STORE)
    account.ssh(node, f"sudo mkfs.ext4 -q {before} && sudo mount {before} /mnt && sudo touch /mnt/kept")
    boot = account.ssh(node, BEGAN)
    account.ec2.reboot_instances(InstanceIds=[node])
    wait_until(lambda: account.ssh(node, BEGAN) != boot, 30, "reboot")
    assert disks(account, node, INSTANCE_STORE) == [before]
    assert "kept" in account.ssh(node, f"sudo mount {before} /mnt && ls /mnt")
    restart(account, node)
    (after,) = disks(account, node, INSTANCE_STORE)
    assert after != before
    assert is_blank(account, node, after)
    assert account.ssh(node, f"sudo mkfs.ext4 -q {after} && sudo mount {after} /mnt && ls /mnt") == "lost+found"
    assert account.ssh(node, "sudo umount /mnt && echo unmounted") == "unmounted"


def test_disks_go_with_the_instance(account: Account) -> None:
    instance_id = account.run(InstanceType="m5d.4xlarge")["Instances"][0]["InstanceId"]
    account.wait(instance_id, "running")
    others = set(connected())
    assert len(others) == 3
    account.ec2.terminate_instances(InstanceIds=[instance_id])
    account.wait(instance_id, "terminated")
    assert set(connected()) < others
    assert {str(file) for file in FILES.iterdir()} == set(connected())


@pytest.fixture(scope="module")
def other(account: Account) -> str:
    """Return a running instance without disks, but with a volume from its launch."""
    asked = [
        {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 12}},
        {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 2, "DeleteOnTermination": True}},
        {"DeviceName": "/dev/sdg", "Ebs": {"VolumeSize": 1}},
    ]
    instance_id: str = account.run(BlockDeviceMappings=asked)["Instances"][0]["InstanceId"]
    account.wait(instance_id, "running")
    return instance_id


def make_volume(account: Account, **parameters: Any) -> str:
    """Make a volume in the zone of the instances, wait until it can be used."""
    volume_id: str = account.ec2.create_volume(**({"AvailabilityZone": ZONE, "Size": 1} | parameters))["VolumeId"]
    account.ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id], WaiterConfig={"Delay": 1})
    return volume_id


def by_id(volume_id: str) -> str:
    """Return where a node has a volume."""
    return f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{volume_id.replace('-', '')}"


def attach(account: Account, volume_id: str, instance_id: str, device: str = "/dev/sdf") -> None:
    """Attach a volume, wait until it is attached."""
    account.ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device=device)
    account.ec2.get_waiter("volume_in_use").wait(VolumeIds=[volume_id], WaiterConfig={"Delay": 1})


def attachment(account: Account, volume_id: str) -> str:
    """Return the state of a volume's attachment."""
    (volume,) = account.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"]
    return volume["Attachments"][0]["State"] if volume["Attachments"] else "none"


def test_volume_comes_and_goes_with_its_data(account: Account, node: str, other: str) -> None:
    volume = make_volume(account)
    attach(account, volume, node)
    disk = by_id(volume)
    assert account.ssh(node, f"lsblk --bytes --noheadings --output SIZE {disk}") == str(1 << 30)
    assert account.ssh(node, f"readlink -f {disk}") == "/dev/nvme2n1"
    account.ssh(node, f"sudo mkfs.ext4 -q {disk} && sudo mount {disk} /mnt && echo data | sudo tee /mnt/kept")
    account.ec2.detach_volume(VolumeId=volume)
    wait_until(lambda: attachment(account, volume) == "busy", 10, "detaching a mounted volume waits")
    assert account.ssh(node, "sudo umount /mnt && echo unmounted") == "unmounted"
    account.ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig={"Delay": 1})
    assert account.ssh(node, f"ls {disk}* /dev/nvme2n1 2>/dev/null || echo none") == "none"
    attach(account, volume, other, "/dev/sdh")
    assert account.ssh(other, f"sudo mount {disk} /mnt && cat /mnt/kept") == "data"
    with pytest.raises(ClientError, match="VolumeInUse"):
        account.ec2.delete_volume(VolumeId=volume)


def test_volumes_outlive_a_stop(account: Account, other: str) -> None:
    at_launch = {m["DeviceName"]: m["Ebs"]["VolumeId"] for m in account.get(other)["BlockDeviceMappings"]}
    disk = by_id(at_launch["/dev/sdf"])
    assert account.ssh(other, f"lsblk --bytes --noheadings --output SIZE {disk}") == str(2 << 30)
    account.ssh(other, f"sudo mkfs.ext4 -q {disk} && sudo mount {disk} /srv && echo data | sudo tee /srv/kept")
    account.ec2.stop_instances(InstanceIds=[other])
    account.wait(other, "stopped")
    late = make_volume(account)
    attach(account, late, other, "/dev/sdi")
    account.ec2.start_instances(InstanceIds=[other])
    account.wait(other, "running")
    assert account.ssh(other, f"sudo mount {disk} /srv && cat /srv/kept") == "data"
    assert account.ssh(other, f"test -b {by_id(late)} && echo there") == "there"


def test_snapshot_has_the_data(account: Account, other: str) -> None:
    at_launch = {m["DeviceName"]: m["Ebs"]["VolumeId"] for m in account.get(other)["BlockDeviceMappings"]}
    account.ssh(other, "sync")
    snapshot = account.ec2.create_snapshot(VolumeId=at_launch["/dev/sdf"])["SnapshotId"]
    account.ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot], WaiterConfig={"Delay": 1})
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        make_volume(account, SnapshotId=snapshot, Size=1)
    volume = make_volume(account, SnapshotId=snapshot, Size=3)
    account.ec2.delete_snapshot(SnapshotId=snapshot)
    attach(account, volume, other, "/dev/sdj")
    assert account.ssh(other, f"lsblk --bytes --noheadings --output SIZE {by_id(volume)}") == str(3 << 30)
    assert account.ssh(other, f"sudo mount {by_id(volume)} /media && cat /media/kept") == "data"


@pytest.mark.parametrize(
    ("call", "parameters", "code"),
    [
        ("attach_volume", {"VolumeId": "free", "Device": "/dev/sdf"}, "InvalidParameterValue"),
        ("attach_volume", {"VolumeId": "free", "Device": "/dev/nvme1n1"}, "InvalidParameterValue"),
        ("attach_volume", {"VolumeId": "taken", "Device": "/dev/sdp"}, "VolumeInUse"),
        ("attach_volume", {"VolumeId": "elsewhere", "Device": "/dev/sdp"}, "InvalidVolume.ZoneMismatch"),
        ("attach_volume", {"VolumeId": "free", "Device": "/dev/sdp", "DryRun": True}, "DryRunOperation"),
        ("detach_volume", {"VolumeId": "free"}, "IncorrectState"),
        ("detach_volume", {"VolumeId": "root"}, "OperationNotPermitted"),
        ("detach_volume", {"VolumeId": "taken", "Device": "/dev/sdz"}, "InvalidAttachment.NotFound"),
        ("detach_volume", {"VolumeId": "taken", "Force": True}, "UnsupportedOperation"),
        ("create_volume", {"Size": 1, "AvailabilityZone": "us-east-1z"}, "InvalidZone.NotFound"),
        ("modify_volume", {"VolumeId": "free", "Size": 2}, "UnsupportedOperation"),
    ],
)
def test_refused_calls(account: Account, other: str, call: str, parameters: dict[str, Any], code: str) -> None:
    at_launch = {m["DeviceName"]: m["Ebs"]["VolumeId"] for m in account.get(other)["BlockDeviceMappings"]}
    volumes = {"root": at_launch["/dev/xvda"], "taken": at_launch["/dev/sdf"]}
    if "VolumeId" in parameters:
        zone = f"{ZONE[:-1]}b" if parameters["VolumeId"] == "elsewhere" else ZONE
        volume = volumes.get(parameters["VolumeId"]) or make_volume(account, AvailabilityZone=zone)
        parameters = parameters | {"VolumeId": volume}
    if call == "attach_volume":
        parameters = parameters | {"InstanceId": other}
    with pytest.raises(ClientError) as refused:
        getattr(account.ec2, call)(**parameters)
    assert refused.value.response["Error"]["Code"] == code


def test_volumes_end_with_the_instance_if_asked_to(account: Account, other: str) -> None:
    at_launch = {m["DeviceName"]: m["Ebs"]["VolumeId"] for m in account.get(other)["BlockDeviceMappings"]}
    sizes = {volume["VolumeId"]: volume["Size"] for volume in account.ec2.describe_volumes()["Volumes"]}
    assert [sizes[at_launch[device]] for device in ("/dev/xvda", "/dev/sdf", "/dev/sdg")] == [12, 2, 1]
    account.ec2.terminate_instances(InstanceIds=[other])
    account.wait(other, "terminated")
    left = {volume["VolumeId"]: volume["State"] for volume in account.ec2.describe_volumes()["Volumes"]}
    assert left[at_launch["/dev/sdg"]] == "available"
    assert not {at_launch["/dev/xvda"], at_launch["/dev/sdf"]} & set(left)
    assert not (FILES / at_launch["/dev/sdf"]).exists()
    assert (FILES / at_launch["/dev/sdg"]).exists()
    account.ec2.delete_volume(VolumeId=at_launch["/dev/sdg"])
    assert not (FILES / at_launch["/dev/sdg"]).exists()


# The last one: the account is gone after it.
def test_up_after_a_crash_frees_disks(account: Account, node: str) -> None:
    (disk,) = disks(account, node, INSTANCE_STORE)
    account.ssh(node, f"sudo mkfs.ext4 -qF {disk} && sudo mount {disk} /mnt")
    os.kill(int(Path(f"/run/sparkfleet-local-ec2/{NAME}/server.lock").read_text(encoding="ascii")), 9)
    wait_until(lambda: command("status").returncode == 3, 5, "status says down")
    assert connected()
    again = command(*UP)
    assert again.returncode == 0, again.stderr
    wait_until(lambda: not connected(), 10, "loop devices are free")
    assert not FILES.exists()
