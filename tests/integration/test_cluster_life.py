"""A cluster from launch to destroy, as a user has it. The tests build on each other in this order."""

from __future__ import annotations

import json
import re

import pytest
from cluster_user import BIN, User

LIVE = ["pending", "running", "stopping", "stopped"]


def instances(user: User, *states: str) -> list[dict]:
    """Return all instances in these states, or all that are not terminated."""
    query = [{"Name": "instance-state-name", "Values": list(states) or LIVE}]
    groups = user.client("ec2").describe_instances(Filters=query)["Reservations"]
    return [instance for group in groups for instance in group["Instances"]]


def tags(thing: dict) -> dict[str, str]:
    """Return the tags as a dict."""
    return {tag["Key"]: tag["Value"] for tag in thing.get("Tags", [])}


def of_cluster(user: User, cluster: str) -> list[dict]:
    """Return the live instances of a cluster."""
    return [instance for instance in instances(user) if tags(instance).get("sparkfleet:cluster") == cluster]


def changed(output: str) -> int:
    """Return how many changes the recap counts over all hosts."""
    return sum(map(int, re.findall(r"changed=(\d+)", output)))


def inventory(user: User, *args: str) -> dict:
    """Return what ansible-inventory says."""
    done = user.run(str(BIN / "ansible-inventory"), "--list", *args)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def foreign(user: User) -> str:
    """An instance that has nothing to do with us; returns its id."""
    ec2 = user.client("ec2")
    image = ec2.describe_images(Filters=[{"Name": "name", "Values": ["debian-12-amd64-*"]}])["Images"][0]["ImageId"]
    run = ec2.run_instances(ImageId=image, InstanceType="t3.small", MinCount=1, MaxCount=1)
    return run["Instances"][0]["InstanceId"]


def test_dry_run_of_what_is_not_there(user: User) -> None:
    """Says what would be launched, here of a type that runs images for i386 too, and leaves nothing behind."""
    types = [f"fleet_{role}_instance_type=t2.medium" for role in ("master", "worker")]
    output = user.play("site.yml", "--check", *(word for one in ["cluster=one", *types] for word in ("-e", one)))
    assert "Of cluster one would be launched: 1 master, 3 worker." in output
    assert of_cluster(user, "one") == []
    assert user.client("ec2").describe_key_pairs()["KeyPairs"] == []
    assert not (user.home / "one").exists()


def test_launch(user: User, foreign: str) -> None:
    """One command gives a cluster that computed pi, and says how to use it."""
    output = user.play("site.yml", "-e", "cluster=one", "-e", "workers=2")
    assert "Cluster one: 3 nodes" in output
    assert re.search(r"Connect +ssh -F \S+/one/ssh_config master", output)
    assert re.search(r"Seconds +preflight \d+\.\d, launch .* in all \d", output)
    assert len(of_cluster(user, "one")) == 3


def test_groups(user: User) -> None:
    """The inventory sorts master and workers, and leaves out what is not ours."""
    found = inventory(user, "-e", "cluster=one")
    assert len(found["master"]["hosts"]) == 1
    assert len(found["workers"]["hosts"]) == 2
    assert sorted(found["cluster_one"]["hosts"]) == sorted(found["master"]["hosts"] + found["workers"]["hosts"])


def test_second_run_changes_nothing(user: User) -> None:
    """The same command again walks no node."""
    output = user.play("site.yml", "-e", "workers=2")
    assert changed(output) == 0
    assert output.count("skipped: is as wanted") == 3
    assert "install" not in output.split("PLAY RECAP")[0].split("Seconds")[0]


def test_what_ec2_was_asked_for(user: User) -> None:
    """IMDSv2, encrypted gp3 disks, tags everywhere, SSH from the given network only, everything among the nodes."""
    ec2 = user.client("ec2")
    for instance in of_cluster(user, "one"):
        assert instance["MetadataOptions"]["HttpTokens"] == "required"
        assert tags(instance)["sparkfleet:role"] in {"master", "worker"}
        assert tags(instance)["sparkfleet:collection_version"]
        (group,) = instance["SecurityGroups"]
        (disk,) = ec2.describe_volumes(
            Filters=[{"Name": "attachment.instance-id", "Values": [instance["InstanceId"]]}]
        )["Volumes"]
        assert (disk["Encrypted"], disk["VolumeType"]) == (True, "gp3")
        assert tags(disk)["sparkfleet:cluster"] == "one"
    (details,) = ec2.describe_security_groups(GroupIds=[group["GroupId"]])["SecurityGroups"]
    cidrs = {cidr["CidrIp"]: rule.get("ToPort") for rule in details["IpPermissions"] for cidr in rule["IpRanges"]}
    assert cidrs == {user.env["SPARKFLEET_ALLOWED_CIDRS"]: 22}
    peers = [pair["GroupId"] for rule in details["IpPermissions"] for pair in rule["UserIdGroupPairs"]]
    assert peers == [group["GroupId"]]
    assert not [key for key in tags(details) if "launching" in key]


