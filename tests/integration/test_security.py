"""What can be reached, read and overheard of a cluster, looked at from outside and from inside while a job runs."""

from __future__ import annotations

import base64
import json
import re
import shlex
import socket
import struct
import subprocess
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from spark_cluster import NODES, PROGRAMS, WORKERS, SparkCluster, until

# What the job sends about, and the name of the job.
OVERHEARD = "overheard-6f1c2e"
# Sent without encryption, in the address of a page.
PLAIN = "plain-6f1c2e"
# Compressed, the texts would be unreadable in any case.
UNCOMPRESSED = [f"spark.{what}.compress=false" for what in ("shuffle", "broadcast", "eventLog")]
# HDFS encrypts nothing, so what the test listens to does not log into it.
LOGGED_LOCALLY = "spark.eventLog.dir=file:///var/lib/spark/events"
INTRUDERS = {
    "wrong-secret": ["spark.authenticate.secret=guessed"],
    "no-encryption": ["spark.network.crypto.enabled=false"],
    "no-secret": ["spark.authenticate=false", "spark.network.crypto.enabled=false"],
}
# Prints the secret, from the file of a node's configuration that is to hold it.
SECRET = "awk '{print $2}' /etc/spark/conf.d/90-secret.conf"
# SSH, HDFS and pages, which know nothing of Spark's secret.
OTHERS = re.compile(r":(22|8020|8080|8081|986[467]|9870|18080|40\d\d)$")
MAIN_CLASS = re.compile(r"^\S+/java .* org\.apache\.spark\.(?:deploy|executor)\.(?:\w+\.)*(\w+)")
SO_RCVBUFFORCE = 33
ETH_P_ALL = 3
ETH_P_IP = b"\x08\x00"


class Wire:
    """All TCP payload that passes a link of this machine within the context, by connection and direction."""

    def __init__(self, link: str) -> None:
        """Open the link."""
        self.flows: dict[tuple[str, int, str, int], bytearray] = defaultdict(bytearray)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 2**26)
        self._socket.settimeout(0.2)
        self._socket.bind((link, 0))
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._collect)

    def __enter__(self) -> Wire:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """End."""
        self._enough.set()
        self._thread.join()
        self._socket.close()

    def _collect(self) -> None:
        while not self._enough.is_set():
            try:
                self._note(self._socket.recv(2**18))
            except TimeoutError:
                continue

    def _note(self, frame: bytes) -> None:
        packet = frame[14:]
        if frame[12:14] != ETH_P_IP or packet[9] != socket.IPPROTO_TCP:
            return
        segment = packet[(packet[0] & 15) * 4 :]
        port, to = struct.unpack("!HH", segment[:4])
        ends = (socket.inet_ntoa(packet[12:16]), port, socket.inet_ntoa(packet[16:20]), to)
        self.flows[ends] += segment[(segment[12] >> 4) * 4 :]

    def between(self, one: str, other: str) -> int:
        """Return how many bytes two addresses sent each other, but for SSH and pages."""
        return sum(
            len(data)
            for (sender, port, receiver, to), data in self.flows.items()
            if {sender, receiver} == {one, other} and not OTHERS.search(f":{port}") and not OTHERS.search(f":{to}")
        )

    def shows(self, text: str) -> bool:
        """Tell whether the text can be read in any connection."""
        return any(text.encode() in data for data in self.flows.values())


@dataclass
class Observed:
    """What was seen while a job ran, and what became of those who may not submit any."""

    wire: Wire
    listening: dict[str, list[str]]
    processes: dict[str, list[list[str]]]
    answers: dict[str, list[str]]
    environment: dict[str, Any]
    intruders: dict[str, int]
    applications: dict[str, str]
    texts: int


def address(cluster: SparkCluster, host: str) -> str:
    """Return the private address of a node."""
    return cluster.instances()[host]["PrivateIpAddress"]


def listening(cluster: SparkCluster, host: str) -> list[str]:
    """Return ADDRESS:PORT of all that a node listens on."""
    lines = cluster.ssh(host, "ss -Hltn").splitlines()
    return [re.sub(r"^\[(?:::ffff:)?([^]]*)\]", r"\1", line.split()[3]) for line in lines]


