#!/usr/bin/python
# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_nodes
short_description: Make sure that a cluster has its instances, without ever launching one twice
version_added: 0.1.0
author: The sparkfleet authors (@sparkfleet)
description:
  - Launches the instances that a cluster is short of, starts those that are stopped, and waits until all run.
    Never terminates or stops any.
  - M(amazon.aws.ec2_instance) draws a new client token for every launch. A run that is cut off right after the call,
    before the instances can be seen, would then be followed by a second launch. This module writes its intent, a
    token and a number, into a tag of the cluster's security group first. The next run finds it and finishes
    the same launch. EC2 answers a token that it knows with the instances that it already made.
  - Asks for encrypted gp3 root volumes and for IMDSv2. Instances, volumes and interfaces carry the tags.
options:
  cluster:
    description: Name of the cluster, the value of the tag C(sparkfleet:cluster).
    type: str
    required: true
  nodes:
    description: How many instances of which type there are to be, by role.
    type: list
    elements: dict
    required: true
    suboptions:
      role:
        description: Value of the tag C(sparkfleet:role).
        type: str
        choices: [master, worker]
        required: true
      count:
        description: Number of instances, stopped ones included. More than that is left alone.
        type: int
        required: true
      instance_type:
        description: Type of the instances to launch. Those that exist keep theirs.
        type: str
        required: true
  security_group_id:
    description: Group that the instances join, and that keeps the intent to launch.
    type: str
    required: true
  image_id:
    description: Image to launch from. Needed only where something is to be launched.
    type: str
  root_device:
    description: Name of the image's root device.
    type: str
    default: /dev/xvda
  root_volume_gb:
    description: Size of the root volume in GiB.
    type: int
    default: 30
  key_name:
    description: Key pair whose public key the login user gets.
    type: str
  subnet_id:
    description: Subnet to launch into. The default VPC's unless set.
    type: str
  tags:
    description: Further tags.
    type: dict
    default: {}
  wait_timeout:
    description: Seconds to wait until all instances run.
    type: int
    default: 300
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: full
    description: Says what would be launched and started.
"""

EXAMPLES = r"""
- name: One master and three workers
  sparkfleet.ec2.ec2_nodes:
    cluster: demo
    security_group_id: sg-0123456789abcdef0
    image_id: ami-0123456789abcdef0
    key_name: sparkfleet-demo
    nodes:
      - {role: master, count: 1, instance_type: m6i.large}
      - {role: worker, count: 3, instance_type: m6i.xlarge}
"""

RETURN = r"""
cluster:
  description: Name of the cluster.
  returned: always
  type: str
launched:
  description: Instances that this run launched, or in check mode how many it would launch, by role.
  returned: always
  type: dict
  sample: {"worker": ["i-0123456789abcdef0"]}
started:
  description: Instances that were stopped and that this run started.
  returned: always
  type: list
  elements: str
instance_ids:
  description: All instances of the cluster, sorted.
  returned: always
  type: list
  elements: str
