# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of config_files on real files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible_collections.sparkfleet.ec2.plugins.modules import config_files

ME = {"owner": str(os.getuid()), "group": str(os.getgid())}
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(run_module: Run) -> Run:
    """Run config_files with the given options."""
    return lambda **options: run_module(config_files, **options)


def a_file(path: Path, content: str = "x = 1\n", **more: Any) -> dict[str, Any]:
    return {"path": str(path), "content": content, **ME, **more}


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def the_set(top: Path) -> dict[str, Any]:
    return {
        "directories": [{"path": str(top / "d"), "mode": "0750", **ME}, {"path": str(top / "d/e"), **ME}],
        "files": [a_file(top / "d/e/f", "ä\n"), a_file(top / "g", "")],
        "secret_files": [a_file(top / "d/s", "key\n", mode="0640")],
        "links": [{"path": str(top / "l"), "target": "d/e"}],
        "absent": [str(top / "old"), str(top / "never/was")],
    }


def test_the_whole_set_is_written_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    first = run(**the_set(tmp_path))
    names = ["d", "d/e", "d/e/f", "d/s", "g", "l", "old"]
    assert first["changed_paths"] == [str(tmp_path / name) for name in names]
    assert (tmp_path / "d/e/f").read_bytes() == "ä\n".encode()
    assert [mode_of(tmp_path / name) for name in ("d", "d/e", "d/e/f", "d/s")] == [0o750, 0o755, 0o644, 0o640]
    assert os.readlink(tmp_path / "l") == "d/e"
    assert not (tmp_path / "old").exists()
    second = run(**the_set(tmp_path))
    assert (second["changed"], second["changed_paths"]) == (False, [])


def test_check_mode_says_the_same_and_touches_nothing(run: Run, tmp_path: Path) -> None:
    result = run(check=True, **the_set(tmp_path))
    assert len(result["changed_paths"]) == 6
    assert list(tmp_path.iterdir()) == []


def test_check_mode_takes_owner_and_parent_as_about_to_be_created(run: Run, tmp_path: Path) -> None:
    (tmp_path / "here").write_text("x = 1\n")
    files = [a_file(tmp_path / name, owner="nobodyhere", group="nobodyhere") for name in ("no/f", "here")]
    result = run(files=files, check=True, diff=True)
    assert result["changed_paths"] == [str(tmp_path / "here"), str(tmp_path / "no/f")]
    assert "file nobodyhere:nobodyhere 0644" in result["diff"][1]["after_header"]


@pytest.mark.parametrize("change", [{"mode": "0600"}, {"owner": "12345"}, {"group": "12345"}, {"content": "y"}])
def test_each_difference_is_seen_and_repaired(run: Run, tmp_path: Path, change: dict[str, str]) -> None:
    path = tmp_path / "f"
    run(files=[a_file(path)])
    wanted = a_file(path, **change)
    assert run(files=[wanted], check=True)["changed"]
    assert run(files=[wanted])["changed_paths"] == [str(path)]
    assert not run(files=[wanted])["changed"]
    now = path.stat()
    assert (path.read_text(), f"0{mode_of(path):o}") == (wanted["content"], wanted.get("mode", "0644"))
    assert (str(now.st_uid), str(now.st_gid)) == (wanted["owner"], wanted["group"])


def test_names_and_numbers_are_the_same_owner(run: Run, tmp_path: Path) -> None:
    run(files=[a_file(tmp_path / "f", owner="root", group="root")])
    assert not run(files=[a_file(tmp_path / "f", owner="0", group=0)])["changed"]


@pytest.mark.parametrize("check", [True, False])
def test_a_link_in_place_of_a_file_is_replaced_not_followed(run: Run, tmp_path: Path, check: bool) -> None:
    precious, path = tmp_path / "precious", tmp_path / "f"
    precious.write_text("x = 1\n")
    path.symlink_to(precious)
    assert run(files=[a_file(path, mode="0600")], check=check)["changed_paths"] == [str(path)]
    assert path.is_symlink() is check
    assert (precious.read_text(), mode_of(precious)) == ("x = 1\n", 0o644)


def test_a_link_is_pointed_elsewhere_and_replaces_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("one")
    (tmp_path / "b").write_text("b")
    wanted = [{"path": str(tmp_path / name), "target": "two"} for name in ("a", "b")]
    assert len(run(links=wanted)["changed_paths"]) == 2
    assert [os.readlink(tmp_path / name) for name in ("a", "b")] == ["two", "two"]


