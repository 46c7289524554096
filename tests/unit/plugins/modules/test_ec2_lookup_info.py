# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of ec2_lookup_info against moto."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
import botocore.client
import pytest
from ansible_collections.sparkfleet.ec2.plugins.modules import ec2_lookup_info
from botocore.exceptions import ClientError

INSTANCES = {
    "name": "instances",
    "call": "DescribeInstances",
    # The fewest that a page may have.
    "parameters": {"MaxResults": 5},
    "find": "Reservations[].Instances[]",
}
GROUPS = {"name": "groups", "call": "DescribeSecurityGroups", "find": "SecurityGroups[]"}
KEYS = {"name": "keys", "call": "DescribeKeyPairs", "parameters": {"IncludePublicKey": True}, "find": "KeyPairs[]"}
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(run_module: Run, mocked_aws: None) -> Run:
    """Run ec2_lookup_info on the given queries."""
    return lambda *queries: run_module(ec2_lookup_info, queries=list(queries))


def test_all_pages_of_each_and_tags_as_they_are(run: Run) -> None:
    ec2 = boto3.client("ec2", region_name="us-east-1")
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "sparkfleet:Role", "Value": "master"}]}]
    image = ec2.describe_images()["Images"][0]["ImageId"]
    for count in (4, 4):
        ec2.run_instances(ImageId=image, MinCount=count, MaxCount=count, TagSpecifications=tags)
    ec2.create_key_pair(KeyName="mine")
    found = run(INSTANCES, GROUPS, KEYS)["found"]
    assert len(found["instances"]) == 8
    assert found["instances"][0]["tags"] == {"sparkfleet:Role": "master"}
    assert found["instances"][0]["state"]["name"] == "running"
    assert [group["group_name"] for group in found["groups"]] == ["default"]
    assert [(pair["key_name"], pair["tags"]) for pair in found["keys"]] == [("mine", {})]


def test_what_is_not_there_is_an_empty_list(run: Run) -> None:
    assert run(INSTANCES)["found"] == {"instances": []}


def test_what_ec2_has_against_a_query(run: Run) -> None:
    wrong = {**GROUPS, "parameters": {"GroupIds": ["sg-00000000"]}}
    assert run(INSTANCES, wrong)["msg"].startswith("DescribeSecurityGroups fails: InvalidGroup.NotFound: ")
    assert run({**KEYS, "parameters": {"None": 1}})["msg"].startswith(
        "cannot look up what there is: Parameter validation failed: Unknown parameter"
    )


def test_all_permissions_that_are_missing_are_in_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_client: Any, name: str, _parameters: dict[str, Any]) -> None:
        raise ClientError({"Error": {"Code": "UnauthorizedOperation", "Message": "No."}}, name)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", refuse)
    said = run(KEYS, INSTANCES)["msg"]
    assert (
        said == "the AWS credentials do not allow ec2:DescribeInstances, ec2:DescribeKeyPairs; ask for what is missing"
    )
