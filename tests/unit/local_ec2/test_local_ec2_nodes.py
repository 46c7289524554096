# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes: their life with podman and the kernel's networking put out of the way, console, seed, image sources."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from local_ec2 import image, nodes, settings, status
from local_ec2.nodes import Nodes, NodeSpec, container_options, read_console, takes_signal
from local_ec2.run import CommandError, run
from local_ec2.seed import write_seed
from local_ec2.settings import Settings

SPEC = NodeSpec(
    "i-0123456789abcdef0", "image", "ip-10-231-0-4.ec2.internal", "10.231.0.4", 4096, 1, (), ("key",), b"data"
)
SECONDS = 10
# Takes the signals that systemd takes and ends as it does: 130 for a poweroff, 129 for a reboot.
INIT = """
import signal, sys
for number, code in ((signal.SIGRTMIN + 4, 130), (signal.SIGRTMIN + 5, 129)):
    signal.signal(number, lambda *_, code=code: sys.exit(code))
while True:
    signal.pause()
"""


class Podman:
    """Stands for podman: a container is a process of ours."""

    def __init__(self, run_dir: Path, network: Network) -> None:
        self.run_dir = run_dir
        self.network = network
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.fail = False
        self.commits: list[int] = []

    def __call__(self, command: str, *args: str) -> str:
        if command == "init":
            if self.fail:
                raise CommandError("podman: no")
            self.starts += 1
            assert self.network.rules, "the firewall comes before init"
            self.process = subprocess.Popen([sys.executable, "-c", INIT])
            (self.run_dir / "sparkfleet/nodes" / SPEC.instance_id / "pid").write_text(str(self.process.pid))
        elif command == "commit":
            if self.fail:
                raise CommandError("podman: no")
            self.commits.append(self.starts)
        elif command == "wait":
            assert self.process is not None
            return str(self.process.wait(SECONDS))
        return ""

    def remove(self, *names: str) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(SECONDS)


class Listener:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: queue.Queue[str] = queue.Queue()

    def firewall(self) -> str:
        return "rules"

    def node_running(self) -> None:
        self.told.put("running")

    def node_stopped(self, *, asked: bool) -> None:
        self.told.put("stopped as asked" if asked else "stopped by itself")

    def node_gone(self) -> None:
        self.told.put("gone")

    def node_failed(self, reason: str) -> None:
        self.told.put(f"failed: {reason}")

    def next(self) -> str:
        return self.told.get(timeout=SECONDS)


class Network:
    """Stands for the kernel's: which public address and which rules the node has."""

    def __init__(self) -> None:
        self.address: str | None = None
        self.rules = ""

    def attach(self, _settings: Settings, _id: str, _private: str, public: str | None) -> None:
        self.address = public

    def redirect_metadata(self, *_: Any) -> None:
        pass

    def load_rules(self, _settings: Settings, _id: str, rules: str) -> None:
        self.rules = rules

    def detach(self, *_: Any) -> None:
        self.address, self.rules = None, ""


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[Nodes, Podman, Listener, Network]]:
    """Nodes over fakes."""
    net = Network()
    podman = Podman(tmp_path, net)
    monkeypatch.setattr(settings, "RUN_DIR", tmp_path)
    monkeypatch.setattr(nodes, "podman", podman)
    monkeypatch.setattr(nodes, "remove", podman.remove)
    monkeypatch.setattr(nodes, "network", net)
    yield Nodes(Settings(), 8080), podman, Listener(), net
    podman.remove()


Bench = tuple[Nodes, Podman, Listener, Network]


def test_stop_start_terminate(bench: Bench) -> None:
    manager, podman, listener, net = bench
    manager.launch(SPEC, "198.18.77.4", listener)
    assert (listener.next(), net.address) == ("running", "198.18.77.4")
    manager.stop(SPEC.instance_id)
    assert (listener.next(), net.address) == ("stopped as asked", None)
    manager.start(SPEC.instance_id, "198.18.77.5")
    assert (listener.next(), net.address, podman.starts) == ("running", "198.18.77.5", 2)
    manager.terminate(SPEC.instance_id)
    assert (listener.next(), net.address) == ("gone", None)
    assert not (podman.run_dir / "sparkfleet/nodes" / SPEC.instance_id / "seed").exists()


