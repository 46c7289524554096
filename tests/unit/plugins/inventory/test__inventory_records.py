# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records: normalised instances, their names, and how ssh is to reach them."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible_collections.sparkfleet.ec2.plugins.plugin_utils._inventory_records import (
    Record,
    address,
    check_cluster_name,
    ssh_arguments,
    to_records,
)

Make = Callable[..., dict[str, Any]]
REGION = "eu-central-1"
START = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)


def names(*instances: dict[str, Any]) -> dict[str, str]:
    records = to_records([(REGION, one) for one in instances])
    return {record["instance_id"]: record["name"] for record in records}


@pytest.fixture
def started(instance: Make) -> Make:
    """A function: an instance last started at MINUTE and, when this differs, first launched at FIRST."""

    def make(instance_id: str, minute: int, first: int | None = None, **more: Any) -> dict[str, Any]:
        attached = START + timedelta(minutes=minute if first is None else first)
        interfaces = [
            {"Attachment": {"DeviceIndex": 1, "AttachTime": START - timedelta(days=1)}},
            {"Attachment": {"DeviceIndex": 0, "AttachTime": attached}},
            {},
        ]
        launched = START + timedelta(minutes=minute)
        return instance(instance_id, NetworkInterfaces=interfaces, LaunchTime=launched, **more)

    return make


def test_the_least_that_ec2_says_makes_a_whole_record(instance: Make) -> None:
    (record,) = to_records([(REGION, instance("i-1"))])
    assert set(record) == set(Record.__annotations__)
    assert json.loads(json.dumps(record)) == record
    assert record["launch_time"] == "2026-05-04T09:30:00+00:00"
    assert record["public_ip"] is None
    assert record["security_group_ids"] == []


def test_all_that_ec2_says_is_kept(instance: Make) -> None:
    whole = instance(
        "i-1",
        PrivateIpAddress="172.31.5.10",
        PublicIpAddress="203.0.113.10",
        PublicDnsName="",
        PrivateDnsName="ip-172-31-5-10.eu-central-1.compute.internal",
        KeyName="key",
        SecurityGroups=[{"GroupId": "sg-1", "GroupName": "one"}, {"GroupId": "sg-2", "GroupName": "two"}],
        VpcId="vpc-1",
        SubnetId="subnet-1",
        IamInstanceProfile={"Arn": "arn:aws:iam::1:instance-profile/spark", "Id": "x"},
        ClientToken="token",
    )
    whole["Tags"] += [
        {"Key": "sparkfleet:collection_version", "Value": "0.1.0"},
        {"Key": "sparkfleet:login_user", "Value": "admin"},
    ]
    (record,) = to_records([(REGION, whole)])
    assert record == {
        "instance_id": "i-1",
        "cluster": "a",
        "role": "worker",
        "name": "worker-1",
        "state": "running",
        "private_ip": "172.31.5.10",
        "public_ip": "203.0.113.10",
        "public_dns": None,
        "private_dns": "ip-172-31-5-10.eu-central-1.compute.internal",
        "instance_type": "m5.large",
        "image_id": "ami-12c6146b",
        "region": REGION,
        "availability_zone": "eu-central-1a",
        "launch_time": "2026-05-04T09:30:00+00:00",
        "collection_version": "0.1.0",
        "key_name": "key",
        "security_group_ids": ["sg-1", "sg-2"],
        "vpc_id": "vpc-1",
        "subnet_id": "subnet-1",
        "iam_instance_profile_arn": "arn:aws:iam::1:instance-profile/spark",
        "login_user": "admin",
        "client_token": "token",
        "tags": {tag["Key"]: tag["Value"] for tag in whole["Tags"]},
    }


def test_workers_are_numbered_by_launch_then_id_and_the_master_comes_first(started: Make) -> None:
    nodes = [started("i-1", 5), started("i-9", 0), started("i-2", 0), started("i-3", 9, role="master")]
    assert list(names(*nodes).items()) == [
        ("i-3", "master"),
        ("i-2", "worker-1"),
        ("i-9", "worker-2"),
        ("i-1", "worker-3"),
    ]


