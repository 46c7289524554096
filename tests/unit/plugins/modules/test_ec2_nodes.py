# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of ec2_nodes against moto with local EC2's client tokens and states, on a clock of its own.

Nodes boot, stop and end as the clock goes on, and the clock goes on when somebody sleeps.
"""

from __future__ import annotations

import base64
import functools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from ansible_collections.sparkfleet.ec2.plugins.modules import ec2_nodes
from botocore import client, loaders, session
from botocore.exceptions import ClientError, ReadTimeoutError
from moto import mock_aws
from moto.ec2.models import amis
from moto.ec2.responses._base_response import EC2BaseResponse

ROOT = Path(__file__).parents[4]
AMI = "ami-12c6146b"  # one that moto knows
BOOT_SECONDS = 3
LOADER = functools.cache(loaders.create_loader)
Run = Callable[..., dict[str, Any]]
Hook = Callable[[], None]


class Killed(BaseException):
    """The controller is gone, as by kill -9."""


class Clock:
    """Seconds that pass when somebody sleeps, and what happens meanwhile."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list[tuple[float, Hook]] = []

    def after(self, seconds: float, act: Hook) -> None:
        """Do something later."""
        self.due.append((self.now + seconds, act))

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        ready = [act for when, act in self.due if when <= self.now]
        self.due = [(when, act) for when, act in self.due if when > self.now]
        for act in ready:
            act()


class Nodes:
    """Nodes in the place of local EC2's containers. `fate`: what becomes of the next ones instead of running."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.listeners: dict[str, Any] = {}
        self.fate: str | None = None
        self.firewalls = SimpleNamespace(update=lambda: None)

    def launch(self, spec: Any, _public_ip: str, listener: Any, *_more: Any) -> None:
        self.listeners[spec.instance_id] = listener
        self.start(spec.instance_id, "")

    def start(self, instance_id: str, _public_ip: str) -> None:
        listener, fate = self.listeners[instance_id], self.fate
        ends = listener.node_running if fate is None else lambda: listener.node_failed(fate)
        self.clock.after(BOOT_SECONDS, ends)

    def stop(self, instance_id: str) -> None:
        self.clock.after(BOOT_SECONDS, lambda: self.listeners[instance_id].node_stopped(asked=True))

    def terminate(self, instance_id: str) -> None:
        self.clock.after(1, self.listeners[instance_id].node_gone)


class World:
    """The account: its group, its nodes, what is called and what goes wrong."""

    def __init__(self, clock: Clock, nodes: Nodes, run: Run) -> None:
        self.clock, self.nodes, self._run = clock, nodes, run
        self.calls: list[str] = []
        self.launches: list[dict[str, Any]] = []
        self.before: dict[str, list[Hook]] = {}
        self.after: dict[str, list[Hook]] = {}
        self.blind_until, self.visible = 0.0, set[str]()
        self.ec2 = boto3.client("ec2", region_name="us-east-1")
        self.group = self.ec2.create_security_group(GroupName="sparkfleet-a", Description="x")["GroupId"]
        self.calls.clear()

    def run(self, workers: int, *, check: bool = False, **options: Any) -> dict[str, Any]:
        """Run the module for a master and some workers."""
        counts = {"master": 1, "worker": workers}
        types = {"master": "m5.large", "worker": options.pop("instance_type", "m5.xlarge")}
        nodes = [{"role": role, "count": counts[role], "instance_type": types[role]} for role in counts]
        given = {"cluster": "a", "security_group_id": self.group, "image_id": AMI, "nodes": nodes, **options}
        return self._run(ec2_nodes, check=check, **given)

    def is_killed(self, workers: int, **options: Any) -> None:
        """Run the module, which somebody kills."""
        with pytest.raises(Killed):
            self.run(workers, **options)

    def kill(self, moment: dict[str, list[Hook]], call: str) -> None:
        """Arrange to be killed before or after the next call of that name."""
        moment.setdefault(call, []).append(raising(Killed()))

    def refuse(self, call: str, code: str, moment: str = "before") -> None:
        """Arrange an error of the API for the next call of that name."""
        error = ClientError({"Error": {"Code": code, "Message": "EC2's own\n words"}}, call)
        getattr(self, moment).setdefault(call, []).append(raising(error))

    def hide_new(self, seconds: float) -> None:
        """Let what is launched from now on be seen later only."""
        self.blind_until, self.visible = self.clock.now + seconds, set(self.ids("m5.large"))

    def seen(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return what EC2 already shows of an answer to DescribeInstances."""
        if self.clock.now < self.blind_until:
            for group in answer["Reservations"]:
                group["Instances"] = [one for one in group["Instances"] if one["InstanceId"] in self.visible]
        return answer

    def ids(self, instance_type: str, *states: str) -> list[str]:
        """Return the ids of the instances of a type, in any of the states if some are given."""
        filters = [{"Name": "instance-type", "Values": [instance_type]}]
        filters += [{"Name": "instance-state-name", "Values": list(states)}] if states else []
        found = self.ec2.describe_instances(Filters=filters)["Reservations"]
        return [instance["InstanceId"] for group in found for instance in group["Instances"]]

    def describe(self, instance_id: str) -> dict[str, Any]:
        """Return what EC2 tells of one instance."""
        return self.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]

    def roles(self, *states: str) -> Counter[str]:
        """Count the instances that are there, and in one of the states, by role."""
        filters = [{"Name": "instance-state-name", "Values": states or ("pending", "running", "stopping", "stopped")}]
        found = self.ec2.describe_instances(Filters=filters)
        return Counter(
            tag["Value"]
            for group in found["Reservations"]
            for instance in group["Instances"]
            for tag in instance["Tags"]
            if tag["Key"] == "sparkfleet:role"
        )

    def notes(self) -> list[str]:
        """Return the keys of the group's tags."""
        group = self.ec2.describe_security_groups(GroupIds=[self.group])["SecurityGroups"][0]
        return [tag["Key"] for tag in group.get("Tags", [])]

    def settle(self) -> None:
        """Let a minute pass."""
        for _second in range(60):
            self.clock.sleep(1)

    def assert_complete(self, workers: int) -> None:
        """Exactly what was wanted is there, all of it runs, and nothing is left over."""
        assert self.roles("running") == self.roles() == Counter(master=1, worker=workers)
        assert self.notes() == []
        assert not self.run(workers)["changed"]


