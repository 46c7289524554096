"""Runs that are cut off: what is left is said, and the same command again goes on from there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from api_proxy import proxy
from cluster_user import BIN, ROOT, User

LAUNCH_ONLY = """
- name: Launch
  hosts: localhost
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  tasks:
    - name: Bring up what lives in EC2
      ansible.builtin.import_role:
        name: sparkfleet.ec2.fleet
"""
# Far more than any of it takes, on a machine that does other things too.
PATIENCE = 600


def descendants(pid: int) -> Iterator[int]:
    """Yield a process and all that it has started, whatever groups they have moved to."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in task.read_text().split():
                yield from descendants(int(child))


class Run:
    """A run of ansible-playbook that can be cut off."""

    def __init__(self, user: User, *args: str, endpoint: str | None = None) -> None:
        env = {**user.env, "AWS_ENDPOINT_URL": endpoint or user.env["AWS_ENDPOINT_URL"]}
        self.output = ""
        self.process = subprocess.Popen(
            [str(BIN / "ansible-playbook"), *args],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.output += line

    def end(self) -> int:
        """Wait for the end, return the exit code."""
        code = self.process.wait(timeout=PATIENCE)
        self._reader.join()
        return code

    def kill(self) -> None:
        """Kill all of it, as if the machine had lost its power."""
        for pid in list(descendants(self.process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def when(self, there: Callable[[], bool]) -> None:
        """Wait until it is `there()`; the run must not end before that."""
        deadline = time.monotonic() + PATIENCE
        while not there():
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.1)


def tags(thing: dict) -> dict[str, str]:
    """Return the tags as a dict."""
    return {tag["Key"]: tag["Value"] for tag in thing.get("Tags", [])}


def left_in_ec2(user: User, cluster: str) -> dict[str, object]:
    """Return all that EC2 has of a cluster, ended instances too, in a form that is easy to compare."""
    ec2 = user.client("ec2")
    ours = [{"Name": "tag:sparkfleet:cluster", "Values": [cluster]}]
    found = [one for group in ec2.describe_instances(Filters=ours)["Reservations"] for one in group["Instances"]]
    groups = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [f"sparkfleet-{cluster}"]}])
    (group,) = groups["SecurityGroups"]
    interfaces = ec2.describe_network_interfaces(Filters=[{"Name": "group-id", "Values": [group["GroupId"]]}])
    return {
        "instances": Counter(tags(one)["sparkfleet:role"] for one in found),
        "states": {one["State"]["Name"] for one in found},
        "intents": [key for key in tags(group) if "launching" in key],
        "rules": len(group["IpPermissions"]),
        "keys": [key["KeyName"] for key in ec2.describe_key_pairs(Filters=ours)["KeyPairs"]],
        "volumes": len(ec2.describe_volumes(Filters=ours)["Volumes"]),
        "interfaces": len(interfaces["NetworkInterfaces"]),
    }


def whole(cluster: str, workers: int) -> dict[str, object]:
    """Return what there has to be in the end, and nothing beside it."""
    return {
        "instances": Counter(master=1, worker=workers),
        "states": {"running"},
        "intents": [],
        "rules": 2,
        "keys": [f"sparkfleet-{cluster}"],
        "volumes": workers + 1,
        "interfaces": workers + 1,
    }


@pytest.fixture
def launch_only(tmp_path: Path) -> str:
    """A playbook that launches and sets up nothing."""
    path = tmp_path / "launch.yml"
    path.write_text(LAUNCH_ONLY)
    return str(path)


def test_killed_after_each_call_that_changes_something(user: User, launch_only: str) -> None:
    """Each run is killed at its first change, so the next one gets one change further, until nothing is left to do."""
    survived: list[str] = []
    runs: list[Run] = []

    def kill(action: str) -> None:
        survived.append(action)
        runs[-1].kill()

    command = (launch_only, "-e", "cluster=cut", "-e", "workers=1")
    with proxy(user.env["AWS_ENDPOINT_URL"], kill) as endpoint:
        while not runs or runs[-1].end():
            assert len(runs) < 20, survived
            assert not runs or runs[-1].process.returncode == -signal.SIGKILL, runs[-1].output
            runs.append(Run(user, *command, endpoint=endpoint))
    # With the six moments of the test below that makes the dozen.
    assert len(survived) >= 6, survived
    assert survived.count("RunInstances") == 2
    assert {"ImportKeyPair", "CreateSecurityGroup", "AuthorizeSecurityGroupIngress"} < set(survived)
    assert {"CreateTags", "DeleteTags"} < set(survived)
    assert left_in_ec2(user, "cut") == whole("cut", 1)
    user.play("playbooks/destroy.yml", "-e", "cluster=cut", "-e", "confirm=yes")


