"""HDFS on the same cluster: its daemons die, its namespace is made once only, and what is lost is said."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from ipaddress import IPv4Address
from typing import Any

import pytest
from hdfs import HdfsError, InsecureClient
from requests import Session
from spark_cluster import WORKERS, SparkCluster, until

BACK_S = 30
# Safe mode included.
NAMENODE_BACK_S = 60
NAME = "/var/lib/hdfs/name/current/VERSION"


def jmx(cluster: SparkCluster, bean: str) -> dict[str, Any]:
    """Return what the NameNode says of itself."""
    query = f"http://sparkfleet-master:9870/jmx?qry=Hadoop:service=NameNode,name={bean}"
    return json.loads(cluster.ssh("master", f"curl -sf '{query}'"))["beans"][0]


def life(cluster: SparkCluster, host: str, unit: str) -> str:
    """Return what names the present life of a unit that answers; nothing while it does not."""
    state = f"systemctl is-active --quiet {unit} && systemctl show --property=InvocationID --value {unit}"
    return cluster.attempt(host, state)


def kill(cluster: SparkCluster, host: str, unit: str) -> str:
    """Kill a unit's daemon without warning, return which life it was."""
    was = life(cluster, host, unit)
    cluster.ssh(host, f"sudo systemctl kill --kill-whom=main --signal=KILL {unit}")
    return was


def test_every_datanode_is_counted(spark_cluster: SparkCluster) -> None:
    """The state that all tests here begin with."""
    state = jmx(spark_cluster, "FSNamesystemState")
    assert (state["NumLiveDataNodes"], state["FSState"]) == (len(WORKERS), "Operational")