def raising(error: BaseException) -> Hook:
    def act() -> None:
        raise error

    return act


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Clock, Nodes]]:
    """Moto with the deviations of local EC2, for this test only."""
    monkeypatch.syspath_prepend(str(ROOT))
    from local_ec2 import deviations
    from local_ec2.deviations import patch
    from local_ec2.settings import Settings

    def replace(owner: Any, name: str, new: Any) -> Any:
        old = getattr(owner, name)
        monkeypatch.setattr(owner, name, new)
        return old

    def add(owner: Any, name: str, new: Any) -> None:
        monkeypatch.setattr(owner, name, new, raising=False)

    monkeypatch.setattr(patch, "replace", replace)
    monkeypatch.setattr(patch, "add", add)
    # It is the server that finds out who calls, and there is none.
    monkeypatch.setattr(deviations.permissions, "install", lambda _cloud: None)
    paths = dict(EC2BaseResponse.RESPONSE_KEY_PATH_TO_TRANSFORMER)
    monkeypatch.setattr(EC2BaseResponse, "RESPONSE_KEY_PATH_TO_TRANSFORMER", paths)
    # To read EC2's model for each run, and to make a thousand images for each test, would take longer than all else.
    monkeypatch.setattr(session, "create_loader", LOADER)
    monkeypatch.setattr(amis, "AMIS", [image for image in amis.AMIS if image["ami_id"] == AMI])
    monkeypatch.setenv("MOTO_AMIS_PATH", "only those")
    clock = Clock()
    nodes = Nodes(clock)
    settings = Settings(vpc_cidr=IPv4Network("10.231.0.0/16"))
    with mock_aws():
        deviations.install(deviations.Cloud(settings, nodes, {AMI: "an image"}))
        yield clock, nodes