def test_ctrl_c_while_it_launches(user: User, launch_only: str) -> None:
    """Says what runs, that more may come, and how to go on; then does go on."""
    runs: list[Run] = []
    command = (launch_only, "-e", "cluster=stopped", "-e", "workers=2")
    launches: list[str] = []

    def interrupt(action: str) -> None:
        launches.extend([action] if action == "RunInstances" else [])
        if len(launches) == 2:
            runs[0].interrupt()
            runs[0].end()

    with proxy(user.env["AWS_ENDPOINT_URL"], interrupt) as endpoint:
        runs.append(Run(user, *command, endpoint=endpoint))
        assert runs[0].end() not in {0, -signal.SIGINT}, runs[0].output
    output = runs[0].output
    assert "Cluster stopped has these instances now, and they cost until they are gone:" in output
    assert "  1 master  m6i.large  " in output
    assert "  2 worker  m6i.large  " in output
    assert "  up to 2 workers more: their launch was under way" in output
    assert "Go on    the same command again" in output
    destroy = "ansible-playbook -i inventory/cluster.sparkfleet.yml sparkfleet.ec2.destroy -e cluster=stopped"
    assert f"Give up  {destroy}\n" in output
    user.play(*command)
    assert left_in_ec2(user, "stopped") == whole("stopped", 2)
    user.play("playbooks/destroy.yml", "-e", "cluster=stopped", "-e", "confirm=yes")


def container(user: User, cluster: str, role: str) -> str:
    """Return the name of the container behind a node."""
    ours = [
        {"Name": f"tag:sparkfleet:{key}", "Values": [value]} for key, value in (("cluster", cluster), ("role", role))
    ]
    (group,) = user.client("ec2").describe_instances(Filters=ours)["Reservations"]
    (instance,) = group["Instances"]
    names = user.run("podman", "ps", "--format", "{{.Names}}", "--filter", f"name={instance['InstanceId']}")
    return names.stdout.strip()


def on_node(user: User, name: str, *command: str) -> bool:
    """Run a command on a node, from below; tell whether it succeeds."""
    return user.run("podman", "exec", name, *command).returncode == 0


def test_killed_in_each_phase(user: User) -> None:
    """One cluster whose runs are killed at one moment after the other; the last one is whole, and works."""
    command = ("site.yml", "-e", "cluster=phases", "-e", "workers=1")
    run = Run(user, *command)
    run.when(lambda: "-- install --" in run.output)
    master, worker = container(user, "phases", "master"), container(user, "phases", "worker")
    # On the worker dpkg dies in the act; on the master it goes on alone, and keeps its lock.
    run.when(lambda: on_node(user, worker, "sh", "-c", "ls /var/lib/dpkg/updates/[0-9]*"))
    on_node(user, worker, "pkill", "-9", "apt|dpkg")
    run.kill()
    assert on_node(user, worker, "sh", "-c", "dpkg --audit | grep . || ls /var/lib/dpkg/updates/[0-9]*")
    moments: list[Callable[[], bool]] = [
        lambda: on_node(user, worker, "sh", "-c", "ls -d /opt/spark-*.part/jars"),
        lambda: "-- configure --" in run.output,
        lambda: "-- service --" in run.output,
        lambda: on_node(user, master, "sh", "-c", "systemctl show -P ActiveState spark-master | grep activ"),
        lambda: "-- validate --" in run.output,
    ]
    for moment in moments:
        run.end()
        run = Run(user, *command)
        run.when(moment)
        run.kill()
    output = user.play(*command)
    assert "works: " in output
    assert left_in_ec2(user, "phases") == whole("phases", 1)
    again = user.play(*command)
    assert again.count("skipped: is as wanted") == 2
    assert not [count for count in re.findall(r"changed=(\d+)", again) if count != "0"]


def test_ctrl_c_while_it_installs(user: User) -> None:
    """Says what runs, and that it costs."""
    run = Run(user, "site.yml", "-e", "cluster=phases", "-e", "full=yes")
    run.when(lambda: "-- install --" in run.output)
    run.interrupt()
    assert run.end() not in {0, -signal.SIGINT}, run.output
    assert "Cluster phases has these instances now, and they cost until they are gone:" in run.output
    assert "  1 master  m6i.large  running\n  1 worker  m6i.large  running\nGo on " in run.output
    user.play("playbooks/destroy.yml", "-e", "cluster=phases", "-e", "confirm=yes")
