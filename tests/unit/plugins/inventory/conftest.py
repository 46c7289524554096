# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory's tests share: a file parsed by the real InventoryManager, against EC2 by moto or by script.

The collection is imported late: pytest-ansible makes it importable only after this file is read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from ansible import context
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.utils.context_objects import CLIArgs
from ansible.utils.vars import load_extra_vars
from botocore.stub import Stubber
from moto import mock_aws

REGION = "eu-central-1"
AMI = "ami-12c6146b"  # one that moto knows


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave nothing of the developer's AWS account, clusters or Ansible caches in reach."""
    for name in [one for one in os.environ if one.startswith(("AWS_", "SPARKFLEET_", "ANSIBLE_INVENTORY_"))]:
        monkeypatch.delenv(name)
    values = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": REGION}
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    for name, value in {**values, **keys}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function: say what ansible-playbook was called with, as in extra_vars=("cluster=a",), syntax=True."""

    def call(**arguments: Any) -> None:
        monkeypatch.setattr(context, "CLIARGS", CLIArgs(arguments))
        monkeypatch.setattr(load_extra_vars, "extra_vars", {}, raising=False)

    call()
    return call


@pytest.fixture
def parse(command_line: Callable[..., None], tmp_path: Path) -> Callable[..., InventoryManager]:
    """A function: parse a file of the plugin's line and OPTIONS."""

    def run(options: str = "", *, cache: bool = True, name: str = "prod.sparkfleet.yml") -> InventoryManager:
        path = tmp_path / name
        path.write_text(f"plugin: sparkfleet.ec2.cluster\n{options}")
        return InventoryManager(DataLoader(), [str(path)], cache=cache)

    return run


@pytest.fixture
def stops(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """A function: call what must end the command; the one line that it says."""

    def run(parse: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
        with pytest.raises(SystemExit) as stopped:
            parse(*args, **kwargs)
        assert stopped.value.code == 1
        said = capsys.readouterr().err.strip()
        assert said.startswith("[ERROR]: Inventory ")
        assert "\n" not in said
        return said

    return run


def tags(cluster: str, role: str | None, more: dict[str, str]) -> list[dict[str, str]]:
    """Return tags as EC2's API spells them."""
    values = {"sparkfleet:cluster": cluster, **({"sparkfleet:role": role} if role else {}), **more}
    return [{"Key": key, "Value": value} for key, value in values.items()]


@pytest.fixture
def launch() -> Iterator[Callable[..., list[str]]]:
    """A function: launch instances on moto, which stands in EC2's place; their IDs."""

    def run(cluster: str, role: str | None, count: int = 1, region: str = REGION, **more: str) -> list[str]:
        specification = {"ResourceType": "instance", "Tags": tags(cluster, role, more)}
        answer = boto3.client("ec2", region_name=region).run_instances(
            ImageId=AMI, MinCount=count, MaxCount=count, TagSpecifications=[specification]
        )
        return [instance["InstanceId"] for instance in answer["Instances"]]

    with mock_aws():
        yield run


@pytest.fixture
def instance() -> Callable[..., dict[str, Any]]:
    """A function: a running instance as DescribeInstances has it, in the least words that EC2 uses."""

    def make(instance_id: str, cluster: str = "a", role: str | None = "worker", **more: Any) -> dict[str, Any]:
        return {
            "InstanceId": instance_id,
            "ImageId": AMI,
            "InstanceType": "m5.large",
            "LaunchTime": datetime(2026, 5, 4, 9, 30, tzinfo=UTC),
            "Placement": {"AvailabilityZone": f"{REGION}a"},
            "State": {"Name": "running"},
            "Tags": tags(cluster, role, {}),
            **more,
        }

    return make


class Script:
    """Answers to DescribeInstances, region by region; every one must be asked for, and nothing else."""

    def __init__(self) -> None:
        self.stubs: dict[str, Stubber] = {}
        self.next: dict[str, str] = {}

    def stub(self, region: str) -> Stubber:
        """Return the region's stubbed client."""
        if region not in self.stubs:
            self.stubs[region] = Stubber(boto3.client("ec2", region_name=region))
            self.stubs[region].activate()
        return self.stubs[region]

    def answer(self, *instances: dict[str, Any], region: str = REGION, token: str = "") -> None:
        """Expect a request, the first or the one that follows an answer with a token."""
        tag = {"Name": "tag-key", "Values": ["sparkfleet:cluster"]}
        states = {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}
        following = {"NextToken": self.next.pop(region)} if region in self.next else {}
        page = {"Reservations": [{"Instances": [one]} for one in instances]}
        if token:
            self.next[region] = page["NextToken"] = token
        asked = {"Filters": [tag, states], "MaxResults": 1000, **following}
        self.stub(region).add_response("describe_instances", page, asked)

    def refuse(self, code: str, region: str = REGION) -> None:
        """Expect a request and answer it with an error."""
        self.stub(region).add_client_error("describe_instances", code, "EC2's own words")

    def connect(self, regions: list[str], **_options: Any) -> list[Any]:
        """Stand in for the plugin's connect()."""
        return [self.stub(region).client for region in regions]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """A script in EC2's place, used up at the end of the test."""
    from ansible_collections.sparkfleet.ec2.plugins.inventory import cluster

    written = Script()
    monkeypatch.setattr(cluster, "connect", written.connect)
    yield written
    for stub in written.stubs.values():
        stub.assert_no_pending_responses()