@pytest.fixture
def world(cloud: tuple[Clock, Nodes], run_module: Run, monkeypatch: pytest.MonkeyPatch) -> World:
    """An account with a security group and nothing else."""
    for name in [one for one in os.environ if one.startswith("AWS_") and "KEY" not in one]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    clock, nodes = cloud
    world = World(clock, nodes, run_module)
    call = client.BaseClient._make_api_call

    def spy(self: client.BaseClient, name: str, arguments: dict[str, Any]) -> Any:
        world.calls.append(name)
        if name == "RunInstances":
            world.launches.append(arguments)
        for hook in [hooks.pop(0) for hooks in [world.before.get(name)] if hooks]:
            hook()
        answer = call(self, name, arguments)
        for hook in [hooks.pop(0) for hooks in [world.after.get(name)] if hooks]:
            hook()
        return world.seen(answer) if name == "DescribeInstances" else answer

    monkeypatch.setattr(client.BaseClient, "_make_api_call", spy)
    monkeypatch.setattr(time, "sleep", clock.sleep)
    monkeypatch.setattr(ec2_nodes, "time", SimpleNamespace(sleep=clock.sleep, monotonic=lambda: clock.now))
    return world


def test_launches_what_is_missing_and_the_second_run_changes_nothing(world: World) -> None:
    first = world.run(3)
    assert first["changed"]
    assert {role: len(ids) for role, ids in first["launched"].items()} == {"master": 1, "worker": 3}
    assert first["instance_ids"] == sorted(first["launched"]["master"] + first["launched"]["worker"])
    assert first["started"] == []
    world.calls.clear()
    second = world.run(3)
    assert (second["changed"], second["launched"], second["started"]) == (False, {}, [])
    assert second["instance_ids"] == first["instance_ids"]
    assert Counter(world.calls) == Counter(DescribeInstances=1, DescribeSecurityGroups=1)
    world.assert_complete(3)


def test_the_intent_is_noted_before_each_launch_and_taken_away_after_it(world: World) -> None:
    world.run(3)
    writes = [name for name in world.calls if not name.startswith("Describe")]
    assert writes == ["CreateTags", "RunInstances", "DeleteTags"] * 2


def test_more_workers_are_added(world: World) -> None:
    before = world.run(3)["instance_ids"]
    result = world.run(5)
    assert (list(result["launched"]), len(result["launched"]["worker"])) == (["worker"], 2)
    assert set(before) < set(result["instance_ids"])
    world.assert_complete(5)


def test_fewer_workers_are_left_alone(world: World) -> None:
    world.run(3)
    assert not world.run(1)["changed"]
    assert world.roles("running")["worker"] == 3


def test_no_workers(world: World) -> None:
    assert list(world.run(0)["launched"]) == ["master"]
    world.assert_complete(0)


@pytest.mark.parametrize("settle", [True, False], ids=["stopped", "still stopping"])
def test_stopped_instances_are_started_and_none_is_launched_in_their_place(world: World, settle: bool) -> None:
    workers = sorted(world.run(3)["launched"]["worker"])[:2]
    world.ec2.stop_instances(InstanceIds=workers)
    if settle:
        world.settle()
    result = world.run(3)
    assert (result["changed"], result["launched"], sorted(result["started"])) == (True, {}, workers)
    world.assert_complete(3)


def test_terminated_instances_are_replaced(world: World) -> None:
    gone = world.run(3)["launched"]["worker"][0]
    world.ec2.terminate_instances(InstanceIds=[gone])
    world.settle()
    result = world.run(3)
    assert len(result["launched"]["worker"]) == 1
    assert gone not in result["instance_ids"]
    world.assert_complete(3)