"""

import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

try:
    import botocore.exceptions
except ImportError:
    pass  # AnsibleAWSModule says so to the user

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry

INTENT = "sparkfleet:launching-{}"


class Fleet:
    """The instances of one cluster, as EC2 has them."""

    def __init__(self, module: AnsibleAWSModule) -> None:
        self.module = module
        self.params = module.params
        self.client = module.client("ec2", retry_decorator=AWSRetry.jittered_backoff(retries=8))

    def describe(self, **query: Any) -> list[dict[str, Any]]:
        """Return the instances that match, all pages of them, by id."""
        pages = self.client.get_paginator("describe_instances").paginate(**query)
        found = (item for page in pages for group in page["Reservations"] for item in group["Instances"])
        return sorted(found, key=lambda instance: instance["InstanceId"])

    def instances(self, *states: str) -> list[dict[str, Any]]:
        """Return the cluster's instances in these states, or in any if none is given."""
        filters = [{"Name": "tag:sparkfleet:cluster", "Values": [self.params["cluster"]]}]
        if states:
            filters.append({"Name": "instance-state-name", "Values": list(states)})
        return self.describe(Filters=filters)

    def live(self) -> list[dict[str, Any]]:
        """Return all instances of the cluster that are not terminated or on the way there."""
        return self.instances("pending", "running", "stopping", "stopped")

    def intent(self, role: str) -> tuple[str, int] | None:
        """Return the token and number of a launch that was begun and not seen to its end."""
        group = self.client.describe_security_groups(GroupIds=[self.params["security_group_id"]], aws_retry=True)
        tags = {tag["Key"]: tag["Value"] for tag in group["SecurityGroups"][0].get("Tags", [])}
        token, _slash, count = tags.get(INTENT.format(role), "").partition("/")
        return (token, int(count)) if token else None

    def note_intent(self, role: str, count: int) -> tuple[str, int]:
        """Write down, before the launch, what is about to be launched."""
        token = str(uuid.uuid4())
        tag = {"Key": INTENT.format(role), "Value": f"{token}/{count}"}
        self.client.create_tags(Resources=[self.params["security_group_id"]], Tags=[tag], aws_retry=True)
        return token, count

    def forget_intent(self, role: str) -> None:
        """Take the note away: the launch can be seen now."""
        tag = {"Key": INTENT.format(role)}
        self.client.delete_tags(Resources=[self.params["security_group_id"]], Tags=[tag], aws_retry=True)

    def launch(self, node: dict[str, Any], missing: int) -> list[str]:
        """Launch instances of one role, or finish the launch that an earlier run began; return their ids."""
        role = node["role"]
        token, count = self.intent(role) or self.note_intent(role, missing)
        try:
            answer = self.client.run_instances(**self.request(node, token, count), aws_retry=True)
            ids = [instance["InstanceId"] for instance in answer["Instances"]]
        except botocore.exceptions.ClientError as error:
            if error.response["Error"]["Code"] != "IdempotentParameterMismatch":
                raise
            # The earlier run did launch, with other settings. What it made will show up under its token.
            ids = []
        self.wait_visible(token, count)
        self.forget_intent(role)
        return ids

    def wait_visible(self, token: str, count: int) -> None:
        """Wait until EC2 shows the instances of a launch: it answers a launch before all of it knows."""

        def seen() -> int:
            return sum(instance.get("ClientToken") == token for instance in self.instances())

        self.wait("are not to be seen", lambda: seen() >= count)

    def request(self, node: dict[str, Any], token: str, count: int) -> dict[str, Any]:
        """Return the parameters of RunInstances."""
        params = self.params
        disk = {"VolumeSize": params["root_volume_gb"], "VolumeType": "gp3", "Encrypted": True}
        tags = {**params["tags"], "sparkfleet:cluster": params["cluster"], "sparkfleet:role": node["role"]}
        tag_list = [{"Key": key, "Value": str(value)} for key, value in sorted(tags.items())]
        optional = {"KeyName": params["key_name"], "SubnetId": params["subnet_id"]}
        return {
            "ClientToken": token,
            "MinCount": count,
            "MaxCount": count,
            "ImageId": params["image_id"],
            "InstanceType": node["instance_type"],
            "SecurityGroupIds": [params["security_group_id"]],
            "BlockDeviceMappings": [
                {"DeviceName": params["root_device"], "Ebs": {**disk, "DeleteOnTermination": True}}
            ],
            "MetadataOptions": {
                "HttpEndpoint": "enabled",
                "HttpTokens": "required",
                "InstanceMetadataTags": "enabled",
            },
            "TagSpecifications": [
                {"ResourceType": kind, "Tags": tag_list} for kind in ("instance", "volume", "network-interface")
            ],
            **{key: value for key, value in optional.items() if value},
        }

    def start_stopped(self) -> list[str]:
        """Start the instances that are stopped, once those on the way there have arrived."""
        self.wait("do not stop", lambda: "stopping" not in self.states())
        stopped = [instance["InstanceId"] for instance in self.live() if state(instance) == "stopped"]
        if stopped:
            self.client.start_instances(InstanceIds=stopped, aws_retry=True)
        return stopped

    def check_alive(self, ids: Iterable[str]) -> None:
        """Fail with EC2's reason if one of these instances ended instead of starting."""
        for instance in self.instances("shutting-down", "terminated"):
            if instance["InstanceId"] in ids:
                reason = instance.get("StateReason", {}).get("Message") or "EC2 gives no reason"
                self.module.fail_json(msg=f"{instance['InstanceId']} ended while it started: {reason}")

    def states(self) -> set[str]:
        """Return the states in which instances of the cluster are."""
        return {state(instance) for instance in self.live()}

    def wait(self, what: str, done: Callable[[], bool]) -> None:
        """Poll until `done()`; fail with the ids of the instances after wait_timeout seconds."""
        deadline = time.monotonic() + self.params["wait_timeout"]
        while not done():
            if time.monotonic() > deadline:
                ids = ", ".join(instance["InstanceId"] for instance in self.live())
                self.module.fail_json(
                    msg=f"Instances of cluster {self.params['cluster']} {what} after "
                    f"{self.params['wait_timeout']} s; there are: {ids or 'none'}. Run again to go on."
                )
            time.sleep(1)


