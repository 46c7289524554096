# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Local EC2 as its clients see it. Takes podman and root; runs beside a demo that is up."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import uuid
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from account import NAME, PLACE, UP, Account, command, wait_until
from botocore.exceptions import ClientError

CAP_NET_ADMIN = 12


@pytest.fixture(scope="module")
def pair(account: Account) -> list[str]:
    """Two running instances, with user-data that leaves a trace and counts boots."""
    user_data = (
        "#cloud-config\nwrite_files: [{path: /etc/given, content: by user-data}]\nruncmd: ['echo once >> /etc/ran']\n"
    )
    instances = account.run(2, UserData=user_data)["Instances"]
    assert [instance["State"]["Name"] for instance in instances] == ["pending", "pending"]
    ids = [instance["InstanceId"] for instance in instances]
    for instance_id in ids:
        account.wait(instance_id, "running")
    return ids


def containers() -> set[str]:
    """Return the ids of the instances that have a container."""
    done = subprocess.run(
        ["podman", "ps", "-a", "--filter", f"label=sparkfleet.local-ec2={NAME}", "--format", "{{.Names}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.removeprefix(f"{NAME}-") for name in done.stdout.split()}


def routes() -> list[str]:
    """Return the host's routes that lead to public addresses of ours."""
    shown = subprocess.run(["ip", "-json", "route"], capture_output=True, text=True, check=True).stdout
    to = (route["dst"] for route in json.loads(shown) if route["dst"] != "default" and "type" not in route)
    return [destination for destination in to if IPv4Network(destination).subnet_of(PLACE.public)]


def test_second_up_says_so(account: Account) -> None:
    started = time.monotonic()
    again = command(*UP)
    assert again.returncode == 0
    assert "up already" in again.stdout
    assert time.monotonic() - started < 2


def test_newest_image_is_the_one_that_boots(account: Account) -> None:
    older, newest = account.images
    assert newest["Name"] == "debian-12-amd64-20261015-2264"
    assert newest["RootDeviceName"] == "/dev/xvda"
    with pytest.raises(ClientError, match=r"InvalidAMIID\.NotFound"):
        account.run(ImageId=older["ImageId"])


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"InstanceType": "m5.huge"}, "InvalidInstanceType"),
        ({"InstanceType": "m6g.large"}, "InvalidParameterValue"),
        ({"KeyName": "absent"}, "InvalidKeyPair.NotFound"),
        ({"SecurityGroupIds": ["sg-0123456789abcdef0"]}, "InvalidGroup.NotFound"),
        ({"SecurityGroups": ["absent"]}, "InvalidGroup.NotFound"),
        ({"UserData": "x" * 20000}, "InvalidParameterValue"),
        ({"PrivateIpAddress": str(PLACE.vpc[2])}, "InvalidParameterValue"),
        ({"Placement": {"AvailabilityZone": "eu-west-1a"}}, "InvalidParameterValue"),
        ({"DryRun": True}, "DryRunOperation"),
    ],
)
def test_refused_launch_leaves_nothing(account: Account, parameters: dict[str, Any], code: str) -> None:
    before = account.ec2.describe_instances()["Reservations"]
    with pytest.raises(ClientError, match=code):
        account.run(**parameters)
    assert len(account.ec2.describe_instances()["Reservations"]) == len(before)


def test_boots_like_a_debian_instance(account: Account, pair: list[str]) -> None:
    node = account.get(pair[0])
    assert account.ssh(pair[0], "hostname") == f"ip-{node['PrivateIpAddress'].replace('.', '-')}"
    assert account.ssh(pair[0], "cat /etc/given") == "by user-data"
    assert account.ssh(pair[0], "sudo -n id -u") == "0"
    assert 'VERSION_ID="12"' in account.ssh(pair[0], "cat /etc/os-release")
    assert account.ssh(pair[0], "cloud-init status --wait >/dev/null; systemctl is-system-running --wait") == "running"
    assert "disabled" in account.ssh(pair[0], "sudo grep ^admin: /etc/shadow | grep -q '^admin:!' && echo disabled")


def test_node_has_the_limits_of_its_type(account: Account, pair: list[str]) -> None:
    files = "/sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes"
    assert account.ssh(pair[0], f"cat {files} 2>/dev/null || true") == str(8 << 30)
    capabilities = int(account.ssh(pair[0], "sudo awk '/CapBnd/ {print $2}' /proc/self/status"), 16)
    assert not capabilities >> CAP_NET_ADMIN & 1


@pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="this machine has no FUSE")
def test_every_user_may_use_fuse(account: Account, pair: list[str]) -> None:
    assert account.ssh(pair[0], "stat -c '%F %a' /dev/fuse && exec 3<> /dev/fuse") == "character special file 666"


def test_tmp_and_journal_are_on_the_disk(account: Account, pair: list[str]) -> None:
    assert "tmpfs" not in account.ssh(pair[0], "stat -f -c %T /tmp /var/log/journal")
    assert account.ssh(pair[0], "stat -c %a /tmp") == "1777"
    assert account.ssh(pair[0], "journalctl --header | grep -c /var/log/journal") != "0"


def test_node_knows_its_private_address_only(account: Account, pair: list[str]) -> None:
    node = account.get(pair[0])
    assert account.ssh(pair[0], "hostname -I") == node["PrivateIpAddress"]
    assert IPv4Address(node["PublicIpAddress"]) in PLACE.public
    assert node["PublicDnsName"] == node["PublicIpAddress"]


@pytest.mark.parametrize("kind", ["PrivateIpAddress", "PublicIpAddress"])
def test_nodes_reach_each_other(account: Account, pair: list[str], kind: str) -> None:
    source = account.get(pair[0])[kind]
    for target in pair:
        address = account.get(target)[kind]
        banner = account.ssh(pair[0], f"timeout 5 bash -c 'read -r line </dev/tcp/{address}/22; echo $line'")
        assert banner.startswith("SSH-2.0")
        account.wait_for_log(target, f"Connection closed by {source} port")


def test_gateway_keeps_its_hardware_address(account: Account, pair: list[str]) -> None:
    shown = account.ssh(pair[0], "ip neighbour show dev eth0")
    gateway = Path(f"/sys/class/net/sf-{NAME}/address").read_text(encoding="ascii").strip()
    assert f"{PLACE.vpc[1]} lladdr {gateway}" in shown
    # What Linux says of an address that was set, and so does not follow the ports.
    assert Path(f"/sys/class/net/sf-{NAME}/addr_assign_type").read_text(encoding="ascii").strip() == "3"


def test_mirror_serves_what_its_checksum_says(account: Account, pair: list[str]) -> None:
    url = f"{account.environment['SPARKFLEET_MIRROR']}/spark/spark-4.2.1/spark-4.2.1-bin-hadoop3.tgz"
    assert account.ssh(pair[0], f"cd /tmp && curl -sSfO {url} && curl -sSf {url}.sha512 | sha512sum -c").endswith("OK")
    assert account.ssh(pair[0], f"curl -s -o /dev/null -w '%{{http_code}}' {url}.absent") == "404"


def test_client_token_launches_once(account: Account) -> None:
    token = str(uuid.uuid4())
    first = account.run(ClientToken=token)
    instance_id = first["Instances"][0]["InstanceId"]
    account.wait(instance_id, "running")
    again = account.run(ClientToken=token)
    assert again["ReservationId"] == first["ReservationId"]
    assert [(i["InstanceId"], i["State"]["Name"]) for i in again["Instances"]] == [(instance_id, "running")]
    assert account.get(instance_id)["ClientToken"] == token
    with pytest.raises(ClientError, match="IdempotentParameterMismatch"):
        account.run(ClientToken=token, InstanceType="m5.xlarge")
    account.ec2.terminate_instances(InstanceIds=[instance_id])
    account.wait(instance_id, "terminated")
    after = account.run(ClientToken=token)["Instances"]
    assert [(i["InstanceId"], i["State"]["Name"]) for i in after] == [(instance_id, "terminated")]


def test_stop_and_start(account: Account, pair: list[str]) -> None:
    instance_id = pair[0]
    before, keys = account.get(instance_id), account.host_keys(instance_id)
    account.ssh(instance_id, "touch ~/kept")
    account.ec2.stop_instances(InstanceIds=[instance_id])
    stopped = account.wait(instance_id, "stopped")
    assert "PublicIpAddress" not in stopped
    assert stopped["PrivateIpAddress"] == before["PrivateIpAddress"]
    assert before["PublicIpAddress"] not in routes()
    account.ec2.start_instances(InstanceIds=[instance_id])
    after = account.wait(instance_id, "running")
    assert after["PrivateIpAddress"] == before["PrivateIpAddress"]
    assert after["PublicIpAddress"] not in (before["PublicIpAddress"], None)
    assert after["LaunchTime"] > before["LaunchTime"]
    assert account.ssh(instance_id, "ls ~/kept; cat /etc/ran").endswith("kept\nonce")
    assert account.host_keys(instance_id) == keys