def test_a_start_renews_the_launch_time_but_not_the_name(started: Make) -> None:
    before = names(started("i-9", 0), started("i-1", 5), started("i-2", 5))
    after = names(started("i-9", 60, first=0), started("i-1", 5), started("i-2", 90, first=5))
    assert before == after == {"i-9": "worker-1", "i-1": "worker-2", "i-2": "worker-3"}


def test_each_cluster_counts_its_own(instance: Make) -> None:
    assert names(instance("i-1", "a"), instance("i-2", "b"), instance("i-3", "a")) == {
        "i-1": "worker-1",
        "i-3": "worker-2",
        "i-2": "worker-1",
    }


def test_a_second_master_shows_and_a_stray_role_is_none(instance: Make) -> None:
    nodes = [
        instance("i-1", role="master"),
        instance("i-2", role="master"),
        instance("i-3", role="boss"),
        instance("i-4", role=None),
    ]
    assert names(*nodes) == {"i-1": "master", "i-2": "master-2", "i-3": "i-3", "i-4": "i-4"}
    assert [record["role"] for record in to_records([(REGION, node) for node in nodes[2:]])] == [None, None]


@pytest.mark.parametrize("name", ["../x", "a b", "x -o ProxyCommand=true", "", "A", "1a", "a_b", "a" * 41, "a\n"])
def test_a_tag_that_names_no_cluster_of_ours_gets_nowhere(name: str, instance: Make) -> None:
    assert names(instance("i-1", name)) == {}
    with pytest.raises(AnsibleError, match=r"the option is .*, which cannot name a cluster: take 1 to 40 of a-z"):
        check_cluster_name(name, "the option")


@pytest.mark.parametrize("name", ["a", "prod-2", "a" * 40, "a-"])
def test_cluster_names(name: str) -> None:
    assert check_cluster_name(name, "the option") == name


@pytest.mark.parametrize(
    ("connect_with", "addresses", "expected"),
    [
        ("public_ip", {"public_ip": "203.0.113.1", "private_ip": "10.0.0.1"}, "203.0.113.1"),
        ("public_ip", {"private_ip": "10.0.0.1"}, "10.0.0.1"),
        ("public_ip", {}, None),
        ("private_ip", {"public_ip": "203.0.113.1", "private_ip": "10.0.0.1"}, "10.0.0.1"),
        ("private_ip", {"public_ip": "203.0.113.1"}, None),
        (
            "public_dns",
            {"public_dns": "ec2-203-0-113-1.example", "public_ip": "203.0.113.1"},
            "ec2-203-0-113-1.example",
        ),
        ("public_dns", {"public_ip": "203.0.113.1"}, None),
    ],
)
def test_address(connect_with: str, addresses: dict[str, str], expected: str | None) -> None:
    record = {"public_ip": None, "private_ip": None, "public_dns": None, **addresses}
    assert address(record, connect_with) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("home", ["/home/jo/.sparkfleet/a", "/home/Jo Doe/it's 100% fine/a"])
def test_ssh_understands_its_arguments(home: str) -> None:
    arguments = shlex.split(ssh_arguments(Path(home), has_key=True))
    shown = subprocess.run(["ssh", "-F", "none", "-G", *arguments, "host"], capture_output=True, text=True, check=True)
    settings = dict(line.split(" ", 1) for line in shown.stdout.splitlines())
    assert settings["userknownhostsfile"].replace("%%", "%") == f"{home}/known_hosts"
    assert settings["stricthostkeychecking"] == "true"
    assert settings["identitiesonly"] == "yes"


def test_the_agents_keys_are_tried_where_there_is_no_key_of_ours() -> None:
    assert "IdentitiesOnly" not in ssh_arguments(Path("/h"), has_key=False)