def test_check_mode_says_what_would_be_done_and_does_nothing(world: World) -> None:
    empty = world.run(3, check=True, security_group_id="sg-none", image_id=None)
    assert (empty["changed"], empty["launched"]) == (True, {"master": 1, "worker": 3})
    assert empty["instance_ids"] == []
    stopped = world.run(2)["launched"]["worker"][:1]
    world.ec2.stop_instances(InstanceIds=stopped)
    world.calls.clear()
    more = world.run(5, check=True)
    assert (more["changed"], more["launched"], more["started"]) == (True, {"worker": 3}, stopped)
    assert set(world.calls) == {"DescribeInstances"}
    world.run(2)
    same = world.run(2, check=True)
    assert (same["changed"], same["launched"], same["started"]) == (False, {}, [])


def test_another_cluster_in_the_account_does_not_count(world: World) -> None:
    world.run(2)
    assert len(world.run(2, cluster="b")["launched"]["worker"]) == 2
    assert world.roles() == Counter(master=2, worker=4)


@pytest.mark.parametrize("again", [3, 5, 2])
def test_killed_between_the_note_and_the_launch(world: World, again: int) -> None:
    world.run(0)
    world.kill(world.before, "RunInstances")
    world.is_killed(3)
    assert world.notes() == ["sparkfleet:launching-worker"]
    assert len(world.run(again)["launched"]["worker"]) == again
    world.assert_complete(again)


@pytest.mark.parametrize("hidden", [0, 5], ids=["seen at once", "not yet seen"])
@pytest.mark.parametrize("again", [3, 5, 2])
def test_killed_between_the_launch_and_the_end_of_the_note(world: World, again: int, hidden: int) -> None:
    world.run(0)
    world.hide_new(hidden)
    world.kill(world.after, "RunInstances")
    world.is_killed(3)
    world.run(again)
    world.settle()
    # What was launched before is not taken back.
    world.assert_complete(max(3, again))


@pytest.mark.parametrize("hidden", [0, 5], ids=["seen at once", "not yet seen"])
@pytest.mark.parametrize("again", [3, 5])
def test_killed_after_a_launch_and_run_with_another_type(world: World, again: int, hidden: int) -> None:
    world.run(0)
    world.hide_new(hidden)
    world.kill(world.after, "RunInstances")
    world.is_killed(3)
    world.run(again, instance_type="m5.2xlarge")
    found = world.ec2.describe_instances()["Reservations"]
    types = Counter(instance["InstanceType"] for group in found for instance in group["Instances"])
    assert types == Counter({"m5.large": 1, "m5.xlarge": 3, **({"m5.2xlarge": 2} if again == 5 else {})})
    world.assert_complete(again)


def test_killed_after_a_launch_of_which_one_has_ended_since(world: World) -> None:
    world.run(0)
    world.kill(world.after, "RunInstances")
    world.is_killed(3)
    world.settle()
    gone = world.ids("m5.xlarge")[0]
    world.ec2.terminate_instances(InstanceIds=[gone])
    world.settle()
    assert gone not in world.run(3)["instance_ids"]
    world.assert_complete(3)


def test_killed_after_a_launch_of_one_that_has_ended_since(world: World) -> None:
    world.run(0)
    world.kill(world.after, "RunInstances")
    world.is_killed(1)
    world.settle()
    world.ec2.terminate_instances(InstanceIds=world.ids("m5.xlarge"))
    world.settle()
    world.run(1)
    world.assert_complete(1)


def test_a_token_of_instances_that_ended_long_ago(world: World) -> None:
    world.run(0)
    world.kill(world.before, "RunInstances")
    world.is_killed(3)
    world.refuse("RunInstances", "IdempotentInstanceTerminated")
    began = world.clock.now
    world.run(3)
    assert world.clock.now - began < 30
    world.assert_complete(3)


def test_a_used_token_of_which_nothing_is_to_be_seen_ends_the_run_but_not_the_next(world: World) -> None:
    world.run(0)
    world.kill(world.before, "RunInstances")
    world.is_killed(3)
    world.refuse("RunInstances", "IdempotentParameterMismatch")
    master = world.ids("m5.large")[0]
    assert world.run(3, wait_timeout=20)["msg"] == (
        f"Instances of cluster a are not to be seen after 20 s; there are: {master} (running). Run again to go on."
    )
    assert world.notes() == []
    world.run(3)
    world.assert_complete(3)


