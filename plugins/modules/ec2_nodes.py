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
    Stops none, and terminates only those that M(sparkfleet.ec2.ec2_node_outcome) has marked as failed; others are
    launched in their place.
  - M(amazon.aws.ec2_instance) draws a new client token for every launch. A run that is cut off right after the call,
    before the instances can be seen, would then be followed by a second launch. This module writes its intent, a
    token and a number, into a tag of the cluster's security group first. The next run finds it and goes on with
    the same launch. EC2 launches nothing for a token that it knows.
  - Asks for encrypted gp3 root volumes and for IMDSv2. Instances, volumes and interfaces carry the tags. A new
    instance also carries C(sparkfleet:setup=pending), until M(sparkfleet.ec2.ec2_node_outcome) notes what came of it.
  - The instances of one role are launched all together or not at all. All go where the first one is, so that no traffic
    between zones is paid for, unless a subnet is given.
  - Where EC2 has no capacity for a role it is asked again for a while. What was launched before stays.
  - An instance that ends or stops as it starts is no failure of the module, so that the others can be set up.
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
      alternatives:
        description: What else could be given, for the message that EC2 has no capacity for them.
        type: str
        default: another instance_type, a subnet_id in another zone
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
    description: Subnet to launch into. Unless set, the one where the cluster is, or any of the default VPC's.
    type: str
  instance_profile:
    description: Name or ARN of the instance profile that the instances get. Those that exist keep theirs.
    type: str
  placement_group:
    description: Name of the placement group to launch into.
    type: str
  user_data:
    description: User-data of the instances to launch.
    type: str
  tags:
    description:
      - Further tags. Instances that exist get those that they lack, and so do their interfaces and the volumes that go
        with them.
    type: dict
    default: {}
  launch_tags:
    description: Further tags of the instances to launch. Those that exist keep theirs.
    type: dict
    default: {}
  capacity_wait:
    description: Seconds for which EC2 is asked again when it has no capacity.
    type: int
    default: 120
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
  description:
    - Instances that this run launched, or whose launch it took over from a run that was cut off, by role.
    - In check mode how many it would launch.
  returned: always
  type: dict
  sample: {"worker": ["i-0123456789abcdef0"]}
started:
  description: Instances that were stopped and that this run started.
  returned: always
  type: list
  elements: str
tagged:
  description: Instances that existed, and whose tags this run changed or, in check mode, would change.
  returned: always
  type: list
  elements: str
replaced:
  description: Instances that were marked as failed and that this run terminated.
  returned: always
  type: list
  elements: str
ended:
  description: Instances that EC2 ended while they started, so that some are missing now, with its reasons.
  returned: always
  type: dict
  sample: {"i-0123456789abcdef0": "Server.InternalError: Internal error on launch"}
instance_ids:
  description: All instances of the cluster, sorted.
  returned: always
  type: list
  elements: str