@pytest.fixture(scope="module")
def observed(spark_cluster: SparkCluster) -> Observed:
    """Run a job, look at everything meanwhile, and let intruders try their luck."""
    with ExitStack() as stack:
        wire = stack.enter_context(Wire(spark_cluster.link("worker-1")))
        watchers = {
            host: stack.enter_context(spark_cluster.begin(host, "python3 /tmp/watch_processes.py", subprocess.PIPE))
            for host in NODES
        }
        settings = [*UNCOMPRESSED, LOGGED_LOCALLY, "spark.files=/tmp/knock.py"]
        job = stack.enter_context(spark_cluster.job(OVERHEARD, *settings))
        job.wait_at_gate()
        ends = {host: listening(spark_cluster, host) for host in NODES}
        inside = [end for host in NODES for end in ends[host] if end.startswith("10.") and not OTHERS.search(end)]
        answers = json.loads(spark_cluster.ssh("worker-2", f"python3 /tmp/knock.py {' '.join(inside)}"))
        # Not before the ports were tried: a driver without a secret opens ports that ask for none.
        intruders = {
            name: stack.enter_context(spark_cluster.job(name, *settings)) for name, settings in INTRUDERS.items()
        }
        (app,) = spark_cluster.state()["activeapps"]
        page = f"http://sparkfleet-master:8080/proxy/{app['id']}/api/v1/applications/{app['id']}/environment"
        environment = json.loads(spark_cluster.ssh("master", f"curl -sf {page}"))
        job.open_gate()
        # Without its body: the page itself names the job.
        spark_cluster.ssh("worker-1", f"curl -sI http://sparkfleet-master:8080/?{PLAIN}")
        texts = job.result()["texts"]
        codes = {name: intruder.code() for name, intruder in intruders.items()}
        processes = {host: json.loads(watcher.communicate()[0]) for host, watcher in watchers.items()}
        applications = spark_cluster.applications()
    return Observed(wire, ends, processes, answers, environment, codes, applications, texts)


@pytest.fixture(scope="module")
def secret(spark_cluster: SparkCluster) -> str:
    """The cluster's secret."""
    found = spark_cluster.ssh("master", f"sudo {SECRET}").strip()
    assert len(found) > 40
    return found


def test_only_ssh_and_pages_listen_for_the_world(observed: Observed, spark_cluster: SparkCluster) -> None:
    """Daemons, drivers and executors listen on their node's private address, or for their own node only.

    Ganglia's collector cannot be told where to; it hangs up on all but its own node.
    """
    for host in NODES:
        own, ends = address(spark_cluster, host), set(observed.listening[host])
        pages = {f"{own}:{port}" for port in ((8080, 18080, 7077) if host == "master" else (8081,))}
        assert pages < ends
        assert f"{own}:6066" not in ends
        world = {"0.0.0.0:22", ":::22"}
        if host == "master":
            world |= {"0.0.0.0:8651", "0.0.0.0:8652", "0.0.0.0:8888"}
        assert {end for end in ends if not end.startswith((f"{own}:", "127.0.0.1:", "::1:"))} == world


def test_no_daemon_of_ours_is_root(observed: Observed) -> None:
    """Everything of Spark runs as `spark`; a driver as who submitted it."""
    masters = {("Master", "spark"), ("HistoryServer", "spark"), ("SparkSubmit", "admin")}
    workers = {("Worker", "spark"), ("CoarseGrainedExecutorBackend", "spark")}
    for host in NODES:
        lines = [(user, MAIN_CLASS.search(line)) for user, line in observed.processes[host]]
        assert {(main[1], user) for user, main in lines if main} == (masters if host == "master" else workers)
    assert {user for user, line in observed.processes["worker-1"] if "-m pyspark.daemon" in line} == {"spark"}


def test_no_command_line_holds_the_secret(observed: Observed, secret: str) -> None:
    """Neither of a daemon nor of a job's driver and executors, from before it was submitted until it had ended."""
    lines = [line for host in NODES for _user, line in observed.processes[host]]
    assert [line for line in lines if OVERHEARD in line]
    assert not [line for line in lines if secret in line]