def test_a_launch_that_is_not_to_be_seen_keeps_its_note(world: World) -> None:
    world.run(0)
    world.hide_new(60)
    assert "are not to be seen after 20 s" in world.run(3, wait_timeout=20)["msg"]
    assert world.notes() == ["sparkfleet:launching-worker"]
    world.run(3)
    world.assert_complete(3)


def test_what_ec2_refuses_is_one_line_and_leaves_no_note(world: World) -> None:
    world.run(0)
    world.refuse("RunInstances", "InstanceLimitExceeded")
    result = world.run(3)
    assert result["msg"] == "cannot bring up cluster a: InstanceLimitExceeded: EC2's own words"
    assert "exception" not in result
    assert (world.roles()["worker"], world.notes()) == (0, [])
    # EC2 would answer the same token with IdempotentParameterMismatch.
    world.run(3, instance_type="m5.2xlarge")
    world.assert_complete(3)


def test_a_lack_of_capacity_that_passes_is_waited_for(world: World) -> None:
    for _time in range(3):
        world.refuse("RunInstances", "InsufficientInstanceCapacity")
    assert world.run(1)["changed"]
    # EC2 would answer a token that it has refused as it did before.
    assert len({launch["ClientToken"] for launch in world.launches}) == 5
    # 5, 10 and 20 seconds, and two times to boot.
    assert 35 <= world.clock.now < 50
    world.assert_complete(1)


def test_a_lack_of_capacity_that_lasts_says_what_there_is_and_what_to_do(world: World) -> None:
    master = world.run(0)["launched"]["master"][0]
    for _time in range(20):
        world.refuse("RunInstances", "InsufficientInstanceCapacity")
    began = world.clock.now
    message = world.run(3, capacity_wait=60)["msg"]
    assert message == (
        "Cluster a is short of 3 workers (m5.xlarge): EC2 had no capacity in 60 s of asking "
        f"(InsufficientInstanceCapacity: EC2's own words). There is: {master} (running). "
        "Give another instance_type, a subnet_id in another zone, or run again; "
        "what there is stays, and is paid for, until you destroy it."
    )
    assert world.clock.now - began == 60
    assert (world.roles()["worker"], world.notes()) == (0, [])
    world.before.clear()
    world.run(3, instance_type="m5.2xlarge")
    world.assert_complete(3)


def test_a_lack_of_capacity_for_what_is_stopped_is_waited_for(world: World) -> None:
    workers = sorted(world.run(2)["launched"]["worker"])
    world.ec2.stop_instances(InstanceIds=workers)
    for _time in range(2):
        world.refuse("StartInstances", "InsufficientInstanceCapacity")
    message = world.run(2, capacity_wait=0)["msg"]
    assert message.startswith(f"Cluster a is short of {workers[0]}, {workers[1]} (stopped): EC2 had no capacity in 0 s")
    assert sorted(world.run(2)["started"]) == workers
    world.assert_complete(2)


def test_new_tags_are_set_on_what_there_is(world: World) -> None:
    master = world.run(1, tags={"Team": "x"}, launch_tags={"Born": "1"})["launched"]["master"][0]
    world.ec2.create_tags(Resources=[master], Tags=[{"Key": "Mine", "Value": "own"}])
    again = {"tags": {"Team": "y", "number": 1}, "launch_tags": {"Born": "2"}}
    would = world.run(1, check=True, **again)
    assert (would["changed"], len(would["tagged"])) == (True, 2)
    result = world.run(1, **again)
    assert (result["changed"], result["launched"], len(result["tagged"])) == (True, {}, 2)
    node = world.describe(master)
    tags = as_dict(node["Tags"])
    assert (tags["Team"], tags["number"], tags["Born"], tags["Mine"]) == ("y", "1", "1", "own")
    volume = node["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    interface = node["NetworkInterfaces"][0]["NetworkInterfaceId"]
    for resource in (volume, interface):
        found = world.ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [resource]}])["Tags"]
        assert as_dict(found)["Team"] == "y"
    world.calls.clear()
    assert not world.run(1, **again)["changed"]
    assert "CreateTags" not in world.calls


