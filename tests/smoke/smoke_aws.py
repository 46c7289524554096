#!/usr/bin/env python3
# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Launch 1 master + 1 worker in the AWS account of the environment, look whether EC2 is as we think, destroy them.

Further arguments go to every run of site.yml, as in `-e fleet_subnet_id=subnet-…`. What is checked is what
docs/local-ec2.md says of EC2 and what a small cluster can show. Exit code: 0 as thought, 1 something differs or
something is left, 2 nothing was launched.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
LIVE = ["pending", "running", "shutting-down", "stopping", "stopped"]
UIS = (4040, 6066, 7077, 8080, 8081, 18080)
SECONDS = 300
METADATA = "http://169.254.169.254/latest"
ASK_TOKEN = f"TOKEN=$(curl -sS -m 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' {METADATA}/api/token)"


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def tags(thing: dict[str, Any]) -> dict[str, str]:
    """Return the tags as a dict."""
    return {tag["Key"]: tag["Value"] for tag in thing.get("Tags", [])}


class Smoke:
    """One cluster, from launch to destroy."""

    def __init__(self, home: Path, options: list[str]) -> None:
        """Choose a name that nobody has."""
        self.cluster = f"smoke-{secrets.token_hex(4)}"
        self.home = home
        self.options = options
        self.ec2 = boto3.client("ec2")
        self.differs: list[str] = []

    def play(self, playbook: str, *args: str) -> str:
        """Run a playbook as a user does, show its output and return it; CalledProcessError if it fails."""
        command = [str(PLAYBOOK), playbook, "-e", f"cluster={self.cluster}", *args]
        env = {**os.environ, "SPARKFLEET_HOME": str(self.home), "PYTHONUNBUFFERED": "1"}
        say(f"$ ansible-playbook {' '.join(command[1:])}")
        lines = []
        with subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        ) as process:
            for line in process.stdout or ():
                say(f"  {line.rstrip()}")
                lines.append(line)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        return "".join(lines)

    def site(self) -> str:
        """Launch, or see that nothing is missing."""
        return self.play("site.yml", "-e", "workers=1", *self.options)

    def ssh(self, host: str, command: str) -> str:
        """Run a command on a node by the configuration that the playbooks wrote."""
        config = str(self.home / self.cluster / "ssh_config")
        ssh = ["ssh", "-F", config, "-o", "ClearAllForwardings=yes", "-o", "ConnectTimeout=10", host, command]
        return subprocess.run(ssh, check=True, stdout=subprocess.PIPE, text=True, timeout=120).stdout.strip()

    def nodes(self) -> dict[str, dict[str, Any]]:
        """Return the cluster's instances by their role."""
        query = [
            {"Name": "tag:sparkfleet:cluster", "Values": [self.cluster]},
            {"Name": "instance-state-name", "Values": LIVE},
        ]
        groups = self.ec2.describe_instances(Filters=query)["Reservations"]
        return {tags(one)["sparkfleet:role"]: one for group in groups for one in group["Instances"]}

    def check(self, claim: str, holds: Callable[[], bool]) -> None:
        """Say whether a claim holds; a check that cannot be made counts as one that does not."""
        try:
            result = "as thought" if holds() else "DIFFERS"
        except (ClientError, subprocess.SubprocessError, OSError, KeyError) as error:
            result = f"DIFFERS ({error})"
        say(f"{result:12} {claim}")
        if result != "as thought":
            self.differs.append(claim)

    def error_of(self, call: Callable[..., Any], **options: Any) -> str:
        """Return the code of the error with which EC2 answers; empty if there is none."""
        try:
            call(**options)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return ""

    def check_running(self) -> None:
        """Compare a cluster that runs with what docs/local-ec2.md says of EC2."""
        master = self.nodes()["master"]
        group = master["SecurityGroups"][0]["GroupId"]
        (volume,) = self.ec2.describe_volumes(
            Filters=[{"Name": "attachment.instance-id", "Values": [master["InstanceId"]]}]
        )["Volumes"]

        def metadata(path: str) -> str:
            return self.ssh(
                "master", f'{ASK_TOKEN}; curl -sSf -m 5 -H "X-aws-ec2-metadata-token: $TOKEN" {METADATA}/{path}'
            )

        self.check(
            "A node knows its private address only",
            lambda: self.ssh("master", "hostname -I").split()[0] == master["PrivateIpAddress"],
        )
        self.check(
            "The metadata service wants a token",
            lambda: self.ssh("master", f"curl -s -o /dev/null -w '%{{http_code}}' {METADATA}/meta-data/") == "401",
        )
        self.check(
            "With a token it tells the instance id", lambda: metadata("meta-data/instance-id") == master["InstanceId"]
        )
        self.check("It tells the tags", lambda: metadata("meta-data/tags/instance/sparkfleet:cluster") == self.cluster)
        self.check("Root volumes are encrypted gp3", lambda: volume["Encrypted"] and volume["VolumeType"] == "gp3")
        self.check("SSH is open to here, and nothing else is", lambda: self.open_ports(master) == [22])
        self.check(
            "A security group in use stays",
            lambda: self.error_of(self.ec2.delete_security_group, GroupId=group) == "DependencyViolation",
        )
        self.check(
            "A dry run says that it is one",
            lambda: (
                self.error_of(self.ec2.reboot_instances, InstanceIds=[master["InstanceId"]], DryRun=True)
                == "DryRunOperation"
            ),
        )

    def open_ports(self, node: dict[str, Any]) -> list[int]:
        """Return which of SSH's and Spark's ports answer from here."""
        address = node.get("PublicIpAddress") or node["PrivateIpAddress"]

        def answers(port: int) -> bool:
            try:
                with socket.create_connection((address, port), timeout=3):
                    return True
            except OSError:
                return False

        return [port for port in (22, *UIS) if answers(port)]

    def check_restart(self) -> None:
        """Stop and start all nodes: the same cluster under new public addresses, one `connect` away."""
        before = self.nodes()
        ids = [node["InstanceId"] for node in before.values()]
        self.ec2.stop_instances(InstanceIds=ids)
        self.ec2.get_waiter("instance_stopped").wait(InstanceIds=ids, WaiterConfig={"Delay": 2, "MaxAttempts": 150})
        self.check(
            "A stopped node has no public address",
            lambda: not any(node.get("PublicIpAddress") for node in self.nodes().values()),
        )
        self.ec2.start_instances(InstanceIds=ids)
        self.ec2.get_waiter("instance_running").wait(InstanceIds=ids, WaiterConfig={"Delay": 2, "MaxAttempts": 150})
        after = self.nodes()
        self.check(
            "Private addresses stay",
            lambda: all(after[role]["PrivateIpAddress"] == node["PrivateIpAddress"] for role, node in before.items()),
        )
        if any(node.get("PublicIpAddress") for node in before.values()):
            self.check(
                "Public addresses are others",
                lambda: all(after[role]["PublicIpAddress"] != node["PublicIpAddress"] for role, node in before.items()),
            )
        self.play("playbooks/connect.yml")
        self.check("Host keys are the same after a stop and start", self.answers)
        self.check("site.yml then finds nothing to do", lambda: changes(self.site()) == 0)

    def answers(self) -> bool:
        """Wait until sshd answers; a host key that is not the one we know ends this at once."""
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                return self.ssh("master", "echo there") == "there"
            except subprocess.CalledProcessError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(1)

    def left(self) -> Iterator[str]:
        """Yield what there still is of the cluster, by its tag."""
        ours = [{"Name": "tag:sparkfleet:cluster", "Values": [self.cluster]}]
        for node in self.nodes().values():
            yield f"instance {node['InstanceId']} ({node['State']['Name']})"
        for what, ids, call in (
            ("SecurityGroups", "GroupId", self.ec2.describe_security_groups),
            ("KeyPairs", "KeyName", self.ec2.describe_key_pairs),
            ("Volumes", "VolumeId", self.ec2.describe_volumes),
            ("NetworkInterfaces", "NetworkInterfaceId", self.ec2.describe_network_interfaces),
        ):
            for thing in call(Filters=ours)[what]:
                yield f"{what} {thing[ids]}"

    def run(self) -> None:
        """Do all of it but the end."""
        self.site()
        self.check("A second run changes nothing", lambda: changes(self.site()) == 0)
        self.check_running()
        self.check_restart()