@pytest.mark.parametrize("by", ["api", "itself"])
def test_reboot(account: Account, pair: list[str], by: str) -> None:
    instance_id = pair[1]
    before = account.get(instance_id)
    # Asked of the kernel, not of systemd: while a node shuts down, sshd may still answer when the bus no longer does.
    began = "cut -d ' ' -f 22 /proc/1/stat"
    boot = account.ssh(instance_id, began)
    if by == "api":
        account.ec2.reboot_instances(InstanceIds=[instance_id])
    else:
        account.ssh(
            instance_id, "sudo systemd-run -q --on-active=1 --timer-property=AccuracySec=100ms systemctl reboot"
        )
    wait_until(lambda: account.ssh(instance_id, began) != boot, 30, "reboot")
    after = account.get(instance_id)
    assert after["State"]["Name"] == "running"
    assert after["PublicIpAddress"] == before["PublicIpAddress"]
    assert account.ssh(instance_id, "cat /etc/ran") == "once"


def test_poweroff_inside_stops_the_instance(account: Account, pair: list[str]) -> None:
    account.ssh(pair[1], "sudo systemd-run -q --on-active=1 --timer-property=AccuracySec=100ms systemctl poweroff")
    stopped = account.wait(pair[1], "stopped")
    assert stopped["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    account.ec2.start_instances(InstanceIds=[pair[1]])
    account.wait(pair[1], "running")
    assert account.ssh(pair[1], "true") == ""


def test_states_that_refuse(account: Account, pair: list[str]) -> None:
    account.ec2.stop_instances(InstanceIds=[pair[1]])
    for call in (account.ec2.start_instances, account.ec2.reboot_instances):
        with pytest.raises(ClientError, match="IncorrectInstanceState"):
            call(InstanceIds=[pair[1]])
    account.wait(pair[1], "stopped")


def test_security_group_in_use_stays(account: Account) -> None:
    group = account.ec2.create_security_group(GroupName="used", Description="used")["GroupId"]
    instance_id = account.run(SecurityGroupIds=[group])["Instances"][0]["InstanceId"]
    with pytest.raises(ClientError, match="DependencyViolation"):
        account.ec2.delete_security_group(GroupId=group)
    account.ec2.terminate_instances(InstanceIds=[instance_id])
    account.wait(instance_id, "terminated")
    account.ec2.delete_security_group(GroupId=group)


def test_terminate_leaves_nothing(account: Account) -> None:
    instance_id = account.run()["Instances"][0]["InstanceId"]
    running = account.wait(instance_id, "running")
    assert running["PublicIpAddress"] in {route.removesuffix("/32") for route in routes()}
    account.ec2.terminate_instances(InstanceIds=[instance_id])
    gone = account.wait(instance_id, "terminated")
    assert "PublicIpAddress" not in gone
    assert "PrivateIpAddress" not in gone
    assert instance_id not in containers()
    assert running["PublicIpAddress"] not in {route.removesuffix("/32") for route in routes()}
    assert not Path(f"/run/netns/{NAME}-{instance_id}").exists()
    assert not account.ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [instance_id]}])[
        "Volumes"
    ]
    interfaces = account.ec2.describe_network_interfaces()["NetworkInterfaces"]
    assert running["PrivateIpAddress"] not in {interface["PrivateIpAddress"] for interface in interfaces}


def test_no_strangers_addresses(account: Account) -> None:
    with pytest.raises(ClientError, match="UnsupportedOperation"):
        account.ec2.allocate_address(Domain="vpc")


def test_status_names_the_nodes(account: Account, pair: list[str]) -> None:
    shown = command("status")
    assert shown.returncode == 0
    assert re.search(rf"{pair[0]} .*running.*MiB", shown.stdout)
    assert "Reached target" in command("logs", pair[0]).stdout


# The last one: the account is gone after it.
def test_up_after_a_crash_clears_up(account: Account, pair: list[str]) -> None:
    server = int(Path(f"/run/sparkfleet-local-ec2/{NAME}/server.lock").read_text(encoding="ascii"))
    os.kill(server, 9)
    wait_until(lambda: command("status").returncode == 3, 5, "status says down")
    assert containers() >= set(pair)
    again = command(*UP)
    assert again.returncode == 0, again.stderr
    assert "its account is gone, 2 node(s) removed" in again.stdout
    assert not containers()
    assert not routes()
    started = time.monotonic()
    assert command("down").returncode == 0
    assert time.monotonic() - started < 10
    assert not subprocess.run(["ip", "link", "show", f"sf-{NAME}"], capture_output=True, check=False).stdout
    assert command("env").returncode == 1