def test_nodes_follow_the_first_one_into_its_subnet_unless_told_where(world: World) -> None:
    subnets = [subnet["SubnetId"] for subnet in world.ec2.describe_subnets()["Subnets"]]
    world.run(0, subnet_id=subnets[2])
    (follows,) = world.run(1)["launched"]["worker"]
    assert world.describe(follows)["SubnetId"] == subnets[2]
    (told,) = world.run(2, subnet_id=subnets[1])["launched"]["worker"]
    assert world.describe(told)["SubnetId"] == subnets[1]


def test_an_answer_that_gets_lost_leaves_the_note(world: World) -> None:
    world.run(0)
    world.after["RunInstances"] = [raising(ReadTimeoutError(endpoint_url="https://ec2"))]
    assert "Read timeout" in world.run(3)["msg"]
    assert world.notes() == ["sparkfleet:launching-worker"]
    world.run(3)
    world.assert_complete(3)


def test_an_error_of_the_server_after_the_launch_is_no_second_launch(world: World) -> None:
    world.refuse("RunInstances", "InternalError", moment="after")
    world.run(3)
    world.assert_complete(3)


def test_errors_of_the_server_that_do_not_end_leave_the_note(world: World) -> None:
    world.run(0)
    for _time in range(20):
        world.refuse("RunInstances", "InternalError", moment="after")
    assert world.run(3)["msg"] == "cannot bring up cluster a: InternalError: EC2's own words"
    assert world.notes() == ["sparkfleet:launching-worker"]
    world.after.clear()
    world.run(3)
    world.assert_complete(3)


@pytest.mark.parametrize(
    "call",
    [
        "DescribeInstances",
        "DescribeSecurityGroups",
        "CreateTags",
        "RunInstances",
        "DeleteTags",
        "StartInstances",
    ],
)
def test_throttled_calls_are_tried_again(world: World, call: str) -> None:
    if call == "StartInstances":
        world.run(3)
        world.ec2.stop_instances(InstanceIds=world.ids("m5.xlarge"))
    for _time in range(3):
        world.refuse(call, "RequestLimitExceeded")
    assert world.run(3)["changed"]
    assert not world.before[call]
    world.assert_complete(3)


@pytest.mark.parametrize("call", ["DescribeInstances", "CreateTags", "RunInstances", "StartInstances"])
def test_a_missing_permission_is_one_line(world: World, call: str) -> None:
    if call == "StartInstances":
        world.run(3)
        world.ec2.stop_instances(InstanceIds=world.ids("m5.xlarge"))
    world.refuse(call, "UnauthorizedOperation")
    result = world.run(3)
    assert result["msg"] == (
        f"cannot bring up cluster a: the AWS credentials do not allow ec2:{call}; ask for that permission"
    )
    assert result["failed"]
    assert "exception" not in result


def test_no_image_is_one_line(world: World) -> None:
    assert "InvalidAMIID" in world.run(3, image_id=None)["msg"]
    assert world.notes() == []


def test_instances_that_end_while_they_start_are_named_with_ec2s_reason(world: World) -> None:
    world.run(1)
    world.nodes.fate = "the disk's key is disabled"
    ended = world.run(3)["ended"]
    world.settle()
    assert sorted(ended) == sorted(world.ids("m5.xlarge", "terminated"))
    assert len(ended) == 2
    assert set(ended.values()) == {"Server.InternalError: Internal error on launch: the disk's key is disabled"}
    world.nodes.fate = None
    assert world.run(3)["ended"] == {}
    world.assert_complete(3)


def test_instances_that_stop_as_they_start_are_not_waited_for(world: World) -> None:
    workers = world.run(1)["launched"]["worker"]
    world.ec2.stop_instances(InstanceIds=workers)
    world.settle()
    world.nodes.fate = "no room"
    assert world.run(1, wait_timeout=20)["started"] == workers
    assert world.describe(workers[0])["State"]["Name"] == "stopped"
    world.nodes.fate = None
    assert world.run(1)["started"] == workers
    world.assert_complete(1)


