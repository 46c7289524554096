# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where and how the role fleet launches, what it refuses, and what it does when EC2 refuses. Nodes run nothing here."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_user import PLACE, User, local_ec2

LAUNCH = """
- hosts: localhost
  gather_facts: false
  vars: {ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  tasks:
    - ansible.builtin.include_role: {name: sparkfleet.ec2.fleet}
    - ansible.builtin.meta: refresh_inventory
    - ansible.builtin.include_role: {name: sparkfleet.ec2.fleet, tasks_from: access}
"""

REFUSE = """
- hosts: localhost
  gather_facts: false
  vars: {ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  tasks:
    - {ansible.builtin.include_tasks: case.yml, loop: "{{ cases }}", loop_control: {loop_var: case}}
    - ansible.builtin.copy: {dest: "{{ answers }}", content: "{{ messages | to_json }}", mode: "0600"}
"""
CASE = """
- environment: {AWS_REGION: "{{ case.region | default('us-east-1') }}"}
  block:
    - ansible.builtin.include_role: {name: sparkfleet.ec2.fleet, tasks_from: preflight, rolespec_validate: false}
      vars:
        fleet_cluster: refused
        fleet_workers: 1
        fleet_master_instance_type: "{{ case.type | default('m5.large') }}"
        fleet_worker_instance_type: m5.large
        fleet_subnet_id: "{{ case.fleet_subnet_id | default('') }}"
        fleet_instance_profile: "{{ case.fleet_instance_profile | default('') }}"
        fleet_placement_group: "{{ case.fleet_placement_group | default('') }}"
        fleet_tags: "{{ case.fleet_tags | default({}) }}"
        fleet_user_data: "{{ case.fleet_user_data | default('') }}"
  rescue:
    - ansible.builtin.set_fact: {messages: "{{ messages | default([]) + [ansible_failed_result.msg] }}"}
"""


@pytest.fixture
def plays(tmp_path: Path) -> Path:
    """Write the playbooks; return their folder."""
    for name, text in {"launch.yml": LAUNCH, "refuse.yml": REFUSE, "case.yml": CASE}.items():
        (tmp_path / name).write_text(text.lstrip(), encoding="utf-8")
    return tmp_path


@pytest.fixture
def fault(user: User) -> Iterator[Any]:
    """Return what has something go wrong; nothing does any more afterwards."""
    yield lambda *args: local_ec2("fault", *args, "--name", PLACE.name)
    local_ec2("fault", "clear", "--name", PLACE.name)


def private_subnet(user: User, number: int, zone: str = "us-east-1a") -> tuple[str, str]:
    """Make a VPC with a subnet that gives no public addresses; return the ids of both."""
    ec2 = user.client("ec2")
    vpc = ec2.create_vpc(CidrBlock=str(PLACE.vpc))["Vpc"]["VpcId"]
    block = list(PLACE.vpc.subnets(new_prefix=24))[number]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=str(block), AvailabilityZone=zone)["Subnet"]["SubnetId"]
    return vpc, subnet


def instances(user: User, cluster: str) -> list[dict[str, Any]]:
    """Describe the instances of a cluster that have not ended."""
    filters = [
        {"Name": "tag:sparkfleet:cluster", "Values": [cluster]},
        {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]},
    ]
    found = user.client("ec2").describe_instances(Filters=filters)["Reservations"]
    return [instance for group in found for instance in group["Instances"]]


def tagged(user: User, cluster: str, value: str) -> set[str]:
    """Return the kinds of what carries the cluster's tag and the tag Team with the value."""
    ec2 = user.client("ec2")
    found = [
        ec2.describe_tags(Filters=[{"Name": "key", "Values": [key]}])["Tags"] for key in ("sparkfleet:cluster", "Team")
    ]
    of_cluster = {tag["ResourceId"] for tag in found[0] if tag["Value"] == cluster}
    team = {tag["ResourceId"] for tag in found[1] if tag["Value"] == value}
    assert of_cluster == team or not team & of_cluster
    return {one.partition("-")[0] for one in of_cluster & team}


