# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026, The sparkfleet authors
"""Turn EC2's instances into the inventory's records. This plugin util is PRIVATE to the collection."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict

from ansible.errors import AnsibleError

CLUSTER_TAG = "sparkfleet:cluster"
ROLE_TAG = "sparkfleet:role"
VERSION_TAG = "sparkfleet:collection_version"
USER_TAG = "sparkfleet:login_user"
SETUP_TAG = "sparkfleet:setup"
ROLES = ("master", "worker")
CLUSTER_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


class Record(TypedDict):
    """One instance as cached and, behind the prefix, as host variables; None where EC2 names nothing."""

    instance_id: str
    cluster: str
    role: str | None
    name: str
    state: str
    private_ip: str | None
    public_ip: str | None
    public_dns: str | None
    private_dns: str | None
    instance_type: str
    image_id: str
    region: str
    availability_zone: str
    launch_time: str
    collection_version: str | None
    key_name: str | None
    security_group_ids: list[str]
    vpc_id: str | None
    subnet_id: str | None
    iam_instance_profile_arn: str | None
    login_user: str | None
    client_token: str | None
    tags: dict[str, str]


def is_cluster_name(name: object) -> bool:
    """Say whether `name` may name a cluster: it ends up in paths, in ssh's arguments and in group names."""
    return isinstance(name, str) and CLUSTER_NAME.fullmatch(name) is not None


def check_cluster_name(name: object, source: str) -> str:
    """Return `name` as a plain str, or raise AnsibleError that names the `source` it came from."""
    if is_cluster_name(name):
        return str(name)
    raise AnsibleError(
        f"{source} is {name!r}, which cannot name a cluster: take 1 to 40 of a-z, 0-9 and '-', a letter first"
    )


def to_records(instances: list[tuple[str, dict[str, Any]]]) -> list[Record]:
    """Make records of (region, instance of DescribeInstances): by cluster, masters first, then by age."""
    tagged = [(region, instance, _tags(instance)) for region, instance in instances]
    known = [found for found in tagged if is_cluster_name(found[2].get(CLUSTER_TAG))]
    known.sort(key=lambda found: (found[2][CLUSTER_TAG], _role(found[2]) or "~", *_seniority(found[1])))
    counts: Counter[tuple[str, str | None]] = Counter()
    records = []
    for region, instance, tags in known:
        node = (tags[CLUSTER_TAG], _role(tags))
        counts[node] += 1
        name = _display_name(node[1], counts[node]) or instance["InstanceId"]
        records.append(_to_record(region, instance, tags, name))
    return records


def foreign_ids(instances: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """List the instances whose cluster tag is none that this collection would write."""
    return [one["InstanceId"] for _region, one in instances if not is_cluster_name(_tags(one).get(CLUSTER_TAG))]


def ssh_arguments(home: Path, has_key: bool) -> str:
    """Write the ssh arguments that every node of one cluster shares; `home` is the cluster's state directory.

    ssh splits the value of UserKnownHostsFile at spaces and expands % in it, hence quotes inside the shell's.
    """
    known_hosts = str(home / "known_hosts").replace("%", "%%")
    options = [f'UserKnownHostsFile="{known_hosts}"', "StrictHostKeyChecking=yes"]
    # Without a key file of ours the agent's keys must be tried.
    options += ["IdentitiesOnly=yes"] if has_key else []
    return " ".join(f"-o {shlex.quote(option)}" for option in options)


def has_failed(record: Record) -> bool:
    """Say whether the node never came up, so that the next run is to replace it."""
    return record["tags"].get(SETUP_TAG, "").startswith("failed")


def address(record: Record, connect_with: str) -> str | None:
    """Return what Ansible is to dial; without a public IP, as in a private subnet, the private one."""
    if connect_with == "public_ip":
        return record["public_ip"] or record["private_ip"]
    return record[connect_with]  # type: ignore[literal-required]


def _tags(instance: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}


def _role(tags: dict[str, str]) -> str | None:
    role = tags.get(ROLE_TAG)
    return role if role in ROLES else None


def _display_name(role: str | None, number: int) -> str | None:
    if role == "master" and number == 1:
        return "master"
    return role and f"{role}-{number}"


def _seniority(instance: dict[str, Any]) -> tuple[datetime, str]:
    """Order by the first launch: a start renews LaunchTime, but not the primary interface's attach time.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Instance.html says so of `launchTime`.
    """
    attachments = [interface.get("Attachment", {}) for interface in instance.get("NetworkInterfaces", [])]
    times = [one["AttachTime"] for one in attachments if one.get("DeviceIndex") == 0 and one.get("AttachTime")]
    return min([instance["LaunchTime"], *times]), instance["InstanceId"]


def _to_record(region: str, instance: dict[str, Any], tags: dict[str, str], name: str) -> Record:
    """Keep what a play may want to know; EC2 leaves keys out or writes "" where there is nothing."""
    return {
        "instance_id": instance["InstanceId"],
        "cluster": tags[CLUSTER_TAG],
        "role": _role(tags),
        "name": name,
        "state": instance["State"]["Name"],
        "private_ip": instance.get("PrivateIpAddress") or None,
        "public_ip": instance.get("PublicIpAddress") or None,
        "public_dns": instance.get("PublicDnsName") or None,
        "private_dns": instance.get("PrivateDnsName") or None,
        "instance_type": instance["InstanceType"],
        "image_id": instance["ImageId"],
        "region": region,
        "availability_zone": instance["Placement"]["AvailabilityZone"],
        "launch_time": instance["LaunchTime"].isoformat(),
        "collection_version": tags.get(VERSION_TAG),
        "key_name": instance.get("KeyName") or None,
        "security_group_ids": [group["GroupId"] for group in instance.get("SecurityGroups", [])],
        "vpc_id": instance.get("VpcId") or None,
        "subnet_id": instance.get("SubnetId") or None,
        "iam_instance_profile_arn": instance.get("IamInstanceProfile", {}).get("Arn"),
        "login_user": tags.get(USER_TAG),
        "client_token": instance.get("ClientToken") or None,
        "tags": tags,
    }