def changes(output: str) -> int:
    """Return how many changes the recap counts; -1 if there is none."""
    counts = re.findall(r"changed=(\d+)", output)
    return sum(map(int, counts)) if counts else -1


def agreed(account: str, region: str, cluster: str) -> bool:
    """Say what is about to happen, and whether it may."""
    say(
        f"This launches 1 master and 1 worker (m6i.large unless you say otherwise) as cluster {cluster} in AWS account "
        f"{account}, region {region}, for about 20 minutes, and destroys them. Amazon bills some cents for it."
    )
    if os.environ.get("SMOKE_AWS") == "yes":
        return True
    if not sys.stdin.isatty():
        say("Nothing was launched: say SMOKE_AWS=yes, or run this in a terminal and answer.")
        return False
    return input("Go on? Only `yes` will do: ") == "yes"


def main(options: list[str]) -> int:
    """Ask, run, destroy, sum up; return the exit code."""
    try:
        account = boto3.client("sts").get_caller_identity()["Account"]
        with tempfile.TemporaryDirectory(prefix="sparkfleet-smoke-") as home:
            smoke = Smoke(Path(home), options)
            if not agreed(account, smoke.ec2.meta.region_name, smoke.cluster):
                return 2
            return go(smoke)
    except (BotoCoreError, ClientError) as error:
        say(f"AWS: {error}")
        return 2


def go(smoke: Smoke) -> int:
    """Run, and destroy whatever comes in between; return the exit code."""
    done = False
    try:
        smoke.run()
        done = True
    except subprocess.CalledProcessError as error:
        say(f"FAILED: {' '.join(error.cmd[1:])}")
    finally:
        try:
            smoke.play("playbooks/destroy.yml", "-e", "confirm=yes")
        except subprocess.CalledProcessError:
            say(f"DESTROY FAILED. Try: ansible-playbook playbooks/destroy.yml -e cluster={smoke.cluster}")
        left = list(smoke.left())
        say("\n".join(["LEFT, and costs:", *left]) if left else "Nothing of the cluster is left.")
    for claim in smoke.differs:
        say(f"DIFFERS: {claim}")
    passed = done and not smoke.differs and not left
    say("EC2 is as thought." if passed else "EC2 is not as thought, or the run failed: see above.")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