def test_all_that_can_be_chosen_is_applied_and_removed(user: User, plays: Path) -> None:
    ec2 = user.client("ec2")
    vpc, subnet = private_subnet(user, 200)
    profile = user.client("iam").create_instance_profile(InstanceProfileName="fleet-test")["InstanceProfile"]["Arn"]
    written = "#cloud-config\nwrite_files: [{path: /etc/%s, content: %s}]\n"
    parts = [written % ("first", "one"), written % ("second", "two"), "#!/bin/sh\necho three > /etc/third\n"]
    inventory = plays / "private.sparkfleet.yml"
    inventory.write_text(f"plugin: sparkfleet.ec2.cluster\nconnect_with: private_ip\nstate_dir: {user.home}\n", "utf-8")
    given = {
        "cluster": "chosen",
        "workers": 1,
        "fleet_subnet_id": subnet,
        "fleet_instance_profile": "fleet-test",
        "fleet_placement_group": "cluster",
        "fleet_tags": {"Team": "data", "cost-center": 7},
        "user_data_parts": parts,
        "fleet_user_data": "{{ user_data_parts | sparkfleet.ec2.merged_user_data }}",
    }
    launch = [str(plays / "launch.yml"), "-i", str(inventory), "-e"]
    user.play(*launch, json.dumps(given))
    nodes = instances(user, "chosen")
    assert len(nodes) == 2
    for node in nodes:
        assert (node["SubnetId"], node["VpcId"]) == (subnet, vpc)
        assert "PublicIpAddress" not in node
        assert node["IamInstanceProfile"]["Arn"] == profile
        assert node["Placement"]["GroupName"] == "sparkfleet-chosen"
        assert {"Key": "cost-center", "Value": "7"} in node["Tags"]
    everything = {"i", "vol", "eni", "sg", "key", "pg"}
    assert tagged(user, "chosen", "data") == everything
    # By its private address, and the boot has run what was given.
    wait = "cloud-init status --wait >/dev/null; cat /etc/first /etc/second /etc/third"
    assert user.ssh("chosen", "worker-1", wait) == "onetwothree\n"
    assert f"HostName {nodes[0]['PrivateIpAddress']}\n" in (user.home / "chosen" / "ssh_config").read_text()

    assert " changed=0 " in user.play(*launch, json.dumps(given))

    given["fleet_tags"] = {"Team": "other"}
    user.play(*launch, json.dumps(given))
    assert tagged(user, "chosen", "other") == everything
    assert {node["InstanceId"] for node in instances(user, "chosen")} == {node["InstanceId"] for node in nodes}

    user.play("playbooks/destroy.yml", "-e", "cluster=chosen", "-e", "confirm=yes")
    assert not instances(user, "chosen")
    assert not ec2.describe_placement_groups()["PlacementGroups"]
    assert not ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["sparkfleet-chosen"]}])[
        "SecurityGroups"
    ]
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=vpc)


def test_what_cannot_be_is_refused_before_anything_is_made(user: User, plays: Path) -> None:
    ec2, elsewhere = user.client("ec2"), user.client("ec2", "eu-west-1")
    for found in elsewhere.describe_subnets()["Subnets"]:
        elsewhere.delete_subnet(SubnetId=found["SubnetId"])
    vpc, subnet = private_subnet(user, 201, "us-east-1e")
    ec2.create_placement_group(GroupName="sparkfleet-refused", Strategy="cluster")
    (plays / "large.sh").write_text("#!/bin/sh\n" + "#" * 16384, encoding="utf-8")
    cases: list[tuple[dict[str, Any], str]] = [
        (
            {"fleet_subnet_id": "subnet-0123456789abcdef0"},
            "fleet_subnet_id: subnet-0123456789abcdef0 is not to be had in this region; "
            "give the id of a subnet to launch into, such as subnet-0123456789abcdef0",
        ),
        (
            {"region": "eu-west-1"},
            "fleet_subnet_id: is not set, and this region has no default VPC; "
            "give the id of a subnet to launch into, such as subnet-0123456789abcdef0",
        ),
        (
            {"fleet_subnet_id": subnet},
            f"fleet_subnet_id: {subnet} is in us-east-1e, which has no m5.large; give a subnet in "
            "us-east-1a, us-east-1b, us-east-1c, us-east-1d, us-east-1f, or another type",
        ),
        (
            {"fleet_instance_profile": "absent"},
            "fleet_instance_profile: there is no absent in this account; "
            "make it, or give the name or the ARN of one that there is",
        ),
        (
            {"fleet_placement_group": "absent"},
            "fleet_placement_group: there is no absent in this region; make it, or give cluster, and a group is made",
        ),
        (
            {"fleet_placement_group": "cluster"},
            "fleet_placement_group: there is a placement group sparkfleet-refused without the tag "
            "sparkfleet:cluster=refused; remove it, or give its name instead of cluster",
        ),
        (
            {"fleet_placement_group": "sparkfleet-refused", "type": "t3.small"},
            "fleet_placement_group: one of the strategy cluster does not take t3.small; "
            "give other instance types, such as m6i.large, or no group",
        ),
        (
            {"fleet_tags": {"a/b": "c"}},
            'fleet_tags: got the key "a/b"; give keys of up to 128 letters, digits and +-=.,_:@ that do not begin with '
            "aws: or sparkfleet:",
        ),
        (
            {"fleet_tags": {"sparkfleet:role": "master"}},
            'fleet_tags: got the key "sparkfleet:role"; give keys of up to 128 letters, digits and +-=.,_:@ that do '
            "not begin with aws: or sparkfleet:",
        ),
        (
            {"fleet_tags": {"a": ["b"]}},
            'fleet_tags: got the value ["b"]; give texts of up to 256 characters, as in '
            """-e '{"fleet_tags": {"Team": "data"}}'""",
        ),
        (
            {"fleet_tags": {f"k{number}": "" for number in range(41)}},
            "fleet_tags: got 41 tags; give at most 40, for EC2 takes 50 and the collection has its own",
        ),
        (
            {"fleet_user_data": "/nowhere.sh"},
            'fleet_user_data: got "/nowhere.sh", and there is no such file; '
            "give the path of a file, or a text that begins with #cloud-config or #!",
        ),
        (
            {"fleet_user_data": str(plays / "launch.yml")},
            "fleet_user_data: begins with '- hosts: localhost', by which cloud-init does not know what it is; "
            "give up to 16 KiB that begin with #cloud-config, #! or another word that cloud-init knows",
        ),
        (
            {"fleet_user_data": str(plays / "large.sh")},
            "fleet_user_data: is 16394 bytes, and EC2 takes 16384; "
            "give up to 16 KiB that begin with #cloud-config, #! or another word that cloud-init knows",
        ),
        (
            {"fleet_subnet_id": "mine"},
            'fleet_subnet_id: got "mine"; give the id of a subnet, such as subnet-0123456789abcdef0',
        ),
    ]
    answers = plays / "answers.json"
    asked = {"cases": [case for case, _message in cases], "answers": str(answers)}
    user.play(str(plays / "refuse.yml"), "-e", json.dumps(asked))
    assert json.loads(answers.read_text()) == [message for _case, message in cases]
    assert not instances(user, "refused")
    assert not ec2.describe_key_pairs(Filters=[{"Name": "key-name", "Values": ["sparkfleet-refused"]}])["KeyPairs"]
    ec2.delete_placement_group(GroupName="sparkfleet-refused")
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=vpc)