@pytest.mark.parametrize("role", ["m5.large", "m5.xlarge"])
def test_instances_marked_as_failed_are_replaced(world: World, role: str) -> None:
    world.run(2)
    failed, others = world.ids(role)[0], world.ids("m5.large") + world.ids("m5.xlarge")
    world.ec2.create_tags(Resources=[failed], Tags=[{"Key": "sparkfleet:setup", "Value": "failed: no SSH"}])
    planned = world.run(2, check=True)
    assert planned["replaced"] == [failed]
    assert sum(planned["launched"].values()) == 1
    done = world.run(2)
    assert done["replaced"] == [failed]
    assert len(done["launched"]) == 1
    world.settle()
    assert set(done["instance_ids"]) - set(others)
    assert set(others) - set(done["instance_ids"]) == {failed}
    world.assert_complete(2)


@pytest.mark.parametrize("by", ["Name", "Arn"])
def test_profile_placement_group_and_user_data_are_asked_for(world: World, by: str) -> None:
    iam = boto3.client("iam")
    profile = iam.create_instance_profile(InstanceProfileName="spark")["InstanceProfile"]
    world.ec2.create_placement_group(GroupName="near", Strategy="cluster")
    named = {"Name": "spark", "Arn": profile["Arn"]}[by]
    world.run(1, instance_profile=named, placement_group="near", user_data="#!/bin/sh\n")
    for node in map(world.describe, (*world.ids("m5.large"), *world.ids("m5.xlarge"))):
        assert node["IamInstanceProfile"]["Arn"] == profile["Arn"]
        assert node["Placement"]["GroupName"] == "near"
    asked = world.ec2.describe_instance_attribute(InstanceId=world.ids("m5.large")[0], Attribute="userData")
    assert base64.b64decode(asked["UserData"]["Value"]) == b"#!/bin/sh\n"


def test_what_is_asked_of_ec2(world: World) -> None:
    world.ec2.create_key_pair(KeyName="sparkfleet-a")
    subnet = world.ec2.describe_subnets()["Subnets"][-1]["SubnetId"]
    more = {"root_volume_gb": 50, "root_device": "/dev/sda1", "key_name": "sparkfleet-a", "subnet_id": subnet}
    world.run(1, tags={"Name": "sparkfleet-a", "number": 1}, **more)
    instance = world.describe(world.ids("m5.xlarge")[0])
    tags = {"Name": "sparkfleet-a", "number": "1", "sparkfleet:cluster": "a", "sparkfleet:role": "worker"}
    assert as_dict(instance["Tags"]) == {**tags, "sparkfleet:setup": "pending"}
    assert instance["KeyName"] == "sparkfleet-a"
    assert instance["SubnetId"] == subnet
    assert [group["GroupId"] for group in instance["SecurityGroups"]] == [world.group]
    options = instance["MetadataOptions"]
    assert (options["HttpTokens"], options["HttpEndpoint"]) == ("required", "enabled")
    assert options["InstanceMetadataTags"] == "enabled"
    (mapping,) = instance["BlockDeviceMappings"]
    assert mapping["DeviceName"] == instance["RootDeviceName"]
    (volume,) = world.ec2.describe_volumes(VolumeIds=[mapping["Ebs"]["VolumeId"]])["Volumes"]
    assert (volume["Encrypted"], volume["VolumeType"], volume["Size"]) == (True, "gp3", 50)
    assert mapping["Ebs"]["DeleteOnTermination"]
    assert as_dict(volume["Tags"]) == tags
    kinds = {asked["ResourceType"]: as_dict(asked["Tags"]) for asked in world.launches[-1]["TagSpecifications"]}
    assert kinds.pop("instance") == {**tags, "sparkfleet:setup": "pending"}
    assert kinds == dict.fromkeys(("volume", "network-interface"), tags)


def as_dict(tags: list[dict[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}