def test_reboot_keeps_the_public_address(bench: Bench) -> None:
    manager, podman, listener, net = bench
    manager.launch(SPEC, "198.18.77.4", listener)
    assert listener.next() == "running"
    manager.reboot(SPEC.instance_id)
    assert (listener.next(), net.address, podman.starts) == ("running", "198.18.77.4", 2)


def test_image_is_made_between_two_boots(bench: Bench) -> None:
    manager, podman, listener, _ = bench
    manager.launch(SPEC, None, listener)
    assert listener.next() == "running"
    manager.commit(SPEC.instance_id, "image", reboot=True, made=lambda error: listener.told.put(f"made: {error}"))
    assert [listener.next(), listener.next()] == ["made: None", "running"]
    assert (podman.commits, podman.starts) == ([1], 2)


def test_image_without_a_reboot(bench: Bench) -> None:
    manager, podman, listener, _ = bench
    manager.launch(SPEC, None, listener)
    assert listener.next() == "running"
    podman.fail = True
    manager.commit(SPEC.instance_id, "image", reboot=False, made=lambda error: listener.told.put(f"made: {error}"))
    assert listener.next() == "made: podman: no"
    podman.fail = False
    manager.stop(SPEC.instance_id)
    assert listener.next() == "stopped as asked"
    manager.commit(SPEC.instance_id, "image", reboot=True, made=lambda error: listener.told.put(f"made: {error}"))
    assert listener.next() == "made: None"
    assert podman.commits == [1]


@pytest.mark.parametrize("number", [nodes.POWEROFF, signal.SIGKILL])
def test_end_that_nobody_asked_for(bench: Bench, number: int) -> None:
    manager, podman, listener, _ = bench
    manager.launch(SPEC, None, listener)
    assert listener.next() == "running"
    assert podman.process is not None
    podman.process.send_signal(number)
    assert listener.next() == "stopped by itself"


def test_node_that_does_not_shut_down_is_killed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    manager, podman, listener, _ = bench
    monkeypatch.setattr(nodes, "POWEROFF", signal.SIGCONT)
    monkeypatch.setattr(nodes, "STOP_SECONDS", 0.2)
    manager.launch(SPEC, None, listener)
    assert listener.next() == "running"
    manager.stop(SPEC.instance_id)
    assert listener.next() == "stopped as asked"
    assert podman.process is not None
    assert podman.process.returncode == -signal.SIGKILL


def test_launch_that_fails_says_why_and_can_be_terminated(bench: Bench) -> None:
    manager, podman, listener, net = bench
    podman.fail = True
    manager.launch(SPEC, "198.18.77.4", listener)
    assert listener.next() == "failed: podman: no"
    assert net.address is None
    manager.terminate(SPEC.instance_id)
    assert listener.next() == "gone"


def test_terminate_right_after_launch(bench: Bench) -> None:
    manager, _, listener, net = bench
    manager.launch(SPEC, "198.18.77.4", listener)
    manager.terminate(SPEC.instance_id)
    told = [listener.next()]
    if told == ["running"]:
        told.append(listener.next())
    assert told[-1] == "gone"
    assert net.address is None


def test_container_has_the_size_and_no_network_rights() -> None:
    options = container_options(Settings(), SPEC, Path("/run/x"))
    assert "--memory=4096m" in options
    assert "--hostname=ip-10-231-0-4" in options
    assert "--label=sparkfleet.local-ec2=sparkfleet" in options
    assert not [option for option in options if "NET_ADMIN" in option or "privileged" in option]


