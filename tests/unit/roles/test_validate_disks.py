# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of validate-disks on folders and devices of this machine's own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DISK = "nvme-Amazon_EC2_NVMe_Instance_Storage_AWS1A"


@pytest.fixture
def proof(load: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, on files below tmp_path, and a node with scratch space but no disk."""
    module = load("storage/files/validate-disks")
    for name, place in {"SIZING_ENV": "sizing.env", "PROBLEMS": "problems", "BY_ID": "by-id"}.items():
        monkeypatch.setattr(module, name, tmp_path / place)
    for folder in ("by-id", "disk1/scratch", "scratch"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "problems").touch()
    boot(tmp_path)
    return module


def boot(folder: Path, disks: str = "") -> None:
    """Leave what the boot unit leaves."""
    (folder / "sizing.env").write_text(f"SPARKFLEET_DISKS={disks}\nSPARKFLEET_SCRATCH={folder}/scratch\nA=b=c\n")


def prove(proof: ModuleType, capsys: pytest.CaptureFixture[str]) -> Any:
    proof.main()
    return json.loads(capsys.readouterr().out)


def test_a_node_without_disks(proof: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert prove(proof, capsys) == {"used": [f"{tmp_path}/scratch"], "problems": []}
    assert not any((tmp_path / "scratch").iterdir())


def test_a_disk_in_use(
    proof: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot(tmp_path, f"{tmp_path}/disk1")
    for name in (DISK, f"{DISK}_1"):
        (tmp_path / "by-id" / name).symlink_to("/dev/null")
    here = os.stat(tmp_path).st_dev
    real = Path.stat
    number = type("Number", (), {"st_rdev": here})
    monkeypatch.setattr(Path, "stat", lambda path, **more: number if DISK in path.name else real(path, **more))
    assert prove(proof, capsys) == {"used": [f"{tmp_path}/disk1", f"{tmp_path}/scratch"], "problems": []}


def test_a_disk_that_is_not_in_use_is_told_once(
    proof: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in (DISK, f"{DISK}_1", f"{DISK}-part1"):
        (tmp_path / "by-id" / name).symlink_to("/dev/null")
    (problem,) = prove(proof, capsys)["problems"]
    assert problem.startswith(f"{tmp_path}/by-id/{DISK} is not in use; sudo systemctl restart sparkfleet-node")
    (tmp_path / "problems").write_text(f"{tmp_path}/by-id/{DISK} (118 GB) holds something\n")
    assert prove(proof, capsys)["problems"] == [f"{tmp_path}/by-id/{DISK} (118 GB) holds something"]


def test_a_folder_where_a_disk_is_to_be(proof: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    boot(tmp_path, f"{tmp_path}/disk1")
    (problem,) = prove(proof, capsys)["problems"]
    assert f"{tmp_path}/disk1 is not on a disk of its own" in problem


def test_where_nobody_can_write(proof: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "scratch").rmdir()
    (tmp_path / "scratch").symlink_to("/proc/self")
    (problem,) = prove(proof, capsys)["problems"]
    assert problem.startswith(f"{tmp_path}/scratch: ")


def test_what_is_read_is_compared_with_what_was_written(
    proof: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rot(descriptor: int, *_arguments: int) -> None:
        os.pwrite(descriptor, b"rotten", 4096)

    monkeypatch.setattr(proof.os, "posix_fadvise", rot)
    assert prove(proof, capsys)["problems"] == [f"{tmp_path}/scratch: what is read is not what was written"]
