#!/usr/bin/python
# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_node_outcome
short_description: Note in EC2 what came of the instances that were launched for a cluster
version_added: 0.2.0
author: The sparkfleet authors (@sparkfleet)
description:
  - A new instance carries the tag C(sparkfleet:setup=pending). This module takes it away from an instance that has been
    set up, and changes it to C(failed) with the reason on one that never came up.
  - M(sparkfleet.ec2.ec2_nodes) terminates failed instances and launches others in their place. An instance without
    the tag has been set up once and may hold data, so it is never marked as failed.
  - Reads the last lines of the failed instances' consoles.
options:
  cluster:
    description: Name of the cluster. Instances without its tag are not touched.
    type: str
    required: true
  set_up:
    description: Ids of instances that have been set up.
    type: list
    elements: str
    default: []
  failed:
    description: Ids of instances that will not do.
    type: list
    elements: str
    default: []
  reasons:
    description: Why instances will not do, by their ids. The others do not answer SSH.
    type: dict
    default: {}
attributes:
  check_mode:
    support: full
    description: Says what would be noted.
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Have an instance replaced by the next run
  sparkfleet.ec2.ec2_node_outcome:
    cluster: demo
    failed: [i-0123456789abcdef0]
"""

RETURN = r"""
nodes:
  description: The failed instances, sorted by id.
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: Id of the instance.
      type: str
    role:
      description: What it was to be.
      type: str
      sample: worker
    instance_type:
      description: Its type.
      type: str
    state:
      description: State of the instance.
      type: str
      sample: running
    reason:
      description: The reason as given, or the state with EC2's reason where the instance no longer runs.
      type: str
    replaceable:
      description: Whether it was never set up, so that it is marked as failed unless it has ended anyway.
      type: bool
    console:
      description: The last 20 lines of its console, as far as there are any.
      type: list
      elements: str
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.sparkfleet.ec2.plugins.module_utils._aws import SETUP, failing_in_one_line, state_in_words
from ansible_collections.sparkfleet.ec2.plugins.module_utils._host_keys import last_lines

TAG_LENGTH = 256
ENDED = {"shutting-down", "terminated"}


def tags_of(instance: dict[str, Any]) -> dict[str, str]:
    """Return an instance's tags."""
    return {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}


def find(ec2: Any, cluster: str, ids: list[str]) -> list[dict[str, Any]]:
    """Return those of the instances that are the cluster's. Raises botocore's errors."""
    if not ids:
        return []
    filters = [{"Name": "tag:sparkfleet:cluster", "Values": [cluster]}]
    pages = ec2.get_paginator("describe_instances").paginate(Filters=filters)
    found = (instance for page in pages for group in page["Reservations"] for instance in group["Instances"])
    return sorted((one for one in found if one["InstanceId"] in ids), key=lambda one: one["InstanceId"])


def console_of(ec2: Any, instance_id: str) -> list[str]:
    """Return the last lines of an instance's console. Raises botocore's errors."""
    for options in ({"Latest": True}, {}):
        try:
            answer = ec2.get_console_output(InstanceId=instance_id, aws_retry=True, **options)
        except is_boto3_error_code(["UnsupportedOperation", "InvalidParameterCombination"]):
            continue  # its hypervisor has no latest output
        return last_lines(answer.get("Output", ""))
    return []


def failure(ec2: Any, instance: dict[str, Any], reason: str) -> dict[str, Any]:
    """Return what there is to tell of an instance that will not do. Raises botocore's errors."""
    state = instance["State"]["Name"]
    return {
        "id": instance["InstanceId"],
        "role": tags_of(instance).get("sparkfleet:role", ""),
        "instance_type": instance["InstanceType"],
        "state": state,
        "reason": reason if state == "running" else f"is {state_in_words(instance)}",
        "replaceable": SETUP in tags_of(instance),
        "console": console_of(ec2, instance["InstanceId"]),
    }


def main() -> None:
    """Read the options, note, report."""
    module = AnsibleAWSModule(
        argument_spec={
            "cluster": {"type": "str", "required": True},
            "set_up": {"type": "list", "elements": "str", "default": []},
            "failed": {"type": "list", "elements": "str", "default": []},
            "reasons": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    given = module.params
    with failing_in_one_line(module, f"note what came of cluster {given['cluster']}"):
        ec2 = module.client("ec2", retry_decorator=AWSRetry.jittered_backoff())
        found = {one["InstanceId"]: one for one in find(ec2, given["cluster"], [*given["set_up"], *given["failed"]])}
        nodes = [
            failure(ec2, found[key], str(given["reasons"].get(key, "does not answer SSH")))
            for key in sorted(found)
            if key in given["failed"]
        ]
        done = [key for key in given["set_up"] if SETUP in tags_of(found.get(key, {}))]
        marks = {
            node["id"]: f"failed: {node['reason']}"[:TAG_LENGTH]
            for node in nodes
            if node["replaceable"] and node["state"] not in ENDED
        }
        if not module.check_mode:
            for key, mark in marks.items():
                ec2.create_tags(Resources=[key], Tags=[{"Key": SETUP, "Value": mark}], aws_retry=True)
            if done:
                ec2.delete_tags(Resources=done, Tags=[{"Key": SETUP}], aws_retry=True)
    module.exit_json(changed=bool(done or marks), nodes=nodes)


if __name__ == "__main__":
    main()