def test_executor_memory_is_what_the_workers_offer(user: User) -> None:
    """Not Spark's default, and not the master's size."""
    output = user.ssh("one", "master", "/usr/local/lib/sparkfleet/executor-memory; cat /run/sparkfleet/sizing.env")
    offer = user.ssh("one", "worker-1", "grep SPARK_WORKER_MEMORY /run/sparkfleet/sizing.env")
    assert output.splitlines()[0] == offer.strip().split("=")[1]


def test_daemons_are_nobody_special(user: User) -> None:
    """Spark runs as its own user and listens on the private address only; REST submission is off."""
    assert set(user.ssh("one", "master", "ps -C java -o user=").split()) == {"spark"}
    listening = user.ssh("one", "master", "ss -Hltn").splitlines()
    outside = [line.split()[3] for line in listening if line.split()[3].startswith(("0.0.0.0", "*", "[::]"))]
    assert all(address.endswith(":22") for address in outside), listening
    assert ":6066" not in "".join(listening)


def test_host_key_is_verified(user: User) -> None:
    """A node that shows another key than its console did is not talked to."""
    known = user.home / "one" / "known_hosts"
    text = known.read_text()
    try:
        lines = [line.split() for line in text.splitlines()]
        swapped = {line[0]: line for line in lines}
        first, second = list(swapped)[:2]
        known.write_text(
            "\n".join(
                " ".join([second if line[0] == first else first, *line[1:]])
                for line in lines
                if line[0] in (first, second)
            )
        )
        config = str(user.home / "one" / "ssh_config")
        done = user.run("ssh", "-F", config, "-o", "ClearAllForwardings=yes", "-o", "BatchMode=yes", first, "true")
        assert done.returncode == 255
        assert "Host key verification failed" in done.stdout
    finally:
        known.write_text(text)


def test_grow_touches_only_the_new_node(user: User) -> None:
    """workers=3 launches one, and walks only that one."""
    before = {instance["InstanceId"] for instance in of_cluster(user, "one")}
    output = user.play("site.yml", "-e", "workers=3")
    new = {instance["InstanceId"] for instance in of_cluster(user, "one")} - before
    assert len(new) == 1
    assert output.count("skipped: is as wanted") == 3
    assert re.search(rf"worker-3 +{new.pop()} .* set up", output)


def test_shrink_is_refused(user: User) -> None:
    """Fewer workers than there are is an error that says why; nothing is terminated."""
    assert "workers: got 1, and cluster one has 3" in user.refused("site.yml", "-e", "workers=1")
    assert len(of_cluster(user, "one")) == 4


def test_second_cluster_without_workers(user: User) -> None:
    """A cluster beside the first; its master does the work too."""
    output = user.play("site.yml", "-e", "cluster=two", "-e", "workers=0")
    assert "Cluster two: 1 nodes" in output or "Cluster two: 1 node" in output
    assert "one" in user.play("playbooks/list.yml")


def test_hand_edits_are_shown_and_repaired(user: User) -> None:
    """--check --diff with full=yes shows drift; full=yes mends it; what is right stays as it is."""
    spark_env = "/etc/spark/spark-env.sh"
    user.ssh("two", "master", f"echo SPARK_WORKER_CORES=1 | sudo tee -a {spark_env}")
    full = ("site.yml", "-e", "cluster=two", "-e", "full=yes")
    assert "-SPARK_WORKER_CORES=1" in user.play(*full, "--check", "--diff")
    assert "SPARK_WORKER_CORES=1" in user.ssh("two", "master", f"cat {spark_env}")
    repair = (*full, "-e", "sparkfleet_validate=no")  # the proof has its own tests
    user.play(*repair)
    assert "SPARK_WORKER_CORES=1" not in user.ssh("two", "master", f"cat {spark_env}")
    assert changed(user.play(*repair)) == 0