def test_absent_removes_a_link_not_its_target_and_an_empty_directory(run: Run, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/f").write_text("")
    (tmp_path / "link").symlink_to("full")
    (tmp_path / "empty").mkdir()
    run(absent=[str(tmp_path / "link"), str(tmp_path / "empty")])
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def refusals(top: Path) -> dict[str, tuple[dict[str, Any], str]]:
    """Options that must be refused, and what the message says after the path."""
    full, file, link, pipe = (str(top / name) for name in ("full", "file", "link", "pipe"))
    return {
        "directory for file": ({"files": [a_file(top / "full")]}, f"{full}: is a directory, wanted is file"),
        "full directory": ({"absent": [full]}, f"{full}: is a directory that is not empty, wanted is absent"),
        "file for directory": ({"directories": [{"path": file}]}, f"{file}: is a file, wanted is directory"),
        "link for directory": ({"directories": [{"path": link}]}, f"{link}: is a link, wanted is directory"),
        "pipe for link": (
            {"links": [{"path": pipe, "target": "x"}]},
            f"{pipe}: is a device, pipe or socket, wanted is link",
        ),
        "listed twice": ({"files": [a_file(top / "file")], "absent": [file + "/"]}, f"{file}: listed twice"),
        "relative": ({"absent": ["file"]}, "file: the path is relative"),
        "number as mode": (
            {"files": [a_file(top / "file", mode=420)]},
            f"{file}: mode is 420; give it",
        ),
        "bad mode": ({"files": [a_file(top / "file", mode="u+x")]}, f"{file}: mode is 'u+x'"),
    }


@pytest.mark.parametrize("case", list(refusals(Path())))
@pytest.mark.parametrize("check", [True, False])
def test_what_is_in_the_way_is_one_line_and_nothing_is_written(
    run: Run, tmp_path: Path, case: str, check: bool
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/f").write_text("kept")
    (tmp_path / "file").write_text("kept")
    (tmp_path / "link").symlink_to("full")
    os.mkfifo(tmp_path / "pipe")
    options, message = refusals(tmp_path)[case]
    options = {**options, "files": [a_file(tmp_path / "new"), *options.get("files", [])]}
    result = run(check=check, **options)
    assert result["failed"]
    assert result["msg"].startswith(message)
    assert "\n" not in result["msg"]
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "file").read_text() == (tmp_path / "full/f").read_text() == "kept"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"owner": "nobodyhere"}, '{0}/f: owner "nobodyhere" does not exist on this host'),
        ({"group": "nobodyhere"}, '{0}/f: group "nobodyhere" does not exist on this host'),
        ({"path": "{0}/no/f"}, "{0}/no/f: there is no directory {0}/no; list it under directories"),
    ],
)
def test_outside_check_mode_what_is_missing_is_named(
    run: Run, tmp_path: Path, change: dict[str, str], message: str
) -> None:
    change = {key: value.format(tmp_path) for key, value in change.items()}
    result = run(files=[{**a_file(tmp_path / "f"), **change}])
    assert result["msg"].startswith(message.format(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: Any) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "f").write_text("old")
    monkeypatch.setattr(config_files.os, "fchmod", full)
    assert run(files=[a_file(tmp_path / "f")])["msg"] == f"{tmp_path}/f: No space left on device"
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("f", "old")]


def test_a_reader_sees_old_or_new_and_never_open_permissions(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    at_first = []
    rename = os.rename

    def fchown(descriptor: int, *_owner: int) -> None:
        at_first.append(os.fstat(descriptor).st_mode & 0o7777)

    def spy(source: str, target: str) -> None:
        seen.append((mode_of(Path(source)), Path(source).read_text(), Path(target).read_text()))
        rename(source, target)

    (tmp_path / "f").write_text("old")
    monkeypatch.setattr(config_files.os, "rename", spy)
    monkeypatch.setattr(config_files.os, "fchown", fchown)
    run(files=[a_file(tmp_path / "f", "new", mode="0600")])
    assert (at_first, seen) == ([0o600], [(0o600, "new", "old")])


def test_diff_shows_what_everybody_may_read(run: Run, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("a\n")
    (entry,) = run(files=[a_file(tmp_path / "f", "b\n")], check=True, diff=True)["diff"]
    assert (entry["before"], entry["after"]) == ("a\n", "b\n")
    assert entry["after_header"] == f"{tmp_path}/f (file root:root 0644)"


def test_diff_of_attributes_kinds_and_empty_files_describes_them(run: Run, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("a\n")
    (tmp_path / "l").symlink_to("one")
    diff = run(
        directories=[{"path": str(tmp_path / "d"), **ME}],
        files=[a_file(tmp_path / "f", "a\n", mode="0755"), a_file(tmp_path / "empty", "")],
        links=[{"path": str(tmp_path / "l"), "target": "two"}],
        diff=True,
        check=True,
    )["diff"]
    assert [(entry["before"], entry["after"]) for entry in diff] == [
        ("absent\n", "directory root:root 0755\n"),
        ("file root:root 0644\n", "file root:root 0755\n"),
        ("absent\n", "file root:root 0644\n"),
        ("link to one\n", "link to two\n"),
    ]


@pytest.mark.parametrize(
    ("old_mode", "option", "mode"),
    [(0o644, "files", "0640"), (0o600, "files", "0644"), (0o644, "secret_files", "0644")],
)
def test_diff_hides_private_content(run: Run, tmp_path: Path, old_mode: int, option: str, mode: str) -> None:
    path = tmp_path / "f"
    path.write_text("old-secret\n")
    path.chmod(old_mode)
    result = run(**{option: [a_file(path, "new-secret\n", mode=mode)]}, diff=True, check=True)
    (entry,) = result["diff"]
    assert "(content hidden)" in entry["before"]
    assert entry["before"] != entry["after"]
    assert "secret\n" not in str(entry).replace("\\n", "\n")


def test_secret_content_is_in_no_result_and_no_log(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(basic, "has_journal", False)
    monkeypatch.setattr(basic.AnsibleModule, "_log_to_syslog", lambda _self, line: logged.append(line))
    secret = 'hunter2 "quoted"\nsecond line\n'
    result = run(secret_files=[a_file(tmp_path / "f", secret)], diff=True)
    assert logged
    for text in (*logged, repr(result)):
        assert "hunter2" not in text
        assert "second line" not in text
    assert (tmp_path / "f").read_text() == secret
    assert result["changed_paths"] == [str(tmp_path / "f")]
