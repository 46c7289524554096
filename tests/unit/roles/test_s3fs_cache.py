# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the program that holds caches of s3fs at their sizes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

KIB = 1024


@pytest.fixture
def program(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("s3fs/files/s3fs-cache")


def keep(folder: Path, name: str, age: int, kib: int = 64, noted: bool = True) -> Path:
    """Have a file in the cache that was last used `age` seconds ago, as far as its note tells."""
    path, note = folder / "data" / name, folder / ".data.stat" / name
    for each in (path, note):
        each.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(kib * KIB))
    os.utime(path, (0, 0))
    if noted:
        note.write_text("1:65536\n")
        now = path.stat().st_ctime
        os.utime(note, (now - age, now - age))
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_within_the_limit_nothing_is_touched(program: ModuleType, tmp_path: Path) -> None:
    keep(tmp_path, "a", 10)
    assert program.hold(tmp_path, 64 * KIB) == 0
    assert names(tmp_path) == {"a"}
    assert (tmp_path / ".data.stat/a").exists()


def test_what_was_used_longest_ago_goes_first_with_its_note(program: ModuleType, tmp_path: Path) -> None:
    for name, age in (("young", 1), ("deep/oldest", 300), ("old", 200), ("newest", 0)):
        keep(tmp_path, name, age)
    # Four times 64 KiB; what stays is at most 80 % of the limit.
    assert program.hold(tmp_path, 200 * KIB) == 128 * KIB
    assert names(tmp_path / "data") == names(tmp_path / ".data.stat") == {"young", "newest"}


def test_holes_take_no_room(program: ModuleType, tmp_path: Path) -> None:
    path = keep(tmp_path, "sparse", 10, kib=4)
    os.truncate(path, 1 << 30)
    assert program.hold(tmp_path, 100 * KIB) == 0


def test_a_file_without_a_note_goes_too(program: ModuleType, tmp_path: Path) -> None:
    keep(tmp_path, "lost", 0, noted=False)
    keep(tmp_path, "known", 10)
    assert program.hold(tmp_path, 100 * KIB) == 64 * KIB
    assert names(tmp_path / "data") == {"known"}


def test_notes_and_links_are_not_counted(program: ModuleType, tmp_path: Path) -> None:
    keep(tmp_path, "a", 10)
    (tmp_path / ".data.mirror").mkdir()
    (tmp_path / ".data.mirror/a").write_bytes(bytes(64 * KIB))
    assert program.hold(tmp_path, 64 * KIB) == 0


def test_each_cache_has_its_own_limit(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        keep(tmp_path / name, "file", 10, kib=1100)
    arguments = [f"{tmp_path}/one=1", f"{tmp_path}/two=2", f"{tmp_path}/none=1"]
    monkeypatch.setattr("sys.argv", ["s3fs-cache", *arguments])
    program.main()
    assert [names(tmp_path / name / "data") for name in ("one", "two")] == [set(), {"file"}]
    assert f"{tmp_path}/one: removed 1 MiB; its limit is 1 MiB" in capsys.readouterr().out