def test_pages_do_not_show_the_secret(observed: Observed) -> None:
    """The environment of a running job says that there is one."""
    properties = dict(observed.environment["sparkProperties"])
    assert properties["spark.authenticate.secret"] == "*********(redacted)"


def test_traffic_is_unreadable_on_the_wire(observed: Observed, spark_cluster: SparkCluster) -> None:
    """What a job sends by closure, broadcast, shuffle and result; a page's address can be read all right."""
    assert observed.texts == 40000
    one, other, master = (address(spark_cluster, host) for host in (*WORKERS, "master"))
    assert observed.wire.between(one, other) > 100_000
    assert observed.wire.between(one, master) > 20_000
    assert observed.wire.shows(PLAIN)
    assert not observed.wire.shows(OVERHEARD)


def test_ports_refuse_who_does_not_know_the_secret(observed: Observed) -> None:
    """Masters, workers, drivers and executors give out no file and take no call before a client has proved itself."""
    assert len(observed.answers) >= 6  # master, driver with its blocks, and a worker and an executor on two nodes
    refusals = [
        "java.lang.SecurityException: Unauthenticated call to stream manager.",
        "java.lang.IllegalArgumentException: Unknown challenge message.",
    ]
    assert observed.answers == dict.fromkeys(observed.answers, refusals)


@pytest.mark.parametrize("intruder", INTRUDERS)
def test_submission_is_refused(observed: Observed, intruder: str) -> None:
    """To those who have another secret, and to those who leave out the encryption. The master knows no such job."""
    assert observed.intruders[intruder] != 0
    assert intruder not in observed.applications
    assert observed.applications[OVERHEARD] == "FINISHED"


@pytest.mark.parametrize("host", NODES)
def test_secret_is_in_its_own_files_only(
    observed: Observed, spark_cluster: SparkCluster, secret: str, host: str
) -> None:
    """No log, journal, leftover of Ansible, event log or user-data holds it, and nobody else reads what does."""
    search = f"find / -maxdepth 1 -mindepth 1 -type d ! -name proc ! -name sys -exec grep -rslFf <({SECRET}) {{}} +"
    found = set(spark_cluster.ssh(host, f"sudo bash -c {shlex.quote(f'{search}; true')}").split())
    own = {"/etc/spark/conf.d/90-secret.conf", "/run/sparkfleet/spark-defaults.conf"}
    assert found == own | ({"/etc/sparkfleet/secrets/spark"} if host == "master" else set())
    for path in found:
        assert spark_cluster.attempt(host, f"sudo runuser -u nobody -- cat {path}") == ""
    assert secret not in spark_cluster.ssh(host, "sudo journalctl --all --output=verbose")


def test_who_is_not_in_the_group_may_not_submit(spark_cluster: SparkCluster) -> None:
    """And is told in one line what to do about it."""
    said = spark_cluster.ssh("master", "sudo runuser -u nobody -- spark-submit /dev/null 2>&1 || true")
    assert said.count("\n") == 1
    assert "ask for membership of the group spark" in said


def test_ansible_prints_no_secret(spark_cluster: SparkCluster, secret: str) -> None:
    """Not with -vvv --diff, neither when it makes the secret nor when it walks all nodes again."""
    launch = (spark_cluster.folder / "launch.log").read_text()
    again = spark_cluster.play("-vvv", "--diff", "-e", "full=yes")
    for output in (launch, again):
        assert "/etc/spark/conf.d/90-secret.conf" in output
        assert secret not in output
    assert [line for line in again.splitlines() if re.search(r"\b[1-9]\d* changed\b", line)] == []
    assert set(re.findall(r"changed=(\d+)", again)) == {"0"}


def test_user_data_holds_no_secret(spark_cluster: SparkCluster, secret: str) -> None:
    """Everybody on a node can read it."""
    ec2 = spark_cluster.user.client("ec2")
    for instance in spark_cluster.instances().values():
        found = ec2.describe_instance_attribute(InstanceId=instance["InstanceId"], Attribute="userData")["UserData"]
        assert secret not in base64.b64decode(found.get("Value", "")).decode()


