# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of node-boot on files, hooks and a systemctl of its own."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HOSTS = "127.0.0.1 localhost\n# sparkfleet-master comes below\n10.0.0.9 sparkfleet-master2\n"
NODE = "# a comment\n\nSPARKFLEET_CLUSTER=demo\nSPARKFLEET_ROLE={role}\nSPARKFLEET_MASTER=127.0.0.1\n{more}"


@pytest.fixture
def boot(load: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, on files below tmp_path; systemctl notes how it is called."""
    module = load("common/files/node-boot")
    places = {"NODE_ENV": "node.env", "SIZING_ENV": "run/sizing.env", "HOOKS": "boot.d", "HOSTS": "hosts"}
    for name, place in places.items():
        monkeypatch.setattr(module, name, tmp_path / place)
    (tmp_path / "hosts").write_text(HOSTS)
    (tmp_path / "boot.d").mkdir()
    script(tmp_path / "bin/systemctl", f'echo "$*" >> {tmp_path}/calls')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return module


def script(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_read_env(boot: ModuleType, tmp_path: Path) -> None:
    lines = [
        "# A=comment",
        "",
        "A=1",
        'B_C="two words"',
        "D=",
        "E=a=b",
        " F=indented",
        "lower=no",
        "not a pair",
        "G= 7 ",
    ]
    (tmp_path / "env").write_text("\n".join(lines))
    assert boot.read_env(tmp_path / "env") == {"A": "1", "B_C": "two words", "D": "", "E": "a=b", "G": "7"}


def test_the_masters_name_joins_the_hosts_file_which_is_edited_in_place(boot: ModuleType, tmp_path: Path) -> None:
    # A bind mount cannot be replaced: it is the same file by another name.
    os.link(tmp_path / "hosts", tmp_path / "mounted")
    boot.edit_hosts("10.0.0.5")
    assert (tmp_path / "mounted").read_text() == f"{HOSTS}10.0.0.5 sparkfleet-master\n"


def test_the_hosts_file_is_left_alone_when_it_is_right(boot: ModuleType, tmp_path: Path) -> None:
    boot.edit_hosts("10.0.0.5")
    os.utime(tmp_path / "hosts", (1, 1))
    boot.edit_hosts("10.0.0.5")
    assert (tmp_path / "hosts").stat().st_mtime == 1


@pytest.mark.parametrize(
    "old", ["10.0.0.1 sparkfleet-master", "10.0.0.1\tsparkfleet-master # x\n10.0.0.2 sparkfleet-master"]
)
def test_old_addresses_of_the_master_go(boot: ModuleType, tmp_path: Path, old: str) -> None:
    (tmp_path / "hosts").write_text(f"{old}\n{HOSTS}")
    boot.edit_hosts("10.0.0.5")
    assert (tmp_path / "hosts").read_text() == f"{HOSTS}10.0.0.5 sparkfleet-master\n"


def test_a_hosts_file_without_an_end_of_line(boot: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("127.0.0.1 localhost")
    boot.edit_hosts("10.0.0.5")
    assert (tmp_path / "hosts").read_text() == "127.0.0.1 localhost\n10.0.0.5 sparkfleet-master\n"


def test_resolve_waits_for_the_name(boot: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [socket.gaierror(-3, "not yet"), [(2, 1, 6, "", ("10.0.0.5", 0))]]
    slept: list[float] = []

    def getaddrinfo(*_arguments: Any) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(boot.socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(boot.time, "sleep", slept.append)
    assert boot.resolve("master.internal") == "10.0.0.5"
    assert (len(slept), answers) == (1, [])


def test_resolve_gives_up_in_one_line(boot: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_arguments: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(boot.socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(SystemExit, match=r"node.env: SPARKFLEET_MASTER=nowhere cannot be resolved: .*not known"):
        boot.resolve("nowhere", patience=-1)


def test_own_address_is_that_of_the_way_to_the_master(boot: ModuleType) -> None:
    assert boot.own_address("127.0.0.1") == "127.0.0.1"


@pytest.mark.parametrize(
    ("limits", "expected"), [([], 2000), (["max"], 2000), (["1048576000"], 1000), (["9223372036854771712"], 2000)]
)
def test_memory_is_the_machines_or_the_containers_limit(
    boot: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: list[str], expected: int
) -> None:
    (tmp_path / "meminfo").write_text("MemFree: 1 kB\nMemTotal:     2048000 kB\nSwapTotal: 9 kB\n")
    for number, limit in enumerate(limits):
        (tmp_path / f"limit{number}").write_text(f"{limit}\n")
    places = [tmp_path / f"limit{number}" for number in range(2)]
    monkeypatch.setattr(boot, "CGROUP_MEMORY_LIMITS", places)
    monkeypatch.setattr(boot, "Path", lambda path: {"/proc/meminfo": tmp_path / "meminfo"}[path])
    assert boot.memory_mb() == expected


def test_memory_of_this_machine(boot: ModuleType) -> None:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    assert 0 < boot.memory_mb() <= pages


def test_hooks_run_in_order_and_see_what_those_before_them_found(boot: ModuleType, tmp_path: Path) -> None:
    script(tmp_path / "boot.d/20-b", 'echo "B=$A-$SPARKFLEET_ROLE"; echo C=x=y')
    script(tmp_path / "boot.d/10-a", "echo A=1")
    found = boot.run_hooks({"SPARKFLEET_ROLE": "worker"})
    assert found == {"SPARKFLEET_ROLE": "worker", "A": "1", "B": "1-worker", "C": "x=y"}
    assert list(found) == ["SPARKFLEET_ROLE", "A", "B", "C"]


def test_a_hook_that_fails_is_named(boot: ModuleType, tmp_path: Path) -> None:
    script(tmp_path / "boot.d/10-a", "exit 3")
    with pytest.raises(SystemExit, match=r"boot\.d/10-a failed with code 3"):
        boot.run_hooks({})


def test_sizes_are_published_in_one_go(boot: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    boot.publish({"A": "old"})
    reader = (tmp_path / "run/sizing.env").open()
    boot.publish({"A": "1", "B": "2"})
    assert reader.read() == "A=old\n"
    assert (tmp_path / "run/sizing.env").read_text() == "A=1\nB=2\n"
    assert (tmp_path / "run/sizing.env").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["sizing.env"]


def test_sizes_that_are_right_are_left_alone(boot: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    boot.publish({"A": "1"})
    os.utime(tmp_path / "run/sizing.env", (1, 1))
    boot.publish({"A": "1"})
    assert (tmp_path / "run/sizing.env").stat().st_mtime == 1
    boot.publish({"A": "2"})
    assert (tmp_path / "run/sizing.env").stat().st_mtime > 1


@pytest.mark.parametrize(
    ("role", "more", "calls"),
    [
        ("master", "", ["start sparkfleet-master.target", "stop sparkfleet-worker.target"]),
        ("worker", "", ["stop sparkfleet-master.target", "start sparkfleet-worker.target"]),
        ("master", "SPARKFLEET_ALONE=yes\n", ["start sparkfleet-master.target", "start sparkfleet-worker.target"]),
        ("master", "SPARKFLEET_ALONE=no\n", ["start sparkfleet-master.target", "stop sparkfleet-worker.target"]),
    ],
)
def test_a_boot(boot: ModuleType, tmp_path: Path, role: str, more: str, calls: list[str]) -> None:
    (tmp_path / "node.env").write_text(NODE.format(role=role, more=more))
    script(tmp_path / "boot.d/50-x", f'[ -e {tmp_path}/calls ] || echo "X=$SPARKFLEET_ADDRESS"')
    boot.main()
    sizing = boot.read_env(tmp_path / "run/sizing.env")
    assert sizing["X"] == sizing["SPARKFLEET_ADDRESS"] == "127.0.0.1"
    assert (sizing["SPARKFLEET_CLUSTER"], sizing["SPARKFLEET_ROLE"]) == ("demo", role)
    assert int(sizing["SPARKFLEET_CORES"]) == len(os.sched_getaffinity(0))
    assert int(sizing["SPARKFLEET_MEMORY_MB"]) == boot.memory_mb()
    assert (tmp_path / "hosts").read_text().endswith("127.0.0.1 sparkfleet-master\n")
    # Waiting for units that come after this one would wait for ourselves.
    assert (tmp_path / "calls").read_text().splitlines() == [f"--no-block {call}" for call in calls]
