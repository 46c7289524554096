# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of ec2_node_outcome against moto."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from ansible_collections.sparkfleet.ec2.plugins.modules import ec2_node_outcome
from moto import mock_aws

Run = Callable[..., dict[str, Any]]
PENDING = {"sparkfleet:setup": "pending"}


@pytest.fixture
def ec2(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an empty account."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield boto3.client("ec2", region_name="us-east-1")


def launch(ec2: Any, cluster: str = "a", **tags: str) -> str:
    """Launch an instance of a cluster, return its id."""
    all_tags = {"sparkfleet:cluster": cluster, "sparkfleet:role": "worker", **tags}
    tag_list = [{"Key": key, "Value": value} for key, value in all_tags.items()]
    specification = {"ResourceType": "instance", "Tags": tag_list}
    made = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1, TagSpecifications=[specification])
    return made["Instances"][0]["InstanceId"]


def setup_of(ec2: Any, instance_id: str) -> str | None:
    """Return the tag that the module is about."""
    (group,) = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
    return {tag["Key"]: tag["Value"] for tag in group["Instances"][0]["Tags"]}.get("sparkfleet:setup")


def test_what_is_set_up_is_no_longer_new(ec2: Any, run_module: Run) -> None:
    new, old = launch(ec2, **PENDING), launch(ec2)
    assert run_module(ec2_node_outcome, cluster="a", set_up=[new, old], check=True)["changed"]
    assert setup_of(ec2, new) == "pending"
    assert run_module(ec2_node_outcome, cluster="a", set_up=[new, old])["changed"]
    assert setup_of(ec2, new) is None
    assert not run_module(ec2_node_outcome, cluster="a", set_up=[new, old])["changed"]


def test_what_never_came_up_is_marked_with_the_reason(ec2: Any, run_module: Run) -> None:
    silent, other = launch(ec2, **PENDING), launch(ec2, **PENDING)
    assert run_module(ec2_node_outcome, cluster="a", failed=[silent], check=True)["changed"]
    assert setup_of(ec2, silent) == "pending"
    nodes = run_module(ec2_node_outcome, cluster="a", failed=[silent, other], reasons={other: "panic" * 99})["nodes"]
    told = {node["id"]: node for node in nodes}
    assert setup_of(ec2, silent) == "failed: does not answer SSH"
    assert told[silent]["reason"] == "does not answer SSH"
    assert (told[silent]["role"], told[silent]["state"], told[silent]["replaceable"]) == ("worker", "running", True)
    assert told[silent]["console"]
    assert len(str(setup_of(ec2, other))) == 256


def test_what_was_set_up_once_is_never_marked(ec2: Any, run_module: Run) -> None:
    with_data, foreign = launch(ec2), launch(ec2, cluster="b", **PENDING)
    result = run_module(ec2_node_outcome, cluster="a", failed=[with_data, foreign])
    assert [(node["id"], node["replaceable"]) for node in result["nodes"]] == [(with_data, False)]
    assert not result["changed"]
    assert setup_of(ec2, with_data) is None
    assert setup_of(ec2, foreign) == "pending"


def test_what_has_ended_is_told_with_its_state(ec2: Any, run_module: Run) -> None:
    gone = launch(ec2, **PENDING)
    ec2.terminate_instances(InstanceIds=[gone])
    result = run_module(ec2_node_outcome, cluster="a", failed=[gone])
    assert not result["changed"]
    assert result["nodes"][0]["reason"].startswith("is terminated")


@pytest.mark.parametrize("names", [[], ["i-0123456789abcdef0"]])
def test_nothing_to_note(ec2: Any, run_module: Run, names: list[str]) -> None:
    result = run_module(ec2_node_outcome, cluster="a", failed=names)
    assert (result["changed"], result["nodes"]) == (False, [])