def test_controller_keeps_the_secret_nowhere_and_the_key_to_itself(spark_cluster: SparkCluster, secret: str) -> None:
    """In the cluster's folder, and in what Ansible leaves behind."""
    folder = spark_cluster.user.home / spark_cluster.name
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "id_ed25519").stat().st_mode & 0o077 == 0
    assert len(list(folder.iterdir())) >= 4
    # Not by Path.rglob: other runs of Ansible may be at work in the second place.
    places = [str(folder), str(Path.home() / ".ansible" / "tmp")]
    search = ["grep", "-rslFf", "/dev/stdin", *places]
    assert not subprocess.run(search, input=secret, text=True, stdout=subprocess.PIPE, check=False).stdout


@pytest.fixture(scope="module")
def stranger(spark_cluster: SparkCluster) -> Iterator[tuple[str, list[str]]]:
    """An instance beside the cluster, in a group of its own; its private address, and the command for a shell there."""
    user, ec2 = spark_cluster.user, spark_cluster.user.client("ec2")
    like, allowed = spark_cluster.instances()["master"], user.env["SPARKFLEET_ALLOWED_CIDRS"]
    group = ec2.create_security_group(GroupName="stranger", Description="Not of the cluster")["GroupId"]
    ssh = {"GroupId": group, "IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": allowed}
    ec2.authorize_security_group_ingress(**ssh)
    launched = ec2.run_instances(
        ImageId=like["ImageId"],
        KeyName=like["KeyName"],
        InstanceType="t3.small",
        SecurityGroupIds=[group],
        MinCount=1,
        MaxCount=1,
    )["Instances"]
    ids = [instance["InstanceId"] for instance in launched]
    ec2.get_waiter("instance_running").wait(InstanceIds=ids, WaiterConfig={"Delay": 1, "MaxAttempts": 600})
    (instance,) = ec2.describe_instances(InstanceIds=ids)["Reservations"][0]["Instances"]
    options = ("StrictHostKeyChecking=accept-new", f"UserKnownHostsFile={spark_cluster.folder}/strangers")
    key = str(user.home / spark_cluster.name / "id_ed25519")
    shell = ["ssh", "-i", key, *(f"-o{option}" for option in options), f"admin@{instance['PublicIpAddress']}"]
    until(lambda: user.run(*shell, "true").returncode == 0)
    yield instance["PrivateIpAddress"], shell
    ec2.terminate_instances(InstanceIds=ids)


def test_scan_finds_what_each_may_reach(spark_cluster: SparkCluster, stranger: tuple[str, list[str]]) -> None:
    """All TCP ports: SSH and pages from the allowed address, nothing from others or strangers, all from the cluster."""
    user, instances = spark_cluster.user, spark_cluster.instances()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; which address of this machine is not the bridge's?
        elsewhere = probe.getsockname()[0]
    allowed = user.env["SPARKFLEET_ALLOWED_CIDRS"].removesuffix("/32")
    assert elsewhere != allowed
    with ExitStack() as stack:

        def scan(shell: list[str], source: str, target: str) -> subprocess.Popen[bytes]:
            command = [*shell, "python3", "-", source, target]
            program = stack.enter_context((PROGRAMS / "scan_ports.py").open())
            return stack.enter_context(subprocess.Popen(command, stdin=program, stdout=subprocess.PIPE))

        scans = {
            (who, host): scan(shell, source, instances[host][f"{which}IpAddress"])
            for host in NODES[:2]
            for who, shell, source, which in (
                ("allowed", [], allowed, "Public"),
                ("elsewhere", [], elsewhere, "Public"),
                ("stranger", stranger[1], stranger[0], "Private"),
                ("peer", spark_cluster.shell("worker-2"), instances["worker-2"]["PrivateIpAddress"], "Private"),
            )
        }
        found = {key: json.loads(process.communicate()[0]) for key, process in scans.items()}
    for host, ports in (("master", {22, 7077, 8080, 8888, 18080}), ("worker-1", {22, 8081})):
        assert found["allowed", host] == ([22, 8888] if host == "master" else [22])
        assert found["elsewhere", host] == []
        assert found["stranger", host] == []
        assert ports <= set(found["peer", host])
