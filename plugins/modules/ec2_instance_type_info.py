#!/usr/bin/python
# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Describe EC2 instance types."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_instance_type_info
short_description: Describe EC2 instance types
version_added: 0.1.0
author: The sparkfleet authors (@sparkfleet)
description:
  - Returns what instance types offer and where in the region they are to be had. A type that the region does not
    offer is an error that names the most similar one that it does.
options:
  instance_types:
    description: Names of instance types, at most 100.
    type: list
    elements: str
    required: true
  settings:
    description: The settings that named the types, by type. An error about a type begins with its setting.
    type: dict
    default: {}
extends_documentation_fragment:
  - sparkfleet.ec2.reads_only
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Describe the types of the cluster
  sparkfleet.ec2.ec2_instance_type_info:
    instance_types: [m5.large, m5d.2xlarge]
  register: types
"""

RETURN = r"""
instance_types:
  description: The types, in the order asked for and each once.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the type.
      type: str
      sample: m5d.2xlarge
    vcpus:
      description: Number of vCPUs.
      type: int
      sample: 8
    memory_mib:
      description: Memory in MiB.
      type: int
      sample: 32768
    architectures:
      description: Architectures that an image may have.
      type: list
      elements: str
      sample: [x86_64]
    instance_storage:
      description: Disks that come with the instance and are wiped when it stops.
      type: dict
      contains:
        size_gb:
          description: Size of all disks together in GB, V(0) without disks.
          type: int
          sample: 300
        disks:
          description: Number of disks.
          type: int
          sample: 1
        nvme:
          description: Whether the disks are NVMe devices.
          type: bool
    current_generation:
      description: Whether Amazon counts the type among the current ones.
      type: bool
    hypervisor:
      description: V(nitro), V(xen), or empty for bare metal.
      type: str
    placement_strategies:
      description: Strategies of the placement groups that the type may be in.
      type: list
      elements: str
      sample: [cluster, partition, spread]
    availability_zones:
      description: Names of the region's availability zones that offer the type, sorted.
      type: list
      elements: str
      sample: [us-east-1a, us-east-1b]
"""

import difflib
import re
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.sparkfleet.ec2.plugins.module_utils._aws import failing_in_one_line

SIZES = ["nano", "micro", "small", "medium", "large", "xlarge"]


@AWSRetry.jittered_backoff()
def offerings(ec2: Any, location_type: str, names: list[str]) -> list[tuple[str, str]]:
    """(type, place) for each place of LOCATION_TYPE that offers it; all types without NAMES."""
    filters = [{"Name": "instance-type", "Values": names}] if names else []
    pages = ec2.get_paginator("describe_instance_type_offerings").paginate(LocationType=location_type, Filters=filters)
    return [(found["InstanceType"], found["Location"]) for page in pages for found in page["InstanceTypeOfferings"]]


@AWSRetry.jittered_backoff()
def descriptions(ec2: Any, names: list[str]) -> list[dict[str, Any]]:
    """As EC2 gives them. Raises ClientError with code InvalidInstanceType for a name that it does not know."""
    pages = ec2.get_paginator("describe_instance_types").paginate(InstanceTypes=names)
    return [found for page in pages for found in page["InstanceTypes"]]


def size_rank(size: str) -> int | None:
    """Where a size stands among a family's, None for one without a place such as metal."""
    if size in SIZES:
        return SIZES.index(size)
    many = re.fullmatch(r"(\d+)xlarge", size)
    return SIZES.index("xlarge") - 1 + int(many[1]) if many else None


def nearest(name: str, offered: list[str]) -> str | None:
    """The offered type that NAME is most likely meant to be: same family and next size, else similar spelling."""
    family, _dot, size = name.partition(".")
    rank = size_rank(size)
    ranked = [
        (abs(other_rank - rank), -other_rank, other)
        for other in offered
        if rank is not None and other.startswith(f"{family}.")
        for other_rank in [size_rank(other.partition(".")[2])]
        if other_rank is not None
    ]
    if ranked:
        return min(ranked)[2]
    return next(iter(difflib.get_close_matches(name, offered, n=1)), None)


def explain_unknown(names: list[str], offered: list[str], region: str, settings: dict[str, str]) -> str:
    """Which of NAMES are not offered and what may be meant, in one line. settings: by type, who named it."""
    parts = []
    for name in sorted(set(names) - set(offered)):
        setting = f"{settings[name]}: " if name in settings else ""
        suggestion = nearest(name, sorted(set(offered)))
        meant = f"; did you mean {suggestion}?" if suggestion else ""
        parts.append(f'{setting}instance type "{name}" does not exist in {region}{meant}')
    return " ".join(parts)


def summary(found: dict[str, Any], zones: list[str]) -> dict[str, Any]:
    """One type as the module returns it. found: as EC2 describes it."""
    storage = found.get("InstanceStorageInfo", {})
    return {
        "name": found["InstanceType"],
        "vcpus": found["VCpuInfo"]["DefaultVCpus"],
        "memory_mib": found["MemoryInfo"]["SizeInMiB"],
        "architectures": found["ProcessorInfo"]["SupportedArchitectures"],
        "instance_storage": {
            "size_gb": storage.get("TotalSizeInGB", 0),
            "disks": sum(disk["Count"] for disk in storage.get("Disks", [])),
            "nvme": storage.get("NvmeSupport", "unsupported") != "unsupported",
        },
        "current_generation": found["CurrentGeneration"],
        "hypervisor": found.get("Hypervisor", ""),
        "placement_strategies": found.get("PlacementGroupInfo", {}).get("SupportedStrategies", []),
        "availability_zones": sorted(zones),
    }


def describe(module: AnsibleAWSModule, names: list[str]) -> list[dict[str, Any]]:
    """The types in the order of NAMES. Raises botocore's errors."""
    ec2 = module.client("ec2")
    try:
        found = {description["InstanceType"]: description for description in descriptions(ec2, names)}
    except is_boto3_error_code("InvalidInstanceType"):
        offered = [name for name, _region in offerings(ec2, "region", [])]
        module.fail_json(msg=explain_unknown(names, offered, ec2.meta.region_name, module.params["settings"]))
    places = offerings(ec2, "availability-zone", names)
    return [summary(found[name], [zone for other, zone in places if other == name]) for name in names]


def main() -> None:
    """Entry point of the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "instance_types": {"type": "list", "elements": "str", "required": True},
            "settings": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    names = list(dict.fromkeys(module.params["instance_types"]))
    with failing_in_one_line(module, "describe instance types"):
        result = describe(module, names) if names else []
    module.exit_json(changed=False, instance_types=result)


if __name__ == "__main__":
    main()
