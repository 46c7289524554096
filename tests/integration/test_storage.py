"""Disks of the nodes' own: prepared at every boot, never at the cost of what somebody else put there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cluster_user import User
from spark_cluster import SparkCluster, until

# The worker has two disks of 300 GB, the master none.
LAUNCH = ("site.yml", "-e", "cluster=disks", "-e", "workers=1", "-e", "components=storage")
TYPE = ("-e", "fleet_worker_instance_type=m5d.4xlarge")
MOUNTED = "sudo findmnt --noheadings --list --output TARGET,FSTYPE,SIZE,UUID --types ext4 | grep /mnt/ | sort"
IDS = "ls /dev/disk/by-id | grep 'Instance_Storage_AWS[0-9A-F]*$'"
READY = "test ! -e /run/this-boot && systemctl is-active sparkfleet-node"


@pytest.fixture(scope="module")
def cluster(storage_user: User, tmp_path_factory: pytest.TempPathFactory) -> SparkCluster:
    """A cluster without Spark."""
    return SparkCluster(storage_user, "disks", tmp_path_factory.mktemp("disks"))


def mounted(cluster: SparkCluster) -> dict[str, str]:
    """Return the UUIDs of the worker's file systems by where they are mounted, after a look at kind and size."""
    found = [line.split() for line in cluster.ssh("worker-1", MOUNTED).splitlines()]
    assert all((kind, size[:2], size[-1]) == ("ext4", "27", "G") for _path, kind, size, _uuid in found), found
    return {path: uuid for path, _kind, _size, uuid in found}


def settings(cluster: SparkCluster, host: str) -> list[str]:
    """Return what the other components are told."""
    return cluster.ssh(host, "grep -E 'DISKS|SCRATCH' /run/sparkfleet/sizing.env").splitlines()


def boot_again(cluster: SparkCluster, how: str) -> None:
    """Reboot the worker, or stop and start it, and wait for its boot unit. Ansible does nothing on it."""
    ec2, ids = cluster.user.client("ec2"), [cluster.instances()["worker-1"]["InstanceId"]]
    cluster.ssh("worker-1", "sudo touch /run/this-boot")
    if how == "reboot":
        ec2.reboot_instances(InstanceIds=ids)
    else:
        ec2.stop_instances(InstanceIds=ids)
        ec2.get_waiter("instance_stopped").wait(InstanceIds=ids, WaiterConfig={"Delay": 1, "MaxAttempts": 600})
        ec2.start_instances(InstanceIds=ids)
        ec2.get_waiter("instance_running").wait(InstanceIds=ids, WaiterConfig={"Delay": 1, "MaxAttempts": 600})
        cluster.user.play("playbooks/connect.yml", "-e", "cluster=disks")
    until(lambda: cluster.attempt("worker-1", READY))


def test_launch(cluster: SparkCluster) -> None:
    """All disks are in use, and proved to work on each node."""
    output = cluster.user.play(*LAUNCH, *TYPE)
    assert "Cluster disks works: sparkfleet.ec2.storage" in output
    assert sorted(mounted(cluster)) == ["/mnt/disk1", "/mnt/disk2"]
    assert settings(cluster, "worker-1") == ["SPARKFLEET_DISKS=/mnt/disk1,/mnt/disk2", "SPARKFLEET_SCRATCH=/scratch"]
    assert settings(cluster, "master") == ["SPARKFLEET_DISKS=", "SPARKFLEET_SCRATCH=/scratch"]
    assert (
        cluster.ssh("worker-1", "echo kept > /scratch/mine && df --output=target /scratch/").split()[-1] == "/mnt/disk1"
    )
    assert cluster.ssh("master", "echo kept > /scratch/mine && df --output=target /scratch/").split()[-1] == "/"


def test_second_run_changes_nothing(cluster: SparkCluster) -> None:
    """No node is walked, and nothing is proved again."""
    output = cluster.user.play(*LAUNCH, *TYPE)
    assert output.count("skipped: is as wanted") == 2
    assert "storage: validate" not in output


def test_reboot_keeps_what_is_there(cluster: SparkCluster) -> None:
    """The same file systems, mounted again by the node itself."""
    before = mounted(cluster)
    boot_again(cluster, "reboot")
    assert mounted(cluster) == before
    assert cluster.ssh("worker-1", "cat /scratch/mine") == "kept\n"


def test_stop_and_start_prepare_other_disks(cluster: SparkCluster) -> None:
    """The hardware is another, and blank; the node prepares it without Ansible."""
    before, ids = mounted(cluster), cluster.ssh("worker-1", IDS).split()
    boot_again(cluster, "stop")
    after = mounted(cluster)
    assert not set(cluster.ssh("worker-1", IDS).split()) & set(ids)
    assert sorted(after) == sorted(before)
    assert not set(after.values()) & set(before.values())
    assert cluster.ssh("worker-1", "ls /scratch/ && touch /scratch/again && ls /scratch/") == "again\n"
    cluster.user.play("playbooks/validate.yml", "-e", "cluster=disks", "-e", "components=storage")


def test_a_disk_of_somebody_elses_is_left_alone_and_told(cluster: SparkCluster, tmp_path: Path) -> None:
    """The launch names node, disk and content, and what to do; the other disk is used. What it says to do helps."""
    disk = f"/dev/disk/by-id/{cluster.ssh('worker-1', IDS).split()[0]}"
    cluster.ssh(
        "worker-1",
        f"sudo sh -ec 'umount /mnt/disk1; mkfs.ext4 -q -F -L theirs {disk}; mount {disk} /srv; echo all > /srv/work'",
    )
    boot_again(cluster, "reboot")
    line = cluster.user.refused(*LAUNCH, *TYPE)
    assert re.match(r"FAILED worker-1 \(i-\w+\): storage: validate \| ", line)
    assert f"{disk} (300 GB) holds something that this cluster did not make (ext4 'theirs') and is left alone" in line
    assert list(mounted(cluster)) == ["/mnt/disk2"]
    assert settings(cluster, "worker-1") == ["SPARKFLEET_DISKS=/mnt/disk2", "SPARKFLEET_SCRATCH=/scratch"]
    assert cluster.ssh("worker-1", "df --output=target /scratch/").split()[-1] == "/mnt/disk2"
    assert cluster.ssh("worker-1", f"sudo mount {disk} /srv && cat /srv/work && sudo umount /srv") == "all\n"

    (advice,) = re.findall(r"sudo \S+ --erase \S+ && sudo systemctl restart sparkfleet-node", line)
    cluster.ssh("worker-1", advice)
    cluster.user.play(*LAUNCH, *TYPE)
    assert sorted(mounted(cluster)) == ["/mnt/disk1", "/mnt/disk2"]


def test_erase_does_not_touch_what_is_in_use(cluster: SparkCluster) -> None:
    """Nor what is no instance-store disk."""
    before = mounted(cluster)
    erase = "sudo /usr/local/lib/sparkfleet/prepare-disks --erase"
    tried = cluster.ssh("worker-1", f"{erase} /dev/nvme1n1 2>&1 || {erase} /dev/null 2>&1 || true").splitlines()
    assert "/dev/nvme1n1 is mounted; first: sudo umount /mnt/disk" in tried[0]
    assert "/dev/null is no instance-store disk of this node; there are: /dev/disk/by-id/" in tried[1]
    assert mounted(cluster) == before
