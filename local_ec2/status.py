# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``status`` prints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3

from local_ec2 import image
from local_ec2.credentials import Credentials
from local_ec2.daemon import server_pid
from local_ec2.mirror import ARCHIVES
from local_ec2.settings import REGION, Settings

CGROUPS = Path("/sys/fs/cgroup")
COLUMNS = "{:<20} {:<16} {:<14} {:<15} {:<15} {:>9}"
LIVE = ["pending", "running", "stopping", "stopped", "shutting-down"]


def report(settings: Settings) -> Iterator[str]:
    """Yield lines about the server, the image, the nodes and the mirror."""
    yield f"local EC2 {settings.name} is up: {settings.endpoint} (server {_server(settings)})"
    yield f"for nodes  {settings.nodes_endpoint}"
    yield f"addresses  private {settings.vpc_cidr}, public {settings.public_cidr}"
    yield f"image      {image.image_name()}"
    yield f"mirror     {settings.mirror_url if settings.mirror else 'none'}"
    for archive in ARCHIVES if settings.mirror else ():
        yield f"           {settings.mirror_url}/{archive.path}"
    yield COLUMNS.format("instance", "name", "state", "private", "public", "memory")
    for instance in instances(settings):
        yield _row(settings, instance)


def instances(settings: Settings) -> list[dict[str, Any]]:
    """Return the instances that are not terminated, as DescribeInstances has them."""
    credentials = Credentials.load(settings)
    client = boto3.client(
        "ec2",
        endpoint_url=settings.endpoint,
        region_name=REGION,
        aws_access_key_id=credentials.key_id,
        aws_secret_access_key=credentials.secret,
    )
    filters = [{"Name": "instance-state-name", "Values": LIVE}]
    pages = client.get_paginator("describe_instances").paginate(Filters=filters)
    return [instance for page in pages for group in page["Reservations"] for instance in group["Instances"]]


def _row(settings: Settings, instance: dict[str, Any]) -> str:
    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
    state, running = instance["State"]["Name"], instance["State"]["Name"] == "running"
    pid_file = settings.node_dir(instance["InstanceId"]) / "pid"
    memory = f"{memory_bytes(int(pid_file.read_text(encoding='ascii'))) >> 20} MiB" if running else "-"
    addresses = (instance.get("PrivateIpAddress") or "-", instance.get("PublicIpAddress") or "-")
    return COLUMNS.format(instance["InstanceId"], tags.get("Name", "-")[:16], state, *addresses, memory)


def _server(settings: Settings) -> str:
    pid = server_pid(settings)
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return f"process {pid}, {int(resident.split()[1]) >> 10} MiB"


def memory_bytes(pid: int) -> int:
    """Return what a node's processes hold (resident, without page cache) by its init's cgroup, of either version."""
    groups = dict(line.split(":", 2)[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    if "memory" in groups:
        folder, key = CGROUPS / "memory" / groups["memory"].lstrip("/"), "total_rss"
    else:
        # systemd has its processes in groups below the container's.
        folder, key = CGROUPS / groups[""].removesuffix("/init.scope").lstrip("/"), "anon"
    stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    return int(stat[key])
