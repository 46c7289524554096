# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what makes the place for HDFS ready; a mount whose daemon was killed is in molecule/fuse_dfs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def program(load: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, without the user fuse."""
    module = load("fuse_dfs/files/fuse-dfs-mount-point")
    monkeypatch.setattr(module.shutil, "chown", lambda *_given: None)
    return module


def test_what_is_mounted_is_known_by_its_type(program: ModuleType) -> None:
    assert program.mounted("/proc") == ["proc"]
    assert program.mounted("/proc/") == []


def test_what_somebody_else_has_mounted_is_left_alone(program: ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"^/proc: a file system of type proc is mounted there; unmount it or give"):
        program.clear("/proc")
    assert os.listdir("/proc")


def test_the_directory_is_made_with_its_parents_and_closed_to_others(program: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "a/b"
    program.make(str(path))
    program.make(str(path))
    assert path.stat().st_mode & 0o777 == 0o700


def test_files_are_not_hidden(program: ModuleType, tmp_path: Path) -> None:
    for name in "dcba":
        (tmp_path / name).touch()
    with pytest.raises(SystemExit, match=r": holds a, b, c, which the mount would hide; move it away$"):
        program.make(str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 4
