# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HDFS by its own client, by NFS and by FUSE, S3 by s3fs, and the disk itself: a large file, and many small ones."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import NamedTuple

import boto3

from bench.clusters import LocalEC2, local_ec2_up
from bench.measure import Figure
from bench.report import Result, Table

WORKERS = 2
MB = 512
MANY = 10_000
BUCKET = "bench-files"
COMPONENTS = ["java", "hdfs", "fuse_dfs", "nfs_gateway", "s3fs"]
SOURCE = "/home/admin/bench"
# Not a mount: the kernel of local EC2's nodes has no NFS. This one waits for each answer before it asks again, which a
# kernel does not.
CLIENT = Path(__file__).parents[1] / "molecule/nfs_gateway/files/nfs3.py"
NFS = "NFS3_CHUNK=1048576 python3 nfs3.py sparkfleet-master"


class Way(NamedTuple):
    """A way to files: commands that write a large one from SOURCE, read it to nowhere, and list many."""

    name: str
    write: str
    read: str
    remove: str
    list: str


WAYS = [
    Way(
        "hdfs dfs -put, -get",
        f"hdfs dfs -put -f {SOURCE} /tmp/bench-hdfs",
        "hdfs dfs -get -f /tmp/bench-hdfs /home/admin/got",
        "hdfs dfs -rm -skipTrash /tmp/bench-hdfs",
        "hdfs dfs -ls /tmp/many",
    ),
    Way(
        "NFS gateway",
        f"{NFS} put /tmp/bench-nfs < {SOURCE}",
        f"{NFS} cat /tmp/bench-nfs > /dev/null",
        "hdfs dfs -rm -skipTrash /tmp/bench-nfs",
        f"{NFS} ls /tmp/many",
    ),
    Way(
        "FUSE (rclone)",
        f"cp {SOURCE} /fuse_dfs/tmp/bench-fuse",
        "cat /fuse_dfs/tmp/bench-fuse > /dev/null",
        "rm -f /fuse_dfs/tmp/bench-fuse",
        "ls -l /fuse_dfs/tmp/many",
    ),
    Way(
        "s3fs",
        f"cp {SOURCE} /s3/{BUCKET}/large",
        f"cat /s3/{BUCKET}/large > /dev/null",
        f"rm -f /s3/{BUCKET}/large",
        f"ls -l /s3/{BUCKET}/many",
    ),
    Way(
        "the disk itself",
        f"dd if={SOURCE} of=/home/admin/raw bs=1M conv=fsync",
        "cat /home/admin/raw > /dev/null",
        "rm -f /home/admin/raw",
        "ls -l /home/admin/many",
    ),
]
SETUP = f"""
head -c {MB}M /dev/urandom > {SOURCE}
mkdir -p /home/admin/many
seq --format=/home/admin/many/%05.0f {MANY} | xargs touch
hdfs dfs -mkdir -p /tmp/many
seq --format=/tmp/many/%05.0f {MANY} | xargs -n 2500 hdfs dfs -touchz
"""


def forget() -> None:
    """Write back what this machine's kernel still has to, and let it forget what it has read."""
    subprocess.run(["sync"], check=True)
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


def seconds(place: LocalEC2, command: str) -> float:
    """Return how long a command takes on a worker."""
    forget()
    begun = time.monotonic()
    if not place.ssh("worker-1", "bash", "-ec", command):
        raise AssertionError(f"failed on worker-1: {command}; see {place.folder}")
    return time.monotonic() - begun


def bucket(place: LocalEC2) -> str:
    """Make a bucket with many files; return the settings that mount it."""
    s3 = boto3.client(
        "s3",
        endpoint_url=place.env["AWS_ENDPOINT_URL"],
        region_name=place.env["AWS_DEFAULT_REGION"],
        aws_access_key_id=place.env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=place.env["AWS_SECRET_ACCESS_KEY"],
    )
    s3.create_bucket(Bucket=BUCKET)
    with ThreadPoolExecutor(8) as pool:
        keys = (f"many/{number:05}" for number in range(1, MANY + 1))
        list(pool.map(lambda key: s3.put_object(Bucket=BUCKET, Key=key, Body=b""), keys))
    return json.dumps(
        {
            "components": COMPONENTS,
            "s3fs_mounts": [{"bucket": BUCKET}],
            "s3fs_access_key_id": place.env["AWS_ACCESS_KEY_ID"],
            "s3fs_secret_access_key": place.env["AWS_SECRET_ACCESS_KEY"],
        }
    )


