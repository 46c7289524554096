# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of verified_files against a server on this machine."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sparkfleet.ec2.plugins.modules import verified_files

Run = Callable[..., dict[str, Any]]
FILES = {"org/one/1.0/one-1.0.jar": b"one", "org/two/2.0/two-2.0.jar": b"two"}
SUMS = {path: hashlib.sha512(content).hexdigest() for path, content in FILES.items()}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A repository with both files; its URL."""
    for path, content in FILES.items():
        (tmp_path / "repository" / path).parent.mkdir(parents=True)
        (tmp_path / "repository" / path).write_bytes(content)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "repository"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


@pytest.fixture
def fill(server: str, tmp_path: Path, run_module: Run) -> Run:
    """Run the module for both files."""
    usual = {"urls": [server], "files": SUMS, "dest": str(tmp_path / "dest")}
    return lambda **options: run_module(verified_files, **{**usual, **options})


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_both_are_installed_and_the_second_run_asks_for_nothing(fill: Run, tmp_path: Path) -> None:
    first = fill()
    assert (first["changed"], first["fetched"]) == (True, ["one-1.0.jar", "two-2.0.jar"])
    assert content(tmp_path / "dest") == {"one-1.0.jar": b"one", "two-2.0.jar": b"two"}
    assert (tmp_path / "dest/one-1.0.jar").stat().st_mode & 0o777 == 0o644
    second = fill(urls=["http://127.0.0.1:9"])
    assert (second["changed"], second["fetched"]) == (False, [])


def test_check_mode_asks_for_nothing(fill: Run, tmp_path: Path) -> None:
    assert fill(check=True, urls=["http://127.0.0.1:9"])["changed"]
    assert not (tmp_path / "dest").exists()


def test_damaged_and_foreign_files_are_mended(fill: Run, tmp_path: Path) -> None:
    fill()
    (tmp_path / "dest/one-1.0.jar").write_text("damaged")
    (tmp_path / "dest/one-0.9.jar").write_text("old")
    result = fill()
    assert (result["fetched"], result["removed"]) == (["one-1.0.jar"], ["one-0.9.jar"])
    assert content(tmp_path / "dest") == {"one-1.0.jar": b"one", "two-2.0.jar": b"two"}
    assert not fill()["changed"]


def test_the_next_url_is_asked(fill: Run, server: str, tmp_path: Path) -> None:
    assert fill(urls=[f"{server}/empty", f"{server}/"])["changed"]
    assert len(content(tmp_path / "dest")) == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"files": {**SUMS, "org/no.jar": "0" * 128}}, r"/org/no.jar \(HTTP 404\)"),
        ({"files": {**SUMS, "org/one/1.0/one-1.0.jar": "0" * 128}}, r"its sha512 is [0-9a-f]{16}…, expected 0{16}…"),
        ({"urls": ["http://127.0.0.1:9"]}, r"http://127.0.0.1:9/org/one/1.0/one-1.0.jar \("),
    ],
)
def test_nothing_is_installed_by_half(
    fill: Run, server: str, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    result = fill(**changes, hint="my_repositories")
    assert result["failed"]
    assert re.search(reason, result["msg"])
    assert result["msg"].endswith("Nothing was installed. Set my_repositories")
    assert list(tmp_path.glob("dest*")) == []
