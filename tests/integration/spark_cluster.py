"""One master and two workers on a local EC2 of their own, for tests that break things or look where nobody should."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from cluster_user import User
from place import place

PLACE = place(5, "spark")
PROGRAMS = Path(__file__).parent / "programs"
NODES = ("master", "worker-1", "worker-2")
WORKERS = NODES[1:]
COMPONENTS = "java,hdfs,spark,ganglia,jupyter_ssl"
# Jobs here run for seconds: code that is compiled once takes them half of the CPU.
SHORT_JOBS = {f"spark.{part}.extraJavaOptions": "-XX:TieredStopAtLevel=1" for part in ("driver", "executor")}
Answer = TypeVar("Answer")


def until(question: Callable[[], Answer], seconds: float = 60) -> Answer:
    """Ask until the answer is a true one, and return it. The limit is an idle machine's; a busy one gets more."""
    start = time.monotonic()
    while not (answer := question()):
        busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
        assert time.monotonic() - start < seconds * busy, (
            f"not within {seconds:.0f} s, {busy:.1f} times that as it is busy"
        )
        # Most questions are a login to a node, which takes a busy machine as long again.
        time.sleep(0.5)
    return answer


@dataclass
class Job:
    """A job of programs/gated_job.py that was submitted on the master: its tasks wait until `open_gate`."""

    cluster: SparkCluster
    process: subprocess.Popen[bytes]
    log: Path
    gate: str

    def wait_at_gate(self) -> None:
        """Wait until tasks on both workers are at the gate."""
        for worker in WORKERS:
            until(lambda worker=worker: self.ended() or self.cluster.attempt(worker, f"ls {self.gate}.waiting"), 120)
        assert not self.ended(), self.log.read_text()

    def open_gate(self) -> None:
        """Let the tasks through, also those that are started later."""
        for worker in WORKERS:
            self.cluster.ssh(worker, f"touch {self.gate}")

    def ended(self) -> bool:
        """Tell whether spark-submit has ended."""
        return self.process.poll() is not None

    def code(self) -> int:
        """Wait for the end of spark-submit and return its exit code."""
        until(self.ended, 120)
        return self.process.returncode

    def result(self) -> dict[str, Any]:
        """Return what the job printed; it must end well."""
        code, log = self.code(), self.log.read_text(errors="replace")
        assert code == 0, log
        return json.loads(next(line for line in log.splitlines() if line.startswith('{"application"')))


@dataclass
class SparkCluster:
    """The cluster: who uses it, and a folder for what jobs and playbooks print."""

    user: User
    name: str
    folder: Path

    def play(self, *args: str) -> str:
        """Run site.yml for this cluster and return what it prints."""
        what = [f"cluster={self.name}", f"workers={len(WORKERS)}", f"components={COMPONENTS}", "sparkfleet_validate=no"]
        what.append(json.dumps({"spark_conf": SHORT_JOBS, "ganglia_forget_seconds": 60}))
        return self.user.play("site.yml", *(word for one in what for word in ("-e", one)), *args)

    def shell(self, host: str) -> list[str]:
        """Return the command that runs another one on a node."""
        config = str(self.user.home / self.name / "ssh_config")
        return ["ssh", "-F", config, "-o", "ClearAllForwardings=yes", "-o", "ConnectTimeout=5", host]

    def ssh(self, host: str, command: str) -> str:
        """Run a command on a node, which must succeed."""
        return self.user.ssh(self.name, host, command)

    def attempt(self, host: str, command: str) -> str:
        """Run a command on a node that may not be there; return what it prints, or nothing if it fails."""
        done = self.user.run(*self.shell(host), command)
        return done.stdout if done.returncode == 0 else ""

    def begin(self, host: str, command: str, output: IO[bytes] | int) -> subprocess.Popen[bytes]:
        """Begin a command on a node; the caller ends it, by its standard input if it reads that."""
        return subprocess.Popen(
            [*self.shell(host), command],
            env=self.user.env,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def copy_programs(self) -> None:
        """Put the tests' own programs on all nodes."""
        for host in NODES:
            config = str(self.user.home / self.name / "ssh_config")
            files = [str(path) for path in sorted(PROGRAMS.glob("*.py"))]
            copied = self.user.run("scp", "-q", "-F", config, "-o", "ClearAllForwardings=yes", *files, f"{host}:/tmp")
            assert copied.returncode == 0, copied.stdout

    @contextmanager
    def job(self, text: str, *settings: str) -> Iterator[Job]:
        """Submit a job that sends TEXT about, with further settings as KEY=VALUE."""
        gate = f"/tmp/gate-{text}"
        options = [f"--conf={setting}" for setting in settings]
        command = shlex.join(["spark-submit", "--name", text, *options, "/tmp/gated_job.py", gate, text])
        log = self.folder / f"{text}.log"
        with log.open("wb") as output, self.begin("master", command, output) as process:
            try:
                yield Job(self, process, log, gate)
            finally:
                if process.poll() is None:
                    process.kill()
                    self.attempt("master", f"pkill --full {gate}")

    def state(self) -> dict[str, Any]:
        """Return what the master says of itself; nothing while it does not answer."""
        answer = self.attempt("master", "curl -sf http://sparkfleet-master:8080/json/")
        # One that has only begun gives its page instead.
        return json.loads(answer) if answer.startswith("{") else {}

    def alive(self) -> set[str]:
        """Return the ids of the workers that the master counts."""
        return {worker["id"] for worker in self.state().get("workers", ()) if worker["state"] == "ALIVE"}

    def applications(self) -> dict[str, str]:
        """Return the state of every job that the master knows, by its name."""
        state = self.state()
        return {app["name"]: app["state"] for key in ("activeapps", "completedapps") for app in state.get(key, ())}

    def instances(self) -> dict[str, dict[str, Any]]:
        """Return the instances as EC2 describes them, by the names that the SSH configuration gives them."""
        lines = (self.user.home / self.name / "ssh_config").read_text().splitlines()
        names = {line.split()[2]: line.split()[1] for line in lines if line.startswith("Host ") and "-" in line[9:]}
        found = self.user.client("ec2").describe_instances(InstanceIds=list(names))["Reservations"]
        return {names[one["InstanceId"]]: one for group in found for one in group["Instances"]}

    def link(self, host: str) -> str:
        """Return the name of the link on this machine that all traffic of a node passes."""
        address = self.instances()[host]["PrivateIpAddress"]
        neighbour = json.loads(self.user.run("ip", "-json", "neighbour", "show", address).stdout)[0]["lladdr"]
        bridges = json.loads(self.user.run("bridge", "-json", "fdb", "show").stdout)
        return next(entry["ifname"] for entry in bridges if entry["mac"] == neighbour)
