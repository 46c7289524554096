"""A local EC2 of the tests' own, and ways to use it as a user would: by command line and by any AWS client."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from place import Place, place

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
PLACE = place(0, "test")


def local_ec2(*args: str) -> str:
    """Run a command of local EC2 and return what it prints."""
    command = [sys.executable, "-m", "local_ec2", *args]
    return subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE).stdout


@dataclass
class User:
    """Somebody at this machine: `env` is the environment, `home` the folder where keys and SSH configuration are."""

    env: dict[str, str]
    home: Path

    def run(self, *command: str, cwd: Path = ROOT, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command; return code and output (both streams in one)."""
        return subprocess.run(
            command,
            cwd=cwd,
            env=self.env,
            input=stdin,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=900,
            check=False,
            stdin=None if stdin is not None else subprocess.DEVNULL,
        )

    def play(self, playbook: str, *args: str, fails: bool = False) -> str:
        """Run a playbook of the checkout and return its output; it must succeed, or fail, as said."""
        done = self.run(str(BIN / "ansible-playbook"), playbook, *args)
        assert (done.returncode != 0) == fails, done.stdout
        assert "Traceback" not in done.stdout, done.stdout
        return done.stdout

    def refused(self, playbook: str, *args: str) -> str:
        """Run a playbook that must refuse; return the one line that says why, without the name of the task."""
        output = self.play(playbook, *args, fails=True)
        lines = [line for line in output.split("PLAY RECAP")[0].splitlines() if line.startswith(("FAILED", "[ERROR]"))]
        assert len(lines) == 1, output
        return lines[0]

    def ssh(self, cluster: str, host: str, command: str) -> str:
        """Run a command on a node as the login user, by the configuration that `connect` writes."""
        config = str(self.home / cluster / "ssh_config")
        done = self.run("ssh", "-F", config, "-o", "ClearAllForwardings=yes", host, command)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def client(self, service: str, region: str | None = None, **options: Any) -> Any:
        """Return a boto3 client of local EC2, for another than the usual region if given."""
        return boto3.client(
            service,
            endpoint_url=self.env["AWS_ENDPOINT_URL"],
            region_name=region or self.env["AWS_DEFAULT_REGION"],
            aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"],
            **options,
        )


@contextmanager
def local_ec2_at(at: Place, home: Path) -> Iterator[User]:
    """Bring a local EC2 up for a user whose keys are in `home`."""
    local_ec2("up", *at.options)
    exports = re.findall(r"^export (\w+)=(.*)$", local_ec2("env", "--name", at.name), re.MULTILINE)
    env = {**os.environ, **dict(exports), "SPARKFLEET_HOME": str(home), "ANSIBLE_FORCE_COLOR": "0"}
    env["PATH"] = f"{BIN}:{env['PATH']}"
    yield User({key: value for key, value in env.items() if key not in {"AWS_PROFILE", "AWS_CA_BUNDLE"}}, home)
    local_ec2("down", "--name", at.name)
