# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: what runs of a cluster when a run ends before its time, and the ways on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    pass  # without it no run comes so far

from ansible_collections.sparkfleet.ec2.plugins.plugin_utils._inventory_records import (
    CLUSTER_TAG,
    ROLE_TAG,
    SETUP_TAG,
)

# Who has pressed Ctrl-C does not want to wait.
SECONDS = 4
LIVE = ["pending", "running", "shutting-down", "stopping", "stopped"]
BEGUN = "sparkfleet:launching-"


def tags(thing: dict[str, Any]) -> dict[str, str]:
    """Return the tags of something in EC2."""
    return {tag["Key"]: tag["Value"] for tag in thing.get("Tags", [])}


def what_runs(cluster: str, destroy: str) -> list[str]:
    """Return lines that say what there is of the cluster, what a launch may still add, and the ways on."""
    try:
        found = list(lines(cluster))
    except (BotoCoreError, ClientError) as error:
        found = [f"What runs of cluster {cluster} cannot be told, EC2 does not say ({error}). It costs all the same."]
    return [
        *found,
        "Go on    the same command again: it takes up what is there",
        f"Give up  {destroy} -e cluster={cluster}",
    ]


def lines(cluster: str) -> Iterator[str]:
    """Ask EC2. Raises botocore's errors."""
    ec2 = boto3.client(
        "ec2", config=Config(connect_timeout=SECONDS, read_timeout=SECONDS, retries={"total_max_attempts": 1})
    )
    ours = {"Name": f"tag:{CLUSTER_TAG}", "Values": [cluster]}
    filters = [ours, {"Name": "instance-state-name", "Values": LIVE}]
    pages = ec2.get_paginator("describe_instances").paginate(Filters=filters)
    found = [instance for page in pages for group in page["Reservations"] for instance in group["Instances"]]
    groups = ec2.describe_security_groups(Filters=[ours])["SecurityGroups"]
    begun = {key: value for group in groups for key, value in tags(group).items() if key.startswith(BEGUN)}
    if not (found or begun):
        yield f"Nothing of cluster {cluster} runs."
        return
    yield f"Cluster {cluster} has these instances now, and they cost until they are gone:"
    for kind, count in sorted(Counter(map(described, found)).items()):
        yield f"  {count} {kind}"
    for key, value in sorted(begun.items()):
        yield f"  up to {value.rpartition('/')[2]} {key.removeprefix(BEGUN)}s more: their launch was under way"


def described(instance: dict[str, Any]) -> str:
    """Return an instance's role, type and state."""
    failed = ", failed" if tags(instance).get(SETUP_TAG, "").startswith("failed") else ""
    role = tags(instance).get(ROLE_TAG, "instance")
    return f"{role}  {instance['InstanceType']}  {instance['State']['Name']}{failed}"
