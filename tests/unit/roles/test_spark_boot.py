# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of Spark's boot hook: sizes for nodes of 1 GB to 1 TB, and spark-defaults.conf."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

# What Linux shows of 1, 2, 4 … 1024 GiB, in MiB.
NODES = [int(2**power * 1024 * 0.965) for power in range(11)]


@pytest.fixture
def hook(load: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, on files below tmp_path and without the group spark."""
    module = load("spark/files/spark-boot")
    monkeypatch.setattr(module, "PARTS", tmp_path / "conf.d")
    monkeypatch.setattr(module, "RESULT", tmp_path / "spark-defaults.conf")
    monkeypatch.setattr(module.shutil, "chown", lambda *given: (tmp_path / "owners").write_text(repr(given[1:])))
    monkeypatch.delenv("SPARKFLEET_DISKS", raising=False)
    (tmp_path / "conf.d").mkdir()
    return module


def mib(sizes: dict[str, int | str], name: str) -> int:
    """Return a size in MiB out of Spark's notation."""
    value = str(sizes[f"SPARK_{name}_MEMORY"])
    assert value.endswith("m")
    return int(value[:-1])


@pytest.mark.parametrize("memory", NODES)
def test_a_worker_and_its_daemon_fit_into_the_node(hook: ModuleType, memory: int) -> None:
    found = hook.sizes(memory, 8, "worker")
    assert found["SPARK_WORKER_CORES"] == 8
    assert 0 < mib(found, "WORKER") <= memory - mib(found, "DAEMON")


@pytest.mark.parametrize("memory", NODES[2:])
def test_from_4_gb_on_something_is_left_for_the_system(hook: ModuleType, memory: int) -> None:
    found = hook.sizes(memory, 8, "worker")
    left = memory - mib(found, "WORKER") - mib(found, "DAEMON")
    assert left >= 1024
    # No node is kept idle for that either.
    assert mib(found, "WORKER") >= memory * 0.6


@pytest.mark.parametrize("memory", NODES[2:])
def test_a_master_alone_has_room_for_its_daemons_a_worker_and_a_driver(hook: ModuleType, memory: int) -> None:
    found = hook.sizes(memory, 8, "master")
    total = 3 * mib(found, "DAEMON") + mib(found, "WORKER") + mib(found, "DRIVER")
    assert memory - total >= 256
    assert mib(found, "WORKER") >= memory * 0.25


@pytest.mark.parametrize("role", ["master", "worker"])
@pytest.mark.parametrize("memory", NODES[1:])
def test_from_2_gb_on_an_executor_of_1_gb_fits(hook: ModuleType, memory: int, role: str) -> None:
    assert mib(hook.sizes(memory, 8, role), "WORKER") >= 1024


@pytest.mark.parametrize("role", ["master", "worker"])
def test_larger_nodes_offer_more(hook: ModuleType, role: str) -> None:
    for kind in ("WORKER", "DRIVER", "DAEMON"):
        offers = [mib(hook.sizes(memory, 8, role), kind) for memory in NODES]
        assert offers == sorted(offers)


@pytest.mark.parametrize(
    ("memory", "role", "expected"),
    [
        (988, "worker", (476, 1024, 512)),
        (1976, "worker", (1024, 1024, 512)),
        (7905, "worker", (6369, 1976, 512)),
        (7905, "master", (3369, 1976, 512)),
        (15_810, "worker", (13_250, 3952, 512)),
        (63_242, "worker", (51_978, 15_810, 1024)),
        (1_011_875, "worker", (995_491, 252_968, 1024)),
    ],
)
def test_sizes(hook: ModuleType, memory: int, role: str, expected: tuple[int, int, int]) -> None:
    worker, driver, daemon = expected
    assert hook.sizes(memory, 4, role) == {
        "SPARK_DAEMON_MEMORY": f"{daemon}m",
        "SPARK_DRIVER_MEMORY": f"{driver}m",
        "SPARK_WORKER_CORES": 4,
        "SPARK_WORKER_MEMORY": f"{worker}m",
    }


def test_the_parts_are_joined_in_the_order_of_their_names(hook: ModuleType, tmp_path: Path) -> None:
    parts = {"90-secret.conf": "c 3\n", "50-spark.conf": "a 1\nb 2", "60-own.conf": "", "60-own.conf.bak": "x 9\n"}
    for name, text in parts.items():
        (tmp_path / "conf.d" / name).write_text(text)
    hook.compose()
    assert (tmp_path / "spark-defaults.conf").read_text().split() == ["a", "1", "b", "2", "c", "3"]
    # A part without an end of line runs into no other.
    assert "b 2\n" in (tmp_path / "spark-defaults.conf").read_text()


def test_only_the_group_may_read_the_whole(hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []
    part = tmp_path / "spark-defaults.part"
    monkeypatch.setattr(hook.shutil, "chown", lambda path, *owner: modes.append(path.stat().st_mode & 0o777))
    old = os.umask(0)
    try:
        hook.compose()
    finally:
        os.umask(old)
    # Nobody else may read it before its owner is set either.
    assert modes == [0o600]
    assert (tmp_path / "spark-defaults.conf").stat().st_mode & 0o777 == 0o640
    assert not part.exists()


def test_a_reader_sees_the_old_file_or_the_new_one(hook: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "conf.d/a.conf").write_text("a 1\n")
    hook.compose()
    reader = (tmp_path / "spark-defaults.conf").open()
    (tmp_path / "conf.d/a.conf").write_text("a 2\n")
    hook.compose()
    assert reader.read() == "a 1\n"
    assert (tmp_path / "spark-defaults.conf").read_text() == "a 2\n"


def test_what_it_prints(
    hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {"ADDRESS": "10.0.0.7", "ROLE": "worker", "MEMORY_MB": "7905", "CORES": "2"}
    for name, value in values.items():
        monkeypatch.setenv(f"SPARKFLEET_{name}", value)
    hook.main()
    printed = dict(line.split("=", 1) for line in capsys.readouterr().out.splitlines())
    sizes = {name: str(value) for name, value in hook.sizes(7905, 2, "worker").items()}
    assert printed == {"SPARK_LOCAL_IP": "10.0.0.7", "SPARK_LOCAL_HOSTNAME": "10.0.0.7", **sizes}
    assert (tmp_path / "owners").read_text() == "('root', 'spark')"


def test_without_disks_nothing_is_said_of_folders(hook: ModuleType) -> None:
    assert hook.folders([]) == {}


def test_folders_on_disks(hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owners: dict[str, tuple[str, str]] = {}

    def chown(path: Path, *owner: str) -> None:
        # Nobody else is let in before that.
        assert path.stat().st_mode & 0o077 == 0 or path in again
        owners[str(path)] = owner

    again: list[Path] = []
    monkeypatch.setattr(hook.shutil, "chown", chown)
    disks = [tmp_path / "disk1", tmp_path / "disk2"]
    for disk in disks:
        disk.mkdir()
    expected = {
        "SPARK_LOCAL_DIRS": f"{disks[0]}/spark/local,{disks[1]}/spark/local",
        "SPARK_WORKER_DIR": f"{disks[0]}/spark/work",
    }
    assert hook.folders(disks) == expected
    assert owners[f"{disks[1]}/spark/local"] == ("root", "spark")
    assert owners[f"{disks[0]}/spark/work"] == ("spark", "spark")
    modes = [(disks[0] / "spark" / name).stat().st_mode & 0o7777 for name in ("", "local", "work")]
    assert modes == [0o755, 0o1770, 0o750]
    # What is there already stays, with what is in it.
    again += [disk / "spark" / name for disk in disks for name in ("local", "work")]
    (disks[0] / "spark/local/blockmgr").touch()
    assert hook.folders(disks) == expected
    assert (disks[0] / "spark/local/blockmgr").exists()


@pytest.mark.parametrize("given", ["", "{0}/disk1", "{0}/disk1,{0}/disk2"])
def test_the_disks_that_storage_tells_are_used(
    hook: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: str,
) -> None:
    disks = given.count("disk")
    for name, value in {"ADDRESS": "10.0.0.7", "ROLE": "worker", "MEMORY_MB": "7905", "CORES": "2"}.items():
        monkeypatch.setenv(f"SPARKFLEET_{name}", value)
    monkeypatch.setenv("SPARKFLEET_DISKS", given.format(tmp_path))
    for number in range(disks):
        (tmp_path / f"disk{number + 1}").mkdir()
    hook.main()
    printed = dict(line.split("=", 1) for line in capsys.readouterr().out.splitlines())
    assert len([one for one in printed.get("SPARK_LOCAL_DIRS", "").split(",") if one]) == disks
    assert ("SPARK_WORKER_DIR" in printed) == bool(disks)
