"""Daemons, nodes and whole clusters that die, and what becomes of them and of running jobs."""

from __future__ import annotations

import re

import pytest
from spark_cluster import NODES, WORKERS, SparkCluster, until

BACK_S = 30
# All that Ansible writes on a node, with owners and modes.
FILES = (
    "cd / && sudo find etc/spark etc/sparkfleet etc/systemd/system etc/java* opt/spark usr/local"
    r" -printf '%p %y %l %u %g %m\n' -type f -exec sha256sum {} + | sort"
)


def kill(cluster: SparkCluster, host: str, unit: str) -> None:
    """Kill a unit's daemon without warning."""
    cluster.ssh(host, f"sudo systemctl kill --kill-whom=main --signal=KILL {unit}")


def whole(cluster: SparkCluster) -> bool:
    """Tell whether the master counts all workers, and the history server answers."""
    return len(cluster.alive()) == len(WORKERS) and bool(history(cluster))


def history(cluster: SparkCluster) -> str:
    """Return what the history server says of its version; nothing while it does not answer."""
    return cluster.attempt("master", "curl -sf http://sparkfleet-master:18080/api/v1/version")


def boot(cluster: SparkCluster, host: str) -> str:
    """Return what names the present boot of a node; nothing while it does not answer."""
    return cluster.attempt(host, "cut -d ' ' -f 22 /proc/1/stat")


def test_killed_worker_comes_back(spark_cluster: SparkCluster) -> None:
    """The master counts it again by itself, as another one."""
    before = spark_cluster.alive()
    kill(spark_cluster, "worker-1", "spark-worker")
    until(lambda: len(spark_cluster.alive() - before) == 1, BACK_S)
    until(lambda: len(spark_cluster.alive()) == len(WORKERS), BACK_S)


def test_killed_master_comes_back_with_its_workers(spark_cluster: SparkCluster) -> None:
    """It knows the same workers as before, which have not been restarted."""
    before = spark_cluster.alive()
    kill(spark_cluster, "master", "spark-master")
    until(lambda: spark_cluster.state().get("status") == "ALIVE", BACK_S)
    until(lambda: spark_cluster.alive() == before, BACK_S)


def test_killed_history_server_comes_back(spark_cluster: SparkCluster) -> None:
    """It answers again by itself."""
    was = spark_cluster.ssh("master", "systemctl show --property=MainPID --value spark-history-server")
    kill(spark_cluster, "master", "spark-history-server")
    until(
        lambda: (
            history(spark_cluster)
            and spark_cluster.ssh("master", "systemctl show --property=MainPID --value spark-history-server") != was
        ),
        BACK_S,
    )


def test_job_survives_a_killed_worker(spark_cluster: SparkCluster) -> None:
    """Tasks of a worker that dies are done again; the job ends with the right result."""
    with spark_cluster.job("worker-killed") as job:
        job.wait_at_gate()
        before = spark_cluster.alive()
        kill(spark_cluster, "worker-2", "spark-worker")
        until(lambda: len(spark_cluster.alive() - before) == 1, BACK_S)
        job.open_gate()
        assert job.result()["texts"] == 40000


def test_job_survives_a_killed_master(spark_cluster: SparkCluster) -> None:
    """Executors go on without a master; the next one knows the job, and that it has finished."""
    with spark_cluster.job("master-killed") as job:
        job.wait_at_gate()
        kill(spark_cluster, "master", "spark-master")
        until(lambda: spark_cluster.applications().get("master-killed") == "RUNNING", BACK_S)
        job.open_gate()
        assert job.result()["texts"] == 40000
    until(lambda: spark_cluster.applications().get("master-killed") == "FINISHED")


def test_killed_driver_leaves_nothing_running(spark_cluster: SparkCluster) -> None:
    """Its executors and their Python processes end, and their cores are free again."""
    leftover = "pgrep --full '[C]oarseGrainedExecutorBackend|[p]yspark|[g]ated_job'"
    with spark_cluster.job("driver-killed") as job:
        job.wait_at_gate()
        assert spark_cluster.attempt("worker-1", leftover)
        spark_cluster.ssh("master", "pkill --signal KILL --full '[S]parkSubmit .*driver-killed'")
        assert job.code() != 0
        for host in NODES:
            until(lambda host=host: spark_cluster.attempt(host, f"{leftover} || echo none") == "none\n", BACK_S)
    until(lambda: spark_cluster.state().get("coresused") == 0, BACK_S)


@pytest.mark.parametrize("host", ["worker-1", "master"])
def test_rebooted_node_comes_back_whole(spark_cluster: SparkCluster, host: str) -> None:
    """By itself: Ansible is not asked."""
    before, workers = boot(spark_cluster, host), spark_cluster.alive()
    spark_cluster.user.client("ec2").reboot_instances(InstanceIds=[spark_cluster.instances()[host]["InstanceId"]])
    until(lambda: boot(spark_cluster, host) not in {"", before})
    until(lambda: whole(spark_cluster) and (host == "master" or spark_cluster.alive() != workers))


def test_stop_and_start_of_all_nodes(spark_cluster: SparkCluster) -> None:
    """New public addresses, the same cluster: `connect` is enough, and nothing on the nodes is another."""
    user, ec2 = spark_cluster.user, spark_cluster.user.client("ec2")
    old, files = spark_cluster.instances(), {host: spark_cluster.ssh(host, FILES) for host in NODES}
    known_file = user.home / spark_cluster.name / "known_hosts"
    known = known_file.read_text()
    ids = [instance["InstanceId"] for instance in old.values()]
    ec2.stop_instances(InstanceIds=ids)
    ec2.get_waiter("instance_stopped").wait(InstanceIds=ids, WaiterConfig={"Delay": 1, "MaxAttempts": 600})
    ec2.start_instances(InstanceIds=ids)
    ec2.get_waiter("instance_running").wait(InstanceIds=ids, WaiterConfig={"Delay": 1, "MaxAttempts": 600})
    user.play("playbooks/connect.yml", "-e", f"cluster={spark_cluster.name}")

    new = spark_cluster.instances()
    for host in NODES:
        assert old[host]["PublicIpAddress"] != new[host]["PublicIpAddress"]
        assert old[host]["PrivateIpAddress"] == new[host]["PrivateIpAddress"]
    until(lambda: whole(spark_cluster))
    assert known_file.read_text() == known
    spark_cluster.copy_programs()
    with spark_cluster.job("after-start") as job:
        job.open_gate()
        assert job.result()["texts"] == 40000

    output = spark_cluster.play()
    assert set(re.findall(r"changed=(\d+)", output)) == {"0"}
    assert output.count("skipped: is as wanted") == len(NODES)
    assert files == {host: spark_cluster.ssh(host, FILES) for host in NODES}