def memory(place: LocalEC2, host: str, unit: str) -> float:
    """Return MiB that a unit's processes keep."""
    command = f"grep -h ^Pss_Anon /proc/$(systemctl show -P MainPID {unit})/smaps_rollup"
    done = subprocess.run(
        ["ssh", "-F", str(place.ssh_config), "-o", "ClearAllForwardings=yes", host, f"sudo {command}"],
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    )
    return int(re.findall(r"\d+", done.stdout)[0]) / 1024


def answers(place: LocalEC2) -> float:
    """Start HDFS's daemons anew; return the seconds from there until a client reads and writes."""
    place.ssh("master", "sudo", "systemctl", "stop", "hdfs-ready", "hdfs-namenode")
    begun = time.monotonic()
    place.ssh("master", "sudo", "systemctl", "start", "hdfs-namenode", "hdfs-ready")
    if not place.ssh("worker-1", "bash", "-ec", "hdfs dfs -touchz /tmp/answers"):
        raise AssertionError(f"HDFS does not answer; see {place.folder}")
    return time.monotonic() - begun


def files(runs: int) -> Result:
    """Write, read and list by each way, in turns."""
    written: dict[str, list[float]] = {way.name: [] for way in WAYS}
    read: dict[str, list[float]] = {way.name: [] for way in WAYS}
    listed: dict[str, list[float]] = {way.name: [] for way in WAYS}
    with local_ec2_up() as place:
        place.play("site.yml", "-e", f"workers={WORKERS}", "-e", "sparkfleet_validate=no", "-e", bucket(place))
        copy = ["scp", "-q", "-F", str(place.ssh_config), "-o", "ClearAllForwardings=yes", str(CLIENT), "worker-1:"]
        subprocess.run(copy, check=True)
        if not place.ssh("worker-1", "bash", "-ec", SETUP):
            raise AssertionError(f"the files could not be made; see {place.folder}")
        idle = {unit: memory(place, host, unit) for unit, host in UNITS.items()}
        measured: list[tuple[dict[str, list[float]], Callable[[Way], str]]] = [
            (written, lambda way: way.write),
            (read, lambda way: way.read),
            (listed, lambda way: f"{way.list} > /dev/null"),
        ]
        for _run in range(runs):
            for way in WAYS:
                for samples, command in measured:
                    samples[way.name].append(seconds(place, command(way)))
                seconds(place, way.remove)
        started = [answers(place) for _run in range(runs)]
    own = read[WAYS[0].name]
    rows = [[name, MB / median(written[name]), MB / median(read[name]), median(listed[name])] for name in written]
    return Result(
        [
            *(
                # At half the speed of HDFS's own client, a read takes twice as long.
                Figure(f"reading {MB} MB by {name}", "s", read[name], "hdfs dfs -get", own, at_most=2)
                for name in (WAYS[1].name, WAYS[2].name)
            ),
            Figure("HDFS answers, from the start of its units", "s", started, at_most=20),
            *(Figure(f"memory of {unit}, idle", "MiB", [mib]) for unit, mib in idle.items()),
        ],
        [
            Table(
                f"A file of {MB} MB on a worker of 1 + {WORKERS}, caches of the kernel empty; {MANY} empty files in one"
                " directory:",
                ["way", "write MB/s", "read MB/s", f"list {MANY} s"],
                rows,
            )
        ],
    )


UNITS = {
    "hdfs-namenode": "master",
    "hdfs-datanode": "worker-1",
    "nfs-gateway": "master",
    "fuse-dfs": "worker-1",
    "fuse-dfs-relay": "worker-1",
}