def test_several_clusters_have_to_be_told_apart(user: User) -> None:
    """With two clusters and none named, the run says which there are and how to choose."""
    line = user.refused("site.yml")
    assert "cluster: there are several, one, two" in line
    assert "-e cluster=one" in line
    assert "there are several" in user.refused("playbooks/destroy.yml", "-e", "confirm=yes")


def test_destroy_asks(user: User) -> None:
    """Without an answer nothing goes."""
    assert "Nothing was destroyed" in user.refused("playbooks/destroy.yml", "-e", "cluster=two")
    assert len(of_cluster(user, "two")) == 1


def test_destroy_removes_one_cluster_only(user: User, foreign: str) -> None:
    """Instances, group, key pair and keys of that cluster go; the other cluster and foreign instances stay."""
    user.play("playbooks/destroy.yml", "-e", "cluster=two", "-e", "confirm=yes")
    assert of_cluster(user, "two") == []
    assert len(of_cluster(user, "one")) == 4
    assert foreign in [instance["InstanceId"] for instance in instances(user, "running")]
    ec2 = user.client("ec2")
    names = [group["GroupName"] for group in ec2.describe_security_groups()["SecurityGroups"]]
    assert "sparkfleet-two" not in names
    assert "sparkfleet-one" in names
    assert [key["KeyName"] for key in ec2.describe_key_pairs()["KeyPairs"]] == ["sparkfleet-one"]
    assert not (user.home / "two").exists()


def test_validate_again(user: User) -> None:
    """The proof can be asked for at any time, also of one component."""
    assert "Cluster one works: sparkfleet.ec2.java" in user.play(
        "playbooks/validate.yml", "-e", "validate_components=java"
    )


def test_destroy_the_last(user: User, foreign: str) -> None:
    """What remains is what was there before us."""
    user.play("playbooks/destroy.yml", "-e", "confirm=yes", "-e", "cluster=one")
    assert [instance["InstanceId"] for instance in instances(user)] == [foreign]
    assert "nothing of cluster one" in user.play("playbooks/destroy.yml", "-e", "confirm=yes", "-e", "cluster=one")
    assert "no clusters" in user.play("playbooks/list.yml")


def test_spark_role_on_plain_nodes(user: User) -> None:
    """The role alone, in somebody's own playbook, on two hosts that no inventory of ours knows."""
    ec2 = user.client("ec2")
    key = user.home / "plain"
    user.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    ec2.import_key_pair(KeyName="plain", PublicKeyMaterial=key.with_suffix(".pub").read_bytes())
    image = ec2.describe_images(Filters=[{"Name": "name", "Values": ["debian-12-amd64-*"]}])["Images"][0]["ImageId"]
    group = ec2.create_security_group(GroupName="plain", Description="SSH from here, everything among each other")
    here = [{"CidrIp": user.env["SPARKFLEET_ALLOWED_CIDRS"]}]
    ec2.authorize_security_group_ingress(
        GroupId=group["GroupId"],
        IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": here},
            {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group["GroupId"]}]},
        ],
    )
    made = ec2.run_instances(
        ImageId=image,
        InstanceType="t3.medium",
        MinCount=2,
        MaxCount=2,
        KeyName="plain",
        SecurityGroupIds=[group["GroupId"]],
    )
    ids = [instance["InstanceId"] for instance in made["Instances"]]
    ec2.get_waiter("instance_running").wait(InstanceIds=ids, WaiterConfig={"Delay": 1})
    hosts = ec2.describe_instances(InstanceIds=ids)["Reservations"][0]["Instances"]
    lines = [f"node{number} ansible_host={host['PrivateIpAddress']}" for number, host in enumerate(hosts)]
    (user.home / "hosts.ini").write_text(
        "\n".join([*lines, "[all:vars]", "ansible_user=admin", f"ansible_ssh_private_key_file={key}"])
        + f"\nansible_ssh_common_args=-o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={user.home}/strangers\n"
    )
    playbook = user.home / "mine.yml"
    playbook.write_text(
        "- hosts: all\n  gather_facts: false\n  become: true\n  pre_tasks:\n"
        "    - ansible.builtin.wait_for_connection: {timeout: 60}\n"
        "  roles:\n    - sparkfleet.ec2.spark\n"
        "- hosts: node0\n  gather_facts: false\n  tasks:\n"
        "    - ansible.builtin.include_role: {name: sparkfleet.ec2.spark, tasks_from: validate}\n"
        "      vars: {spark_workers: 1}\n"
    )
    user.play(str(playbook), "-i", str(user.home / "hosts.ini"))
    ec2.terminate_instances(InstanceIds=ids)
