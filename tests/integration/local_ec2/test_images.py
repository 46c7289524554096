# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of one's own."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from account import NAME, Account, command, wait_until
from botocore.exceptions import ClientError

BEGAN = "cut -d ' ' -f 22 /proc/1/stat"
KEYS = "cat /etc/ssh/ssh_host_*_key.pub"


@pytest.fixture(scope="module")
def node(account: Account) -> str:
    """Return an instance with something of its own in its file system and on a volume."""
    asked = [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "DeleteOnTermination": True}}]
    user_data = "#cloud-config\nruncmd: ['echo once >> /etc/ran']\n"
    instance_id: str = account.run(BlockDeviceMappings=asked, UserData=user_data)["Instances"][0]["InstanceId"]
    account.wait(instance_id, "running")
    account.ssh(instance_id, "cloud-init status --wait >/dev/null; echo baked | sudo tee /opt/baked")
    disk = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol*[!_]?"
    account.ssh(instance_id, f"sudo mkfs.ext4 -q {disk} && sudo mount {disk} /mnt && echo data | sudo tee /mnt/kept")
    return instance_id


@pytest.fixture(scope="module")
def image(account: Account, node: str) -> str:
    """Return an image of it, which took a reboot."""
    boot = account.ssh(node, BEGAN)
    tags = [{"Key": "made-by", "Value": "test"}]
    specification = [{"ResourceType": kind, "Tags": tags} for kind in ("image", "snapshot")]
    image_id: str = account.ec2.create_image(
        InstanceId=node, Name="baked", Description="with a file", TagSpecifications=specification
    )["ImageId"]
    (described,) = account.ec2.describe_images(ImageIds=[image_id])["Images"]
    assert described["State"] == "pending"
    with pytest.raises(ClientError, match=r"InvalidAMIID\.Unavailable"):
        account.run(ImageId=image_id)
    account.ec2.get_waiter("image_available").wait(ImageIds=[image_id], WaiterConfig={"Delay": 1})
    wait_until(lambda: account.ssh(node, BEGAN) != boot, 30, "reboot for the image")
    return image_id


@pytest.fixture(scope="module")
def child(account: Account, image: str) -> str:
    """Return an instance of the image."""
    instance_id: str = account.run(ImageId=image, InstanceType="m5.xlarge")["Instances"][0]["InstanceId"]
    account.wait(instance_id, "running")
    return instance_id


def images() -> list[str]:
    """Return podman's images behind ours."""
    ours = ["--filter", f"label=sparkfleet.local-ec2={NAME}", "--format", "{{.Tag}}"]
    return subprocess.run(["podman", "image", "list", *ours], stdout=-1, check=True).stdout.decode().split()


def test_image_is_described_as_one_of_ours(account: Account, node: str, image: str) -> None:
    (described,) = account.ec2.describe_images(Owners=["self"], Filters=[{"Name": "tag:made-by", "Values": ["test"]}])[
        "Images"
    ]
    assert (described["ImageId"], described["SourceInstanceId"], described["Public"]) == (image, node, False)
    assert (described["RootDeviceName"], described["RootDeviceType"]) == ("/dev/xvda", "ebs")
    assert (described["Architecture"], described["Description"]) == ("x86_64", "with a file")
    devices = {mapping["DeviceName"]: mapping["Ebs"] for mapping in described["BlockDeviceMappings"]}
    assert {name: ebs["VolumeSize"] for name, ebs in devices.items()} == {"/dev/xvda": 8, "/dev/sdf": 1}
    snapshots = account.ec2.describe_snapshots(SnapshotIds=[ebs["SnapshotId"] for ebs in devices.values()])
    assert [snapshot["Tags"] for snapshot in snapshots["Snapshots"]] == [[{"Key": "made-by", "Value": "test"}]] * 2


def test_instance_of_the_image_is_a_new_one_with_its_files(account: Account, node: str, child: str) -> None:
    assert account.ssh(child, "cat /opt/baked") == "baked"
    ip = account.get(child)["PrivateIpAddress"].replace(".", "-")
    assert account.ssh(child, "hostname; cloud-init query instance_id").split() == [f"ip-{ip}", child]
    assert account.ssh(child, "cloud-init status --wait >/dev/null; systemctl is-system-running --wait") == "running"
    assert not set(account.ssh(child, KEYS).splitlines()) & set(account.ssh(node, KEYS).splitlines())
    # What was there at first boot only; Debian leaves the machine's id to who makes the image.
    assert account.ssh(child, "cat /etc/ran /etc/machine-id") == account.ssh(node, "cat /etc/ran /etc/machine-id")


def test_volumes_of_the_image_have_their_data(account: Account, child: str) -> None:
    assert account.ssh(child, "sudo mount /dev/nvme1n1 /mnt && cat /mnt/kept") == "data"


def test_image_without_a_reboot(account: Account, node: str) -> None:
    boot = account.ssh(node, f"{BEGAN}; sudo touch /opt/late")
    image_id = account.ec2.create_image(InstanceId=node, Name="late", NoReboot=True)["ImageId"]
    account.ec2.get_waiter("image_available").wait(ImageIds=[image_id], WaiterConfig={"Delay": 1})
    assert account.ssh(node, BEGAN) == boot
    account.ec2.deregister_image(ImageId=image_id)
    assert image_id not in images()


@pytest.mark.parametrize(("name", "code"), [("baked", "InvalidAMIName.Duplicate"), ("a*b", "InvalidAMIName.Malformed")])
def test_refused_names(account: Account, node: str, image: str, name: str, code: str) -> None:
    with pytest.raises(ClientError, match=code):
        account.ec2.create_image(InstanceId=node, Name=name)


def test_what_cannot_boot_is_refused(account: Account, image: str) -> None:
    copy = {"SourceImageId": image, "SourceRegion": "us-east-1", "Name": "copy"}
    calls: list[tuple[Any, dict[str, Any]]] = [
        (account.ec2.copy_image, copy),
        (account.ec2.register_image, {"Name": "none"}),
    ]
    for call, parameters in calls:
        with pytest.raises(ClientError, match="UnsupportedOperation"):
            call(**parameters)


def test_deregistered_image_goes_with_its_last_node(account: Account, image: str, child: str) -> None:
    with pytest.raises(ClientError, match="AuthFailure"):
        account.ec2.deregister_image(ImageId=account.images[-1]["ImageId"])
    account.ec2.deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)
    assert not account.ec2.describe_images(Owners=["self"])["Images"]
    with pytest.raises(ClientError, match=r"InvalidAMIID\.NotFound"):
        account.run(ImageId=image)
    assert images() == [image]
    assert account.ssh(child, "cat /opt/baked") == "baked"
    account.ec2.terminate_instances(InstanceIds=[child])
    account.wait(child, "terminated")
    assert images() == []


# The last one: the account is gone after it.
def test_down_removes_images(account: Account, node: str) -> None:
    image_id = account.ec2.create_image(InstanceId=node, Name="left", NoReboot=True)["ImageId"]
    account.ec2.get_waiter("image_available").wait(ImageIds=[image_id], WaiterConfig={"Delay": 1})
    assert images() == [image_id]
    assert command("down").returncode == 0
    assert images() == []
