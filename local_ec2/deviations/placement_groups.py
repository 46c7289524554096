# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Placement groups, which moto has not. There is one machine: they place nothing."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.responses import EC2Response
from moto.ec2.responses.instances import InstanceResponse
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, EC2_RESOURCE_TO_PREFIX, generic_filter, random_id

from local_ec2.deviations import patch
from local_ec2.deviations.cloud import Cloud

KIND, PREFIX = "placement-group", "pg"
STRATEGIES = ("cluster", "spread", "partition")
PARTITIONS, MOST_PARTITIONS = 2, 7


class PlacementGroup(TaggedEC2Resource):
    """A group, as DescribePlacementGroups has it."""

    state = "available"

    def __init__(self, backend: Any, name: str, strategy: str, partitions: int | None, tags: dict[str, str]) -> None:
        """Make the group."""
        self.ec2_backend = backend
        self.id = self.group_id = random_id(PREFIX)
        self.group_name = name
        self.strategy = strategy
        self.partition_count = partitions
        self.spread_level = "rack" if strategy == "spread" else None
        self.group_arn = f"arn:aws:ec2:{backend.region_name}:{backend.account_id}:{KIND}/{name}"
        self.add_tags(tags)


def install(_cloud: Cloud) -> None:
    """Add the actions for placement groups; RunInstances: launch into them."""
    EC2_RESOURCE_TO_PREFIX[KIND] = PREFIX
    EC2_PREFIX_TO_RESOURCE[PREFIX] = KIND
    for action in (create_placement_group, describe_placement_groups, delete_placement_group):
        patch.add(EC2Response, action.__name__, action)

    def run_instances(response: Any) -> ActionResult:
        group = wanted(response)
        answer: ActionResult = launch(response)
        reservation: Any = answer.result
        if group:
            for instance in reservation.instances:
                instance.placement.group_name, instance.placement.group_id = group.group_name, group.id
        return answer

    launch = patch.replace(InstanceResponse, "run_instances", run_instances)


def groups(response: Any) -> dict[str, PlacementGroup]:
    """Return the groups of the region that a request is for, by name."""
    found: dict[str, PlacementGroup] = vars(response.ec2_backend).setdefault("placement_groups", {})
    return found


def known(response: Any, name: str) -> PlacementGroup:
    """Return a group; an unknown one is EC2's error."""
    if name not in groups(response):
        raise EC2ClientError("InvalidPlacementGroup.Unknown", f"The Placement Group '{name}' is unknown.")
    return groups(response)[name]


def wanted(response: Any) -> PlacementGroup | None:
    """Return the group that a launch is to go to; refuse types that its strategy does not take."""
    name = response._get_param("Placement.GroupName")
    if not name:
        return None
    group, instance_type = known(response, name), response._get_param("InstanceType", "m1.small")
    hardware = INSTANCE_TYPES.get(instance_type, {})
    if hardware and group.strategy not in hardware["PlacementGroupInfo"]["SupportedStrategies"]:
        message = (
            f"{group.strategy.capitalize()} placement groups are not supported by the '{instance_type}' instance type. "
            "Specify a supported instance type or change the placement group strategy, and try again."
        )
        raise EC2ClientError("InvalidParameterCombination", message)
    return group


def create_placement_group(response: Any) -> ActionResult:
    """Answer CreatePlacementGroup."""
    name, strategy = response._get_param("GroupName"), response._get_param("Strategy", "cluster")
    partitions = response._get_param("PartitionCount")
    if strategy not in STRATEGIES:
        raise EC2ClientError("InvalidParameterValue", f"Value ({strategy}) for parameter strategy is invalid.")
    if partitions and (strategy != "partition" or not 1 <= partitions <= MOST_PARTITIONS):
        raise EC2ClientError("InvalidParameterValue", f"Value ({partitions}) for parameter partitionCount is invalid.")
    if name in groups(response):
        raise EC2ClientError("InvalidPlacementGroup.Duplicate", f"The Placement Group '{name}' already exists.")
    tags = response._parse_tag_specification(KIND).get(KIND, {})
    response.error_on_dryrun()
    count = partitions or PARTITIONS if strategy == "partition" else None
    group = groups(response)[name] = PlacementGroup(response.ec2_backend, name, strategy, count, tags)
    return ActionResult({"PlacementGroup": group})


def describe_placement_groups(response: Any) -> ActionResult:
    """Answer DescribePlacementGroups."""
    names, ids = response._get_param("GroupNames", []), response._get_param("GroupIds", [])
    found = [known(response, name) for name in names] or list(groups(response).values())
    found = [group for group in found if not ids or group.id in ids]
    return ActionResult({"PlacementGroups": generic_filter(response._filters_from_querystring(), found)})


def delete_placement_group(response: Any) -> EmptyResult:
    """Answer DeletePlacementGroup: refused while an instance is in the group."""
    group = known(response, response._get_param("GroupName"))
    instances = response.ec2_backend.all_instances()
    if any(one.placement.group_name == group.group_name and one.state != "terminated" for one in instances):
        message = f"The placement group '{group.group_name}' is in use and may not be deleted."
        raise EC2ClientError("InvalidPlacementGroup.InUse", message)
    response.error_on_dryrun()
    del groups(response)[group.group_name]
    return EmptyResult()
