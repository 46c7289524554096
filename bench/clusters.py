# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measured clusters: a local EC2 of their own, nodes that answer ssh, and what is then done with them."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import yaml

from bench.measure import Cost, environment, run
from bench.report import ROOT

BIN = Path(sys.executable).parent
CLUSTER = "bench"
# Beside a demo and the tests, below the ports that the kernel gives to clients; the environment may say otherwise, as
# for every local EC2.
PLACE = {"NAME": "bench", "PORT": "4590", "VPC_CIDR": "10.249.0.0/16", "PUBLIC_CIDR": "198.18.249.0/24"}
SSH_SECONDS = 120
COUNT_SECONDS = 300
# Ends as soon as the master counts that many workers.
COUNT = """
import json, sys, time, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
deadline = time.monotonic() + float(sys.argv[2])
while True:
    try:
        alive = json.load(opener.open("http://sparkfleet-master:8080/json/", timeout=5))["aliveworkers"]
    except OSError:
        alive = 0
    if alive >= int(sys.argv[1]):
        sys.exit()
    if time.monotonic() > deadline:
        sys.exit(f"the master counts {alive} workers")
    time.sleep(0.1)
"""


class Phase(NamedTuple):
    """A phase of a run of the site playbook: when it began, in seconds of the epoch, and what was used until then."""

    name: str
    at: float
    cpu: float


class Launch(NamedTuple):
    """A run of the site playbook until Spark counts all. The last phase is "end"."""

    cost: Cost
    phases: list[Phase]
    counted_at: float

    @property
    def from_ssh_ready(self) -> float:
        """Seconds from the first question to the nodes, which answer, to all counted."""
        return self.counted_at - next(phase.at for phase in self.phases if phase.name == "connect")

    def by_phase(self) -> dict[str, Cost]:
        """Cost of each phase."""
        spans = zip(self.phases, self.phases[1:], strict=False)
        return {begun.name: Cost(ended.at - begun.at, ended.cpu - begun.cpu) for begun, ended in spans}


class LocalEC2:
    """A local EC2 with clusters on it. Logs of all that is run are in `folder`."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        """ENV is what AWS clients need; see `local_ec2_up`."""
        self.folder, self.env, self._logs = folder, env, 0

    def play(self, playbook: str, *options: str) -> Cost:
        """Run a playbook of the checkout on the cluster."""
        self._logs += 1
        log = self.folder / f"{self._logs:02}-{Path(playbook).stem}.log"
        return run([str(BIN / "ansible-playbook"), playbook, "-e", f"cluster={CLUSTER}", *options], log, ROOT, self.env)

    def log(self) -> str:
        """Return the output of the last playbook."""
        (path,) = self.folder.glob(f"{self._logs:02}-*.log")
        return path.read_text()

    @property
    def ssh_config(self) -> Path:
        """The configuration that the fleet role wrote."""
        return Path(self.env["SPARKFLEET_HOME"], CLUSTER, "ssh_config")

    def ssh(self, host: str, *command: str) -> bool:
        """Run a command on a node; tell whether it went well."""
        options = ["-F", str(self.ssh_config), "-o", "ClearAllForwardings=yes", "-o", "ConnectTimeout=5"]
        done = subprocess.run(["ssh", *options, host, shlex.join(command)], stdin=subprocess.DEVNULL, check=False)
        return done.returncode == 0

    def nodes(self, workers: int) -> None:
        """Bring up a master and WORKERS workers without anything on them, and wait until all answer ssh."""
        self.play("bench/playbooks/nodes.yml", "-e", f"workers={workers}")
        deadline = time.monotonic() + SSH_SECONDS
        for host in ["master", *(f"worker-{number + 1}" for number in range(workers))]:
            while not self.ssh(host, "true"):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{host} does not answer ssh after {SSH_SECONDS} s")
                time.sleep(0.2)

    def wait_for_spark(self, workers: int) -> float:
        """Wait until Spark's master counts WORKERS; return when that was."""
        if not self.ssh("master", "python3", "-c", COUNT, str(workers), str(COUNT_SECONDS)):
            raise TimeoutError(f"Spark does not count {workers} workers after {COUNT_SECONDS} s")
        return time.time()

    def site(self, workers: int, *options: str) -> Launch:
        """Run the site playbook, without the proof that it works, until Spark counts all."""
        notes = self.folder / "phases.jsonl"
        notes.unlink(missing_ok=True)
        cost = self.play("site.yml", "-e", f"workers={workers}", "-e", "sparkfleet_validate=no", *options)
        counted_at = self.wait_for_spark(workers)
        return Launch(cost, [Phase(*json.loads(line)) for line in notes.read_text().splitlines()], counted_at)

    def by_hand(self, workers: int) -> Cost:
        """Do the same by the yardstick script until Spark counts all."""
        version = str(yaml.safe_load((ROOT / "roles/spark/defaults/main.yml").read_text())["spark_version"])
        mirror = self.env["SPARKFLEET_MIRROR"]
        script = ["tests/yardstick/by-hand", str(self.ssh_config), mirror, version, str(workers)]
        self._logs += 1
        return run(script, self.folder / f"{self._logs:02}-by-hand.log", ROOT, self.env)

    def destroy(self) -> None:
        """Remove the cluster, if there is one."""
        self.play("playbooks/destroy.yml", "-e", "confirm=yes")


def place_settings() -> dict[str, str]:
    """Return the environment variables that say where local EC2 is."""
    names = {f"SPARKFLEET_LOCAL_EC2_{key}": value for key, value in PLACE.items()}
    return {name: os.environ.get(name, value) for name, value in names.items()}


def command(*args: str) -> str:
    """Run a command of local EC2; return what it prints."""
    env = environment() | place_settings()
    line = [sys.executable, "-m", "local_ec2", *args]
    return subprocess.run(line, cwd=ROOT, env=env, check=True, text=True, stdout=subprocess.PIPE).stdout


def exports(text: str) -> dict[str, str]:
    """Return the variables that lines `export NAME=VALUE` set."""
    words = (shlex.split(line) for line in text.splitlines() if line.startswith("export "))
    return dict(word.split("=", 1) for line in words for word in line[1:])


@contextmanager
def local_ec2_up() -> Iterator[LocalEC2]:
    """Bring local EC2 up, and down in the end."""
    folder = Path(tempfile.mkdtemp(prefix="sparkfleet-bench-"))
    sys.stdout.write(f"logs: {folder}\n")
    command("up")
    try:
        env = {**environment(), **exports(command("env")), "SPARKFLEET_HOME": str(folder / "home")}
        env |= {
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "bench/plugins/callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "phases",
            "SPARKFLEET_BENCH_PHASES": str(folder / "phases.jsonl"),
        }
        yield LocalEC2(folder, env)
    finally:
        command("down")
