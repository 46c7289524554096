# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A local EC2 of these tests' own, and its account as a client sees it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from place import place

ROOT = Path(__file__).parents[3]
PLACE = place(1, "pytest")
NAME, UP = PLACE.name, ["up", *PLACE.options]
DEBIAN = "136693071363"
STATE_SECONDS = 120
SSH_SECONDS = 120


def command(*args: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m local_ec2``."""
    return subprocess.run(
        [sys.executable, "-m", "local_ec2", *args, "--name", NAME],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def wait_until(reached: Callable[[], Any], seconds: float, what: str) -> Any:
    """Return the first true value that ``reached`` gives."""
    deadline = time.monotonic() + seconds
    while not (value := reached()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return value


class Account:
    """The account on local EC2, with one key pair and a group that lets SSH in."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        """Import a key, make the group and look up the image."""
        self.environment = environment
        self.folder = folder
        self.ec2 = self.client("ec2")
        self.key = folder / "id_ed25519"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        self.ec2.import_key_pair(KeyName="test", PublicKeyMaterial=self.key.with_suffix(".pub").read_bytes())
        self.group = self.ec2.create_security_group(GroupName="ssh", Description="SSH from everywhere")["GroupId"]
        self.ec2.authorize_security_group_ingress(
            GroupId=self.group, IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="0.0.0.0/0"
        )
        images = self.ec2.describe_images(Owners=[DEBIAN], Filters=[{"Name": "name", "Values": ["debian-12-amd64-*"]}])
        self.images = sorted(images["Images"], key=lambda image: image["CreationDate"])

    def client(self, service: str, **options: Any) -> Any:
        """Return a client of the administrator, unless the options of ``boto3.client`` have others' credentials."""
        own = {
            "aws_access_key_id": self.environment["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": self.environment["AWS_SECRET_ACCESS_KEY"],
        }
        return boto3.client(
            service,
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            region_name=self.environment["AWS_REGION"],
            **(own | options),
        )

    def run(self, count: int = 1, **parameters: Any) -> dict[str, Any]:
        """Call RunInstances with what every test wants."""
        usual = {
            "ImageId": self.images[-1]["ImageId"],
            "InstanceType": "m5.large",
            "KeyName": "test",
            "SecurityGroupIds": [self.group],
        }
        return self.ec2.run_instances(MinCount=count, MaxCount=count, **(usual | parameters))

    def get(self, instance_id: str) -> dict[str, Any]:
        """Describe one instance."""
        return self.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]

    def wait(self, instance_id: str, state: str) -> dict[str, Any]:
        """Wait for a state, describe the instance in it."""
        wait_until(
            lambda: self.get(instance_id)["State"]["Name"] == state, STATE_SECONDS, f"{instance_id} is not {state}"
        )
        return self.get(instance_id)

    def console(self, instance_id: str) -> str:
        """Return the console's text."""
        return self.ec2.get_console_output(InstanceId=instance_id)["Output"]

    def host_keys(self, instance_id: str) -> list[str]:
        """Return the SSH host keys that the instance printed on its console, [] before it has."""
        found = re.search(
            r"-----BEGIN SSH HOST KEY KEYS-----(.*?)-----END SSH HOST KEY KEYS-----",
            self.console(instance_id),
            re.DOTALL,
        )
        return re.findall(r"(?:ssh|ecdsa)-\S+ \S+", found[1]) if found else []

    def ssh(self, instance_id: str, *script: str, user: str = "admin") -> str:
        """Run a command on the instance by its public address, its host key checked against the console's."""
        keys = wait_until(lambda: self.host_keys(instance_id), SSH_SECONDS, f"{instance_id} shows its host keys")
        address = self.get(instance_id)["PublicIpAddress"]
        known_hosts = self.folder / f"known_hosts-{address}"
        known_hosts.write_text("".join(f"{address} {key}\n" for key in keys), encoding="ascii")
        options = [
            f"UserKnownHostsFile={known_hosts}",
            "StrictHostKeyChecking=yes",
            "BatchMode=yes",
            "ConnectTimeout=3",
            # A session of a node whose plug is pulled gets no answer any more, and no end.
            "ServerAliveInterval=3",
            "ServerAliveCountMax=3",
        ]
        ssh = ["ssh", "-F", "none", "-i", str(self.key), *(f"-o{option}" for option in options), f"{user}@{address}"]

        def attempt() -> subprocess.CompletedProcess[str] | None:
            done = subprocess.run([*ssh, *script], capture_output=True, text=True, check=False)
            assert "HOST IDENTIFICATION HAS CHANGED" not in done.stderr, done.stderr
            return None if done.returncode == 255 else done

        done = wait_until(attempt, SSH_SECONDS, f"{instance_id} answers ssh on {address}")
        assert done.returncode == 0, done
        return done.stdout.strip()

    def wait_for_log(self, instance_id: str, text: str) -> None:
        """Wait until sshd on the instance has logged the text."""
        wait_until(lambda: text in self.ssh(instance_id, "journalctl -t sshd"), 10, f"{text!r} on {instance_id}")