"""

import functools
import itertools
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

try:
    from botocore.exceptions import ClientError
except ImportError:
    pass  # AnsibleAWSModule says so to the user

from ansible_collections.amazon.aws.plugins.module_utils.botocore import paginated_query_with_retries
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.sparkfleet.ec2.plugins.module_utils._aws import (
    SETUP,
    aws_reason,
    error_code,
    failing_in_one_line,
)

Answer = TypeVar("Answer")

INTENT = "sparkfleet:launching-{}"
LIVE = ("pending", "running", "stopping", "stopped")
# What EC2 says of a token that was used before: with other settings, or for instances that have ended since.
OTHERWISE = "IdempotentParameterMismatch"
ENDED = "IdempotentInstanceTerminated"
# EC2 may have room a little later.
CAPACITY = {"InsufficientInstanceCapacity", "InsufficientCapacity", "InsufficientHostCapacity"}
CAPACITY_PAUSE = 5
LONGEST_PAUSE = 30
# Of CreateTags.
TAGGED_AT_ONCE = 500


class Fleet:
    """The instances of one cluster, as EC2 has them."""

    def __init__(self, module: AnsibleAWSModule) -> None:
        self.module = module
        self.params = module.params
        self.client = module.client("ec2", retry_decorator=AWSRetry.jittered_backoff(retries=8))
        # What EC2 last said of the instances that have not ended, until it may say something else.
        self._seen: list[dict[str, Any]] | None = None

    def describe(self, **query: Any) -> list[dict[str, Any]]:
        """Return the instances that match, all pages of them, by id."""
        answer = paginated_query_with_retries(self.client, "describe_instances", **query)
        found = (item for group in answer["Reservations"] for item in group["Instances"])
        return sorted(found, key=lambda instance: instance["InstanceId"])

    def instances(self, *states: str) -> list[dict[str, Any]]:
        """Return the cluster's instances in these states, or in any if none is given."""
        filters = [{"Name": "tag:sparkfleet:cluster", "Values": [self.params["cluster"]]}]
        if states:
            filters.append({"Name": "instance-state-name", "Values": list(states)})
        return self.describe(Filters=filters)

    def seen(self) -> list[dict[str, Any]]:
        """Return the instances of the cluster that are not terminated or on the way there; asks EC2 if it has to."""
        if self._seen is None:
            self._seen = self.instances(*LIVE)
        return self._seen

    def look_again(self) -> None:
        """Note that EC2 may have changed."""
        self._seen = None

    def live(self) -> list[dict[str, Any]]:
        """Return all instances of the cluster that are not failed, terminated or on the way there."""
        return [instance for instance in self.seen() if not is_failed(instance)]

    def failed(self) -> list[str]:
        """Return the ids of the instances that an earlier run marked as failed."""
        return [instance["InstanceId"] for instance in self.seen() if is_failed(instance)]

    def terminate_failed(self) -> list[str]:
        """Make room for those that are launched in their place."""
        failed = self.failed()
        if failed:
            self.client.terminate_instances(InstanceIds=failed, aws_retry=True)
            self.look_again()
        return failed

    def intents(self) -> dict[str, tuple[str, int]]:
        """Return the token and number, by role, of launches that were begun and not seen to their ends."""
        group = self.client.describe_security_groups(GroupIds=[self.params["security_group_id"]], aws_retry=True)
        tags = {tag["Key"]: tag["Value"] for tag in group["SecurityGroups"][0].get("Tags", [])}
        notes = {node["role"]: tags.get(INTENT.format(node["role"]), "") for node in self.params["nodes"]}
        pairs = {role: note.partition("/") for role, note in notes.items() if note}
        return {role: (token, int(count)) for role, (token, _slash, count) in pairs.items()}

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

    def launch(self, node: dict[str, Any], intent: tuple[str, int] | None) -> list[str]:
        """Launch what one role is short of, as an earlier run meant to if `intent` is its note; return the ids."""
        role, count = node["role"], missing(node, self.live())
        if not count:
            if intent:
                self.forget_intent(role)
            return []
        token, begun, used = self.run_instances(node, intent, count)
        self.look_again()
        # What an earlier run asked for may still be about to show up.
        expected = {"": count, OTHERWISE: begun, ENDED: 0}[used]
        visible = self.poll(lambda: len(self.launched(token)) >= expected)
        if visible or used:
            self.forget_intent(role)
        if not visible:
            self.fail("are not to be seen")
        return self.launched(token)

    def run_instances(self, node: dict[str, Any], intent: tuple[str, int] | None, count: int) -> tuple[str, int, str]:
        """Launch all of the instances or none, once EC2 has the capacity for them.

        Return the launch's token, the number that was meant with it, and OTHERWISE or ENDED if it was used before,
        else "".
        """
        intents = itertools.chain([intent], itertools.repeat(None))
        short_of = f"{count} {node['role']}{'s' * (count > 1)} ({node['instance_type']})"
        return self.with_capacity(lambda: self.launch_once(node, next(intents), count), short_of, node["alternatives"])

    def launch_once(self, node: dict[str, Any], intent: tuple[str, int] | None, count: int) -> tuple[str, int, str]:
        """Call RunInstances; return what `run_instances` does."""
        token, begun = intent or self.note_intent(node["role"], count)
        try:
            self.client.run_instances(**self.request(node, token, count), aws_retry=True)
        except ClientError as error:
            code = error_code(error)
            if code in {OTHERWISE, ENDED}:
                return token, begun, code
            # EC2 keeps the token of what it refused. Errors that are worth a retry say nothing of what became of it.
            if not AWSRetry.found(code):
                self.forget_intent(node["role"])
            raise
        return token, begun, ""

    def with_capacity(self, ask: Callable[[], Answer], short_of: str, alternatives: str) -> Answer:
        """Return what `ask` does; ask again while EC2 has no capacity, in the end fail and say how things are."""
        wait = self.params["capacity_wait"]
        deadline, pause = time.monotonic() + wait, CAPACITY_PAUSE
        while True:
            try:
                return ask()
            except ClientError as error:
                if error_code(error) not in CAPACITY:
                    raise
                left = deadline - time.monotonic()
                if left <= 0:
                    self.fail_short(short_of, alternatives, error)
                time.sleep(min(pause, left))
                pause = min(2 * pause, LONGEST_PAUSE)

    def fail_short(self, short_of: str, alternatives: str, error: ClientError) -> None:
        """Fail for lack of capacity: what there is not, what there is, what could be done."""
        self.look_again()
        there = ", ".join(map(in_words, self.live())) or "nothing yet"
        self.module.fail_json(
            msg=f"Cluster {self.params['cluster']} is short of {short_of}: EC2 had no capacity in "
            f"{self.params['capacity_wait']} s of asking ({aws_reason(error)}). There is: {there}. "
            f"Give {alternatives}, or run again; what there is stays, and is paid for, until you destroy it."
        )

    def launched(self, token: str) -> list[str]:
        """Return the ids of a launch that can be seen: EC2 answers a launch before all of it knows."""
        return [instance["InstanceId"] for instance in self.instances() if instance.get("ClientToken") == token]

    def request(self, node: dict[str, Any], token: str, count: int) -> dict[str, Any]:
        """Return the parameters of RunInstances."""
        params = self.params
        subnet = params["subnet_id"] or next((one["SubnetId"] for one in self.live()), None)
        disk = {"VolumeSize": params["root_volume_gb"], "VolumeType": "gp3", "Encrypted": True}
        own = {"sparkfleet:cluster": params["cluster"], "sparkfleet:role": node["role"]}
        tags = {**params["tags"], **params["launch_tags"], **own}
        profile, group = params["instance_profile"], params["placement_group"]
        optional = {
            "ImageId": params["image_id"],
            "KeyName": params["key_name"],
            "SubnetId": subnet,
            "IamInstanceProfile": profile and {"Arn" if profile.startswith("arn:") else "Name": profile},
            "Placement": group and {"GroupName": group},
            "UserData": params["user_data"],
        }
        return {
            "ClientToken": token,
            "MinCount": count,
            "MaxCount": count,
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
                {"ResourceType": "instance", "Tags": tag_list({**tags, SETUP: "pending"})},
                *({"ResourceType": kind, "Tags": tag_list(tags)} for kind in ("volume", "network-interface")),
            ],
            **{key: value for key, value in optional.items() if value},
        }

    def without_tags(self, live: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return those of the instances that lack some of the tags."""
        wanted = tag_list(self.params["tags"])
        return [instance for instance in live if any(tag not in instance.get("Tags", []) for tag in wanted)]

    def tag(self, instances: list[dict[str, Any]]) -> None:
        """Give the instances, and what goes with them, their tags."""
        resources = [resource for instance in instances for resource in resources_of(instance)]
        for start in range(0, len(resources), TAGGED_AT_ONCE):
            some = resources[start : start + TAGGED_AT_ONCE]
            self.client.create_tags(Resources=some, Tags=tag_list(self.params["tags"]), aws_retry=True)

    def start_stopped(self) -> list[str]:
        """Start the instances that are stopped, once those on the way there have arrived."""
        self.wait("do not stop", lambda: "stopping" not in self.states())
        stopped = [instance["InstanceId"] for instance in self.live() if state(instance) == "stopped"]
        if stopped:
            start = functools.partial(self.client.start_instances, InstanceIds=stopped, aws_retry=True)
            self.with_capacity(start, f"{', '.join(stopped)} (stopped)", "it time")
            self.look_again()
        return stopped

    def wait_until_up(self, started: list[str]) -> None:
        """Wait until all run, except those that were seen to come up and stopped again."""
        down = set(started)

        def settled() -> bool:
            live = self.live()
            down.difference_update(one["InstanceId"] for one in live if state(one) != "stopped")
            return all(
                state(one) == "running" or (state(one) == "stopped" and one["InstanceId"] not in down) for one in live
            )

        self.wait("do not run", settled)

    def ended(self, nodes: list[dict[str, Any]], ids: Iterable[str]) -> dict[str, str]:
        """Return which of these instances ended instead of starting, so that too few are left, with EC2's reasons."""
        live = self.live()
        if not any(missing(node, live) for node in nodes):
            return {}
        gone = [one for one in self.instances("shutting-down", "terminated") if one["InstanceId"] in ids]
        return {one["InstanceId"]: reason(one) or "EC2 gives no reason" for one in gone}

    def states(self) -> set[str]:
        """Return the states in which instances of the cluster are."""
        return {state(instance) for instance in self.live()}

    def wait(self, what: str, done: Callable[[], bool]) -> None:
        """Poll until `done()`; fail with `what` is the matter after wait_timeout seconds."""
        if not self.poll(done):
            self.fail(what)

    def poll(self, done: Callable[[], bool]) -> bool:
        """Ask every second whether it is `done()`; return False after wait_timeout seconds."""
        deadline = time.monotonic() + self.params["wait_timeout"]
        while not done():
            if time.monotonic() > deadline:
                return False
            time.sleep(1)
            self.look_again()
        return True

    def fail(self, what: str) -> None:
        """Fail with what the matter is and the states of the instances."""
        seen = ", ".join(map(in_words, self.live())) or "none"
        self.module.fail_json(
            msg=f"Instances of cluster {self.params['cluster']} {what} after {self.params['wait_timeout']} s; "
            f"there are: {seen}. Run again to go on."
        )


def state(instance: dict[str, Any]) -> str:
    """Return an instance's state, such as `running`."""
    return instance["State"]["Name"]


def is_failed(instance: dict[str, Any]) -> bool:
    """Tell whether an earlier run marked the instance as one to be replaced."""
    return any(tag["Key"] == SETUP and tag["Value"].startswith("failed") for tag in instance.get("Tags", []))


def reason(instance: dict[str, Any]) -> str:
    """Return why an instance is in its state, in EC2's words; "" where EC2 says nothing."""
    return instance.get("StateReason", {}).get("Message", "")


def in_words(instance: dict[str, Any]) -> str:
    """Return an instance's id and state, with EC2's reason where it gives one."""
    return f"{instance['InstanceId']} ({': '.join(filter(None, [state(instance), reason(instance)]))})"


def tag_list(tags: dict[str, Any]) -> list[dict[str, str]]:
    """Return tags as EC2 has them."""
    return [{"Key": key, "Value": str(value)} for key, value in sorted(tags.items())]


def resources_of(instance: dict[str, Any]) -> list[str]:
    """Return the ids of an instance and of what was launched, and ends, with it."""
    volumes = (mapping["Ebs"] for mapping in instance.get("BlockDeviceMappings", []))
    interfaces = instance.get("NetworkInterfaces", [])
    return [
        instance["InstanceId"],
        *(volume["VolumeId"] for volume in volumes if volume["DeleteOnTermination"]),
        *(one["NetworkInterfaceId"] for one in interfaces if one["Attachment"]["DeleteOnTermination"]),
    ]


def missing(node: dict[str, Any], instances: Iterable[dict[str, Any]]) -> int:
    """Return how many instances of the role are to be launched."""
    role = {"Key": "sparkfleet:role", "Value": node["role"]}
    return max(0, node["count"] - sum(role in instance.get("Tags", []) for instance in instances))


def ensure(fleet: Fleet, nodes: list[dict[str, Any]]) -> dict[str, Any]:
    """Bring the cluster to its numbers; return the module's result."""
    replaced = fleet.terminate_failed()
    launched: dict[str, list[str]] = {}
    intents = fleet.intents()
    for node in nodes:
        role, intent = node["role"], intents.get(node["role"])
        ids = fleet.launch(node, intent)
        # What an earlier run began may have been of another size.
        ids += fleet.launch(node, None) if intent else []
        if ids:
            launched[role] = launched.get(role, []) + ids
    started = fleet.start_stopped()
    fleet.wait_until_up(started)
    ended = fleet.ended(nodes, {*started, *(one for ids in launched.values() for one in ids)})
    live = fleet.live()
    untagged = fleet.without_tags(live)
    fleet.tag(untagged)
    return {**result(live, launched, started, untagged, replaced), "ended": ended}


def plan(fleet: Fleet, nodes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what `ensure` would do, for check mode."""
    live = fleet.live()
    launched = {node["role"]: missing(node, live) for node in nodes if missing(node, live)}
    started = [instance["InstanceId"] for instance in live if state(instance) in {"stopping", "stopped"}]
    return {**result(live, launched, started, fleet.without_tags(live), fleet.failed()), "ended": {}}


def result(
    live: list[dict[str, Any]],
    launched: dict[str, Any],
    started: list[str],
    tagged: list[dict[str, Any]],
    replaced: list[str],
) -> dict[str, Any]:
    """Return what was done, or would be, and what there is."""
    return {
        "changed": bool(launched or started or tagged or replaced),
        "launched": launched,
        "started": started,
        "tagged": [instance["InstanceId"] for instance in tagged],
        "replaced": replaced,
        "instance_ids": [instance["InstanceId"] for instance in live],
    }


def main() -> None:
    """Read the options, act, report."""
    node = {
        "role": {"type": "str", "choices": ["master", "worker"], "required": True},
        "count": {"type": "int", "required": True},
        "instance_type": {"type": "str", "required": True},
        "alternatives": {"type": "str", "default": "another instance_type, a subnet_id in another zone"},
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
            "instance_profile": {"type": "str"},
            "placement_group": {"type": "str"},
            "user_data": {"type": "str"},
            "tags": {"type": "dict", "default": {}},
            "launch_tags": {"type": "dict", "default": {}},
            "capacity_wait": {"type": "int", "default": 120},
            "wait_timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    fleet = Fleet(module)
    with failing_in_one_line(module, f"bring up cluster {module.params['cluster']}"):
        done = (plan if module.check_mode else ensure)(fleet, module.params["nodes"])
        module.exit_json(**done, cluster=module.params["cluster"])


if __name__ == "__main__":
    main()
