# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks as nodes see and use them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from account import NAME, UP, Account, command, wait_until

FILES = Path("/var/lib/sparkfleet-local-ec2") / NAME
INSTANCE_STORE = "nvme-Amazon_EC2_NVMe_Instance_Storage_AWS"
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
    (left,) = connected()
    assert [str(file) for file in FILES.iterdir()] == [left]


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