@pytest.fixture
def outsider(spark_cluster: SparkCluster) -> Iterator[InsecureClient]:
    """A client that is no relative of Hadoop's own, on this machine: it knows WebHDFS only, through one SSH session."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    # The master's entry in the configuration has forwardings of its own.
    config = str(spark_cluster.user.home / spark_cluster.name / "ssh_config")
    command = ["ssh", "-F", config, "-N", "-D", f"127.0.0.1:{port}", "worker-1"]
    with subprocess.Popen(command, env=spark_cluster.user.env, stdin=subprocess.DEVNULL) as forwarding:
        session = Session()
        session.trust_env = False
        # With h, names mean what they mean on the node.
        session.proxies = {"http": f"socks5h://127.0.0.1:{port}"}
        until(lambda: forwarding.poll() is not None or open_port(port))
        yield InsecureClient("http://sparkfleet-master:9870", user="admin", session=session)
        forwarding.kill()


def open_port(port: int) -> bool:
    """Tell whether somebody listens there on this machine."""
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_another_client_sees_the_same(spark_cluster: SparkCluster, outsider: InsecureClient) -> None:
    """HdfsCLI reads what `hdfs dfs` wrote, and the reverse: content of more than a block, owner, mode, errors."""
    sums = spark_cluster.ssh("master", "head -c 150000000 /dev/urandom > large && sha256sum < large").split()
    spark_cluster.ssh("master", "hdfs dfs -mkdir both && hdfs dfs -put large both && hdfs dfs -chmod 640 both/large")
    with outsider.read("both/large") as answer:
        assert sha256(answer.read()).hexdigest() == sums[0]
    status = outsider.status("both/large")
    assert (status["owner"], status["permission"], status["length"]) == ("admin", "640", 150_000_000)

    data = os.urandom(150_000_000)
    outsider.write("both/theirs", data)
    assert spark_cluster.ssh("worker-2", "hdfs dfs -cat both/theirs | sha256sum").split()[0] == sha256(data).hexdigest()
    outsider.rename("both/theirs", "both/renamed")
    assert outsider.list("both") == ["large", "renamed"]
    assert "both/renamed" in spark_cluster.ssh("master", "hdfs dfs -ls both")
    with pytest.raises(HdfsError, match="Permission denied: user=admin, access=WRITE"):
        outsider.write("/tops", data=b"")
    outsider.delete("both", recursive=True)
    spark_cluster.ssh("master", "rm large; ! hdfs dfs -test -e both")


def test_file_is_whole_though_a_datanode_dies_under_it(spark_cluster: SparkCluster) -> None:
    """Who writes goes on with the DataNode that is left; the other is back by itself, and no block is lost."""
    half = "head -c 100000000 /dev/zero | tr '\\0' 'x'"
    write = f"({half}; touch /tmp/half; until [ -e /tmp/go ]; do sleep 0.2; done; {half}) | hdfs dfs -put -f - whole"
    log = spark_cluster.folder / "put.log"
    with log.open("wb") as output, spark_cluster.begin("master", f"rm -f /tmp/half /tmp/go; {write}", output) as put:
        until(lambda: put.poll() is not None or spark_cluster.attempt("master", "ls /tmp/half"))
        was = kill(spark_cluster, "worker-1", "hdfs-datanode")
        spark_cluster.ssh("master", "touch /tmp/go")
        assert put.wait(300) == 0, log.read_text()
    until(lambda: life(spark_cluster, "worker-1", "hdfs-datanode") not in {was, ""}, BACK_S)
    wanted = spark_cluster.ssh("master", f"({half}; {half}) | sha256sum")
    assert spark_cluster.ssh("worker-2", "hdfs dfs -cat whole | sha256sum") == wanted
    until(lambda: jmx(spark_cluster, "FSNamesystem")["MissingBlocks"] == 0)
    spark_cluster.ssh("master", "hdfs dfs -rm -skipTrash whole")


def test_killed_namenode_serves_again(spark_cluster: SparkCluster) -> None:
    """With its files, out of safe mode, and a job that logs into HDFS goes on meanwhile."""
    with spark_cluster.job("namenode-killed") as job:
        job.wait_at_gate()
        was = kill(spark_cluster, "master", "hdfs-namenode")
        until(lambda: spark_cluster.attempt("master", "hdfs dfs -touchz after && echo done"), NAMENODE_BACK_S)
        assert life(spark_cluster, "master", "hdfs-namenode") not in {was, ""}
        job.open_gate()
        assert job.result()["texts"] == 40000
    spark_cluster.ssh("master", "hdfs dfs -rm -skipTrash after")


def test_reboot_of_the_master_keeps_the_namespace(spark_cluster: SparkCluster) -> None:
    """All units are back by themselves, with the same files."""
    before = spark_cluster.ssh("master", f"hdfs dfs -put -f /etc/hosts kept && sudo cat {NAME}")
    was = life(spark_cluster, "master", "hdfs-namenode")
    spark_cluster.user.client("ec2").reboot_instances(InstanceIds=[spark_cluster.instances()["master"]["InstanceId"]])
    until(lambda: life(spark_cluster, "master", "hdfs-namenode") not in {was, ""}, 120)
    until(lambda: spark_cluster.attempt("master", "hdfs dfs -cat kept"), NAMENODE_BACK_S)
    assert spark_cluster.ssh("master", f"sudo cat {NAME}") == before
    # /tmp is empty after a boot.
    spark_cluster.copy_programs()


def test_changed_settings_do_not_format(spark_cluster: SparkCluster) -> None:
    """The NameNode is restarted with them; what it holds stays."""
    before = spark_cluster.ssh("master", f"sudo cat {NAME}")
    was = life(spark_cluster, "master", "hdfs-namenode")
    spark_cluster.play("-e", "hdfs_replication=2", "-e", json.dumps({"hdfs_conf": {"dfs.blocksize": "64m"}}))
    assert life(spark_cluster, "master", "hdfs-namenode") not in {was, ""}
    assert spark_cluster.ssh("master", f"sudo cat {NAME}") == before
    assert spark_cluster.ssh("master", "hdfs getconf -confKey dfs.blocksize").strip() == "64m"
    spark_cluster.play()
    assert spark_cluster.ssh("master", "hdfs dfs -cat kept | cmp - /etc/hosts && echo same").strip() == "same"


def test_namespace_in_an_image_is_kept(spark_cluster: SparkCluster) -> None:
    """An instance that is started from an image of the master, to be one elsewhere, has its files."""
    before = spark_cluster.ssh("master", f"sudo cat {NAME}")
    ec2, master = spark_cluster.user.client("ec2"), spark_cluster.instances()["master"]
    image = ec2.create_image(InstanceId=master["InstanceId"], Name="restored", NoReboot=True)["ImageId"]
    ec2.get_waiter("image_available").wait(ImageIds=[image], WaiterConfig={"Delay": 1, "MaxAttempts": 300})
    address = str(IPv4Address(master["PrivateIpAddress"]) + 100)
    env = f"SPARKFLEET_CLUSTER=restored\nSPARKFLEET_ROLE=master\nSPARKFLEET_MASTER={address}\n"
    made = ec2.run_instances(
        ImageId=image,
        InstanceType=master["InstanceType"],
        MinCount=1,
        MaxCount=1,
        KeyName=master["KeyName"],
        SubnetId=master["SubnetId"],
        PrivateIpAddress=address,
        SecurityGroupIds=[group["GroupId"] for group in master["SecurityGroups"]],
        UserData="#cloud-config\n"
        + json.dumps({"write_files": [{"path": "/etc/sparkfleet/node.env", "content": env}]}),
    )["Instances"][0]["InstanceId"]
    try:
        shell = spark_cluster.shell(address)
        # Not launched by a playbook, so nobody has read its keys from its console.
        shell[-1:] = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-l", "admin", address]
        listed = until(lambda: ls_succeeds(spark_cluster, shell), 120)
        assert " kept\n" in listed
        assert spark_cluster.user.run(*shell, f"sudo cat {NAME}").stdout.endswith(before)
    finally:
        ec2.terminate_instances(InstanceIds=[made])
        ec2.get_waiter("instance_terminated").wait(InstanceIds=[made], WaiterConfig={"Delay": 1})
        ec2.deregister_image(ImageId=image)


def ls_succeeds(cluster: SparkCluster, shell: list[str]) -> str:
    """Return what is in the home directory in HDFS, once somebody says so."""
    done = cluster.user.run(*shell, "hdfs dfs -ls")
    return done.stdout if done.returncode == 0 else ""


def test_format_that_was_cut_off_is_begun_anew(spark_cluster: SparkCluster) -> None:
    """Where nothing was ever formatted: a half-made namespace is no namespace, and the next start makes a whole one."""
    spark_cluster.ssh("master", "sudo systemctl stop hdfs-namenode")
    try:
        spark_cluster.ssh("master", "cd /var/lib/hdfs && sudo mkdir kept && sudo mv name formatted kept")
        cut = (
            "cd /tmp; sudo -u hdfs /usr/local/lib/sparkfleet/hdfs-format-once & "
            "until sudo test -e /var/lib/hdfs/name.part; do :; done; sudo pkill -KILL -u hdfs; wait; "
            "sudo ls /var/lib/hdfs"
        )
        assert "name.part" in spark_cluster.ssh("master", cut).split()
        assert "name" not in spark_cluster.ssh("master", "sudo ls /var/lib/hdfs").split()
        spark_cluster.ssh("master", "sudo systemctl start hdfs-namenode")
        assert "clusterID" in spark_cluster.ssh("master", f"sudo cat {NAME}")
        assert "name.part" not in spark_cluster.ssh("master", "sudo ls /var/lib/hdfs").split()
    finally:
        spark_cluster.ssh("master", "sudo systemctl stop hdfs-namenode; cd /var/lib/hdfs && sudo rm -r name formatted")
        spark_cluster.ssh("master", "cd /var/lib/hdfs && sudo mv kept/* . && sudo rmdir kept")
        spark_cluster.ssh("master", "sudo systemctl start hdfs-namenode hdfs-ready")
    assert spark_cluster.ssh("master", "hdfs dfs -cat kept | cmp - /etc/hosts && echo same").strip() == "same"


def test_what_is_lost_is_named(spark_cluster: SparkCluster) -> None:
    """Blocks of disks that were wiped, as a stop does with instance store: safe mode ends, and the files are named."""
    folders = "$(. /run/sparkfleet/sizing.env; echo $HDFS_DATA_DIRS | tr , ' ')"
    for worker in WORKERS:
        spark_cluster.ssh(
            worker, f"sudo systemctl stop hdfs-datanode; for d in {folders}; do sudo rm -r $d/current; done"
        )
    kill(spark_cluster, "master", "hdfs-namenode")
    for worker in WORKERS:
        spark_cluster.ssh(worker, "sudo systemctl start hdfs-datanode")
    until(lambda: spark_cluster.attempt("master", "sudo grep -x /user/admin/kept /var/lib/hdfs/lost-files"), 120)
    assert "/user/admin/kept" in spark_cluster.ssh("master", "sudo journalctl --unit hdfs-ready --since -5min")
    until(lambda: spark_cluster.attempt("master", "systemctl is-active hdfs-ready"), 60)
    validate = ("playbooks/validate.yml", "-e", f"cluster={spark_cluster.name}", "-e", "components=java,hdfs")
    assert "HDFS has lost blocks of" in spark_cluster.user.play(*validate)
    # It ends with 1, as what it has looked at was not whole.
    spark_cluster.ssh("master", "sudo -u hdfs hdfs fsck / -delete > /dev/null; hdfs fsck /user/admin | grep HEALTHY")
    assert "HDFS has lost" not in spark_cluster.user.play(*validate)


def test_a_worker_that_is_gone_for_good(spark_cluster: SparkCluster) -> None:
    """`list` names it, Ganglia forgets it; when another has taken its place, all blocks have their copies again."""
    ec2, lost = spark_cluster.user.client("ec2"), spark_cluster.instances()["worker-1"]
    listing = ("playbooks/list.yml", "-e", f"cluster={spark_cluster.name}")
    assert "HDFS:" not in spark_cluster.user.play(*listing)
    spark_cluster.ssh("master", "hdfs dfs -put /etc/hosts copied && hdfs dfs -setrep -w 2 copied")
    ec2.terminate_instances(InstanceIds=[lost["InstanceId"]])
    # Two minutes, and what the NameNode takes to look.
    lines = (
        rf"^  HDFS: DataNode {lost['PrivateIpAddress']}:9866 was last heard of \d min ago$\n"
        r"^  HDFS: \d+ blocks have fewer copies than they should$"
    )
    until(lambda: re.search(lines, spark_cluster.user.play(*listing), re.MULTILINE), 240)
    until(lambda: hosts_in_ganglia(spark_cluster) == {"master", f"worker-{there(spark_cluster, 'worker-2')}"})

    spark_cluster.play()
    until(lambda: "Live_repl=2" in spark_cluster.ssh("master", "hdfs fsck /user/admin/copied -files -blocks"), 60)
    workers = {f"worker-{there(spark_cluster, host)}" for host in WORKERS}
    until(lambda: hosts_in_ganglia(spark_cluster) == {"master", *workers})


def there(cluster: SparkCluster, host: str) -> str:
    """Return the private address of a node."""
    return cluster.instances()[host]["PrivateIpAddress"]


def hosts_in_ganglia(cluster: SparkCluster) -> set[str]:
    """Return the names under which gmond on the master has nodes."""
    return set(re.findall(r'<HOST NAME="([^"]+)"', cluster.ssh("master", "cat < /dev/tcp/127.0.0.1/8649")))
