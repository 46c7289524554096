# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin beside amazon.aws's, with 2,000 instances in a moto of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3

from bench.measure import Cost, Figure, environment, run
from bench.report import ROOT, Result

INSTANCES = 2000
CLUSTERS = 10
REGION = "us-east-1"
# moto in a process of its own, on a port that it chooses and prints.
SERVE = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
# What any client in Python has to do: ask, and read the answer.
DESCRIBE = """
import sys
import boto3
pages = boto3.client("ec2").get_paginator("describe_instances").paginate(
    Filters=[{"Name": "tag-key", "Values": ["sparkfleet:cluster"]}], PaginationConfig={"PageSize": 1000})
found = sum(len(group["Instances"]) for page in pages for group in page["Reservations"])
assert found == int(sys.argv[1])
"""
SOURCES = {
    "ours.sparkfleet.yml": {"plugin": "sparkfleet.ec2.cluster", "regions": [REGION], "cluster": "bench-0"},
    "theirs.aws_ec2.yml": {
        "plugin": "amazon.aws.aws_ec2",
        "regions": [REGION],
        "filters": {"tag-key": "sparkfleet:cluster"},
        "hostnames": ["instance-id"],
    },
}


@contextmanager
def account(log: Path) -> Iterator[dict[str, str]]:
    """Start moto with the instances of several clusters; yield the environment that leads there."""
    with log.open("w") as errors:
        server = subprocess.Popen(
            [sys.executable, "-c", SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    assert server.stdin
    assert server.stdout
    try:
        env = environment() | {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{int(server.stdout.readline())}",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        populate(env["AWS_ENDPOINT_URL"])
        yield env
    finally:
        server.stdin.close()
        server.wait()


def populate(endpoint: str) -> None:
    """Launch: a master and its workers in each of the clusters."""
    ec2 = boto3.client(
        "ec2", endpoint_url=endpoint, region_name=REGION, aws_access_key_id="bench", aws_secret_access_key="bench"
    )
    image = ec2.describe_images(Owners=["amazon"], MaxResults=5)["Images"][0]["ImageId"]
    for number in range(CLUSTERS):
        for role, count in (("master", 1), ("worker", INSTANCES // CLUSTERS - 1)):
            cluster = f"bench-{number}"
            tags = {"Name": f"sparkfleet-{cluster}", "sparkfleet:cluster": cluster, "sparkfleet:role": role}
            ec2.run_instances(
                ImageId=image,
                InstanceType="m6i.large",
                MinCount=count,
                MaxCount=count,
                TagSpecifications=[
                    {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
                ],
            )


def listing(path: Path) -> dict[str, dict[str, object]]:
    """Return the variables of each host in the output of `ansible-inventory --list`."""
    hosts: dict[str, dict[str, object]] = json.loads(path.read_text())["_meta"]["hostvars"]
    if len(hosts) != INSTANCES:
        raise AssertionError(f"{path} has {len(hosts)} hosts instead of {INSTANCES}")
    return hosts


def measure(folder: Path, env: dict[str, str], runs: int) -> dict[str, list[Cost]]:
    """Run all of them in turns."""
    program = str(Path(sys.executable).parent / "ansible-inventory")
    for name, config in SOURCES.items():
        (folder / name).write_text(json.dumps(config))
    sources = {"ours": "ours.sparkfleet.yml", "theirs": "theirs.aws_ec2.yml", "floor": "floor.json"}
    commands = {
        name: [program, "--list", "--output", str(folder / f"{name}.out"), "-i", str(folder / source)]
        for name, source in sources.items()
    } | {
        "describe": [sys.executable, "-c", DESCRIBE, str(INSTANCES)],
    }
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _run in range(runs):
        for name, command in commands.items():
            costs[name].append(run(command, folder / f"{name}.log", ROOT, env))
            if name == "ours":
                (folder / "floor.json").write_text(json.dumps(listing(folder / "ours.out")))
        listing(folder / "theirs.out")
        listing(folder / "floor.out")
    return costs


def inventory(runs: int) -> Result:
    """CPU of listing all, beside amazon.aws's plugin, and of that what our plugin itself takes."""
    with tempfile.TemporaryDirectory() as folder, account(Path(folder) / "moto.log") as env:
        own = {
            "ANSIBLE_INVENTORY_PLUGINS": str(ROOT / "bench/plugins/inventory"),
            "ANSIBLE_INVENTORY_ENABLED": "sparkfleet.ec2.cluster,amazon.aws.aws_ec2,floor",
        }
        costs = measure(Path(folder), env | own, runs)
    cpu = {name: [cost.cpu for cost in found] for name, found in costs.items()}
    rest = zip(cpu["ours"], cpu["floor"], cpu["describe"], strict=True)
    seconds = {name: [cost.seconds for cost in found] for name, found in costs.items()}
    all_of_it = f"`ansible-inventory --list`, {INSTANCES} instances"
    return Result(
        [
            Figure(f"{all_of_it}, CPU", "s", cpu["ours"], "aws_ec2", cpu["theirs"], at_most=0.4),
            Figure(f"{all_of_it}, on the clock", "s", seconds["ours"], "aws_ec2", seconds["theirs"]),
            Figure("a plugin that only adds these hosts, CPU", "s", cpu["floor"]),
            Figure("only describing the instances with boto3, CPU", "s", cpu["describe"]),
            Figure("our plugin's own share: less these two, CPU", "s", [a - b - c for a, b, c in rest], at_most=1),
        ]
    )
