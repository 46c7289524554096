# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Placement groups, as a client sees them."""

from __future__ import annotations

import pytest
from account import Account
from botocore.exceptions import ClientError


def test_placement_group_takes_instances(account: Account) -> None:
    ec2, tags = account.ec2, [{"Key": "of", "Value": "test"}]
    with pytest.raises(ClientError, match=r"InvalidPlacementGroup\.Unknown"):
        account.run(Placement={"GroupName": "near"})
    made = ec2.create_placement_group(
        GroupName="near", Strategy="cluster", TagSpecifications=[{"ResourceType": "placement-group", "Tags": tags}]
    )["PlacementGroup"]
    assert (made["GroupName"], made["Strategy"], made["State"], made["Tags"]) == ("near", "cluster", "available", tags)
    with pytest.raises(ClientError, match=r"InvalidPlacementGroup\.Duplicate"):
        ec2.create_placement_group(GroupName="near", Strategy="spread")
    with pytest.raises(ClientError, match=r"InvalidParameterCombination.*'t3\.small'"):
        account.run(InstanceType="t3.small", Placement={"GroupName": "near"})
    instance_id = account.run(Placement={"GroupName": "near"})["Instances"][0]["InstanceId"]
    placement = account.wait(instance_id, "running")["Placement"]
    assert (placement["GroupName"], placement["GroupId"]) == ("near", made["GroupId"])
    with pytest.raises(ClientError, match=r"InvalidPlacementGroup\.InUse"):
        ec2.delete_placement_group(GroupName="near")
    ec2.terminate_instances(InstanceIds=[instance_id])
    account.wait(instance_id, "terminated")
    ec2.delete_placement_group(GroupName="near")
    with pytest.raises(ClientError, match=r"InvalidPlacementGroup\.Unknown"):
        ec2.describe_placement_groups(GroupNames=["near"])


def test_placement_groups_are_found_by_name_strategy_and_tag(account: Account) -> None:
    ec2 = account.ec2
    apart = ec2.create_placement_group(GroupName="apart", Strategy="spread")["PlacementGroup"]
    parts = ec2.create_placement_group(GroupName="parts", Strategy="partition")["PlacementGroup"]
    assert apart["SpreadLevel"] == "rack"
    assert parts["PartitionCount"] == 2
    ec2.create_tags(Resources=[parts["GroupId"]], Tags=[{"Key": "of", "Value": "test"}])
    filters = [("group-name", "apart", "apart"), ("strategy", "spread", "apart"), ("tag:of", "test", "parts")]
    for name, value, found in filters:
        groups = ec2.describe_placement_groups(Filters=[{"Name": name, "Values": [value]}])["PlacementGroups"]
        assert [group["GroupName"] for group in groups] == [found]
    for name in ("apart", "parts"):
        ec2.delete_placement_group(GroupName=name)
    for wrong in ({"Strategy": "near"}, {"Strategy": "cluster", "PartitionCount": 2}):
        with pytest.raises(ClientError, match="InvalidParameterValue"):
            ec2.create_placement_group(GroupName="wrong", **wrong)