def test_console_is_put_together_from_podmans_log(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    assert read_console(log) == ""
    log.write_text("T stdout F one\nT stdout P tw\nT stdout F o\nT stdout F \nT stdout F half", encoding="utf-8")
    assert read_console(log) == "one\ntwo\n\n"
    log.write_text("T stdout F " + "x" * 100_000 + "\n", encoding="utf-8")
    assert len(read_console(log)) == nodes.CONSOLE_BYTES


def test_signal_masks_are_read_from_proc() -> None:
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {nodes.REBOOT})
    try:
        assert takes_signal(os.getpid(), nodes.REBOOT)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
    assert not takes_signal(os.getpid(), nodes.REBOOT)


def test_seed_passes_user_data_on_as_it_is(tmp_path: Path) -> None:
    user_data = b"Content-Type: multipart/mixed\n\n\xff\x00"
    write_seed(tmp_path / "seed", "i-1", "ip-10-231-0-4.ec2.internal", ["ssh-ed25519 AAAA me"], user_data)
    assert (tmp_path / "seed/user-data").read_bytes() == user_data
    assert json.loads((tmp_path / "seed/meta-data").read_text()) == {
        "instance-id": "i-1",
        "local-hostname": "ip-10-231-0-4.ec2.internal",
        "public-keys": ["ssh-ed25519 AAAA me"],
    }


TARGETS = """\
Debian|http://mirror.example/debian/|bookworm|main
Debian|http://mirror.example/debian/|bookworm-updates|main
Debian|http://mirror.example/security/|bookworm-security|main
Debian|http://mirror.example/debian/|trixie|main
Docker|https://download.docker.com/linux/debian/|bookworm|stable
"""


def test_apt_sources_are_the_hosts_where_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "run", lambda *_: TARGETS)
    lines = image.apt_sources().splitlines()
    assert lines[0].endswith("] http://mirror.example/debian/ bookworm main")
    assert len(lines) == 3
    assert all(line.startswith("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ") for line in lines)


@pytest.mark.parametrize("targets", ["Ubuntu|http://archive.example/ubuntu|noble|main\n", ""])
def test_mmdebstrap_has_to_know_where_the_host_has_no_debian(monkeypatch: pytest.MonkeyPatch, targets: str) -> None:
    monkeypatch.setattr(image, "run", lambda *_: targets)
    assert image.apt_sources() == ""


def test_image_name_follows_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "run", lambda *_: "")
    monkeypatch.setattr(image, "overlay_files", lambda: iter([("etc/a", b"1")]))
    before = image.image_name()
    assert image.image_name() == before
    monkeypatch.setattr(image, "overlay_files", lambda: iter([("etc/a", b"2")]))
    assert image.image_name() != before


@pytest.mark.parametrize(
    ("groups", "stat", "path"),
    [
        ("4:memory:/libpod_parent/x\n0::/\n", "cache 5\ntotal_rss 7\n", "memory/libpod_parent/x"),
        ("0::/machine.slice/x/init.scope\n", "anon 7\nfile 5\n", "machine.slice/x"),
    ],
)
def test_memory_under_both_kinds_of_cgroups(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, groups: str, stat: str, path: str
) -> None:
    (tmp_path / path).mkdir(parents=True)
    (tmp_path / path / "memory.stat").write_text(stat, encoding="ascii")
    (tmp_path / "cgroup").write_text(groups, encoding="ascii")
    monkeypatch.setattr(status, "CGROUPS", tmp_path)
    monkeypatch.setattr(status, "Path", lambda _: tmp_path / "cgroup")
    assert status.memory_bytes(1) == 7


def test_failing_and_absent_tools_are_named() -> None:
    with pytest.raises(CommandError, match="ls /absent"):
        run("ls", "/absent")
    with pytest.raises(CommandError, match="absent-tool is not installed"):
        run("absent-tool")


def test_public_addresses_are_nobodys() -> None:
    assert settings.DEFAULT_PUBLIC.subnet_of(IPv4Network("198.18.0.0/15"))