def test_lack_of_capacity_keeps_what_there_is_and_the_next_run_goes_on(user: User, plays: Path, fault: Any) -> None:
    launch = [str(plays / "launch.yml"), "-e", "cluster=short", "-e", "workers=2"]
    (plays / "mine.sh").write_text("#!/bin/sh\ntrue\n", encoding="utf-8")
    launch += ["-e", "fleet_worker_instance_type=m6i.xlarge", "-e", f"fleet_user_data={plays / 'mine.sh'}"]
    fault("capacity", "--type", "m6i.xlarge")
    line = user.refused(*launch, "-e", "fleet_capacity_wait=1")
    (master,) = instances(user, "short")
    assert "Cluster short is short of 2 workers (m6i.xlarge): EC2 had no capacity in 1 s of asking" in line
    assert f"There is: {master['InstanceId']} (" in line
    assert "Give another fleet_worker_instance_type, a fleet_subnet_id in another zone, or run again" in line

    # And now EC2 is only slow and busy.
    fault("clear")
    fault("throttle", "RunInstances", "--count", "6")
    fault("invisible", "3", "--count", "2")
    user.play(*launch)
    assert fault("list") == ""
    nodes = instances(user, "short")
    assert [node["InstanceType"] for node in nodes].count("m6i.xlarge") == 2
    assert len(nodes) == 3
    asked = {"InstanceId": nodes[0]["InstanceId"], "Attribute": "userData"}
    given = user.client("ec2").describe_instance_attribute(**asked)["UserData"]["Value"]
    assert base64.b64decode(given) == b"#!/bin/sh\ntrue\n"
    user.play("playbooks/destroy.yml", "-e", "cluster=short", "-e", "confirm=yes")


def test_a_node_without_the_address_to_connect_with_is_named(user: User, plays: Path) -> None:
    # As the inventory plugin gives them with connect_with: public_dns, where only the first has a public address.
    hosts = {"i-0000000000000000a": {"ansible_host": "198.18.0.1"}, "i-0000000000000000b": {}}
    selected = {"sparkfleet_clusters": ["x"], "sparkfleet_cluster": "x", "sparkfleet_state_dir": str(plays / "state")}
    inventory = {"all": {"vars": selected, "children": {"nodes": {"hosts": hosts}}}}
    (plays / "nodes.json").write_text(json.dumps(inventory), encoding="utf-8")
    task = "ansible.builtin.include_role: {name: sparkfleet.ec2.fleet, tasks_from: access, rolespec_validate: false}"
    play = f"- hosts: localhost\n  gather_facts: false\n  tasks:\n    - {task}\n"
    (plays / "access.yml").write_text(play, encoding="utf-8")
    line = user.refused(str(plays / "access.yml"), "-i", str(plays / "nodes.json"))
    assert "connect_with: i-0000000000000000b has no such address" in line
    assert "say connect_with: private_ip in the inventory file" in line
    assert not (plays / "state").exists()