def state(instance: dict[str, Any]) -> str:
    """Return an instance's state, such as `running`."""
    return instance["State"]["Name"]


def missing(node: dict[str, Any], instances: Iterable[dict[str, Any]]) -> int:
    """Return how many instances of the role are to be launched."""
    role = {"Key": "sparkfleet:role", "Value": node["role"]}
    return max(0, node["count"] - sum(role in instance.get("Tags", []) for instance in instances))


def ensure(fleet: Fleet, nodes: list[dict[str, Any]]) -> dict[str, Any]:
    """Bring the cluster to its numbers; return the module's result."""
    launched: dict[str, list[str]] = {}
    for node in nodes:
        # Twice at most: the first round may have finished a smaller launch of an earlier run.
        for _round in range(2):
            if short := missing(node, fleet.live()):
                launched.setdefault(node["role"], []).extend(fleet.launch(node, short))
    started = fleet.start_stopped()
    fleet.wait("do not run", lambda: fleet.states() <= {"running"})
    fleet.check_alive([*started, *(instance for ids in launched.values() for instance in ids)])
    return {"changed": bool(launched or started), "launched": launched, "started": started}


def plan(fleet: Fleet, nodes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what `ensure` would do, for check mode."""
    live = fleet.live()
    launched = {node["role"]: missing(node, live) for node in nodes if missing(node, live)}
    started = [instance["InstanceId"] for instance in live if state(instance) in {"stopping", "stopped"}]
    return {"changed": bool(launched or started), "launched": launched, "started": started}


def main() -> None:
    """Read the options, act, report."""
    node = {
        "role": {"type": "str", "choices": ["master", "worker"], "required": True},
        "count": {"type": "int", "required": True},
        "instance_type": {"type": "str", "required": True},
    }
    module = AnsibleAWSModule(
        argument_spec={
            "cluster": {"type": "str", "required": True},
            "nodes": {"type": "list", "elements": "dict", "required": True, "options": node},
            "security_group_id": {"type": "str", "required": True},
            "image_id": {"type": "str"},
            "root_device": {"type": "str", "default": "/dev/xvda"},
            "root_volume_gb": {"type": "int", "default": 30},
            "key_name": {"type": "str", "no_log": False},
            "subnet_id": {"type": "str"},
            "tags": {"type": "dict", "default": {}},
            "wait_timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    fleet = Fleet(module)
    try:
        result = (plan if module.check_mode else ensure)(fleet, module.params["nodes"])
        ids = [instance["InstanceId"] for instance in fleet.live()]
        module.exit_json(**result, cluster=module.params["cluster"], instance_ids=ids)
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        module.fail_json_aws(error, msg=f"Could not bring up cluster {module.params['cluster']}")


if __name__ == "__main__":
    main()
