# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what python_environment does beside the installation itself, which the molecule scenario runs."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sparkfleet.ec2.plugins.modules import python_environment
from ansible_collections.sparkfleet.ec2.plugins.modules.python_environment import (
    Wanted,
    complaint,
    explanation,
    package_name,
    wheel_url,
)

Run = Callable[..., dict[str, Any]]
WHEEL = f"uv-1.0-py3-none-manylinux_2_17_{platform.machine()}.whl"
UNSATISFIABLE = ", we can conclude that your requirements are unsatisfiable."
PARAMS = {
    "packages": {"ours": ["numpy==2.4.6", "scikit-learn"], "theirs": ["tensorflow==2.19.0", "NumPy<2"]},
    "constraints": ["pillow==99"],
    "constraints_setting": "constraints",
    "index_setting": "index",
}


@pytest.fixture(autouse=True)
def another_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that the index has, with another checksum. Nothing is tried again."""
    monkeypatch.setattr(python_environment, "RETRIES", 0)
    monkeypatch.setattr(python_environment, "UV_VERSION", "1.0")
    monkeypatch.setattr(python_environment, "UV_SHA256", {platform.machine(): "0" * 64})


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """An index that has a wheel which is none; its URL."""
    folder = tmp_path / "index/uv"
    folder.mkdir(parents=True)
    (folder / WHEEL).write_bytes(b"wheel")
    (folder / "index.html").write_text(f'<a href="{WHEEL}">uv</a>')
    (folder.parent / "empty/uv").mkdir(parents=True)
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


@pytest.fixture
def params(tmp_path: Path, index: str) -> dict[str, Any]:
    """Options for an environment below opt."""
    (tmp_path / "opt").mkdir()
    return {
        "path": str(tmp_path / "opt/env"),
        "packages": {"ours": ["one==1", "two"]},
        "index": index,
        "index_setting": "our_index",
        "python": sys.executable,
    }


def whole(params: dict[str, Any], *requirements: str) -> Path:
    """Make what an environment with requirements looks like when it is whole; where it is."""
    path = Wanted({**params, "constraints": [], "packages": {"ours": list(requirements)}}).path
    (path / "lib/python3.11/site-packages/one-1.dist-info").mkdir(parents=True)
    (path / ".sparkfleet-environment.json").write_text(
        json.dumps({"installed": list(requirements), "records": ["one-1.dist-info"]})
    )
    return path


def names(params: dict[str, Any]) -> set[str]:
    """Return what there is beside the link."""
    return {path.name for path in Path(params["path"]).parent.iterdir()}


def test_the_hash_is_of_the_requirements_whatever_their_order(params: dict[str, Any]) -> None:
    def path(**changes: Any) -> Path:
        return Wanted({"constraints": [], **params, **changes}).path

    assert path() == path(packages={"ours": ["two"], "theirs": ["one==1", "two"]})
    assert path() != path(packages={"ours": ["two", "one==2"]})
    assert path() != path(constraints=["three==3"])


def test_what_is_in_place_is_left_alone(params: dict[str, Any], run_module: Run) -> None:
    path = whole(params, "one==1", "two")
    Path(params["path"]).symlink_to(path.name)
    found = run_module(python_environment, **{**params, "index": "http://127.0.0.1:9"})
    assert (found["changed"], found["installed"], found["path"]) == (False, ["one==1", "two"], str(path))


def test_a_former_environment_is_taken_again_and_older_ones_go(params: dict[str, Any], run_module: Run) -> None:
    wanted, former, older = whole(params, "one==1", "two"), whole(params, "three"), whole(params, "four")
    half = older.with_name("env-0123456789ab")
    half.mkdir()
    other = older.with_name("env-mine")
    other.mkdir()
    Path(params["path"]).symlink_to(former.name)
    assert run_module(python_environment, check=True, **params)["changed"]
    assert Path(params["path"]).resolve() == former
    assert run_module(python_environment, **params)["changed"]
    assert Path(params["path"]).resolve() == wanted
    assert names(params) == {"env", wanted.name, former.name, other.name}
    assert not run_module(python_environment, **params)["changed"]


def test_what_was_changed_by_hand_is_not_whole(params: dict[str, Any], run_module: Run) -> None:
    path = whole(params, "one==1", "two")
    Path(params["path"]).symlink_to(path.name)
    (path / "lib/python3.11/site-packages/three-3.dist-info").mkdir()
    assert run_module(python_environment, check=True, **params)["changed"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"index": "http://127.0.0.1:9"}, r"our_index: http://127.0.0.1:9/uv/ cannot be had \(.*refused.*\); give the"),
        ({"index": "{index}/none"}, r"our_index: \S+/none/uv/ cannot be had \(HTTP 404\); give the URL of an index"),
        ({}, f"our_index: sha256 of \\S+ is {hashlib.sha256(b'wheel').hexdigest()[:16]}…, expected 0000"),
        ({"index": "{index}/empty"}, r"our_index: \S+ has no uv 1.0; give the URL of an index with all that PyPI has"),
    ],
)
def test_an_installer_that_cannot_be_had_leaves_nothing(
    params: dict[str, Any], index: str, run_module: Run, changes: Any, reason: str
) -> None:
    former = whole(params, "three")
    Path(params["path"]).symlink_to(former.name)
    changes = {key: value.format(index=index) if isinstance(value, str) else value for key, value in changes.items()}
    found = run_module(python_environment, **{**params, **changes})
    assert found["failed"]
    assert "\n" not in found["msg"]
    assert re.search(reason, found["msg"]), found["msg"]
    assert names(params) == {"env", former.name}
    assert Path(params["path"]).resolve() == former


def test_what_is_no_link_is_left_alone(params: dict[str, Any], run_module: Run) -> None:
    Path(params["path"]).mkdir()
    assert (
        "is there and no link to an environment of ours; move it away"
        in run_module(python_environment, **params)["msg"]
    )
    missing = {**params, "path": "/no/such/env"}
    assert "there is no directory /no/such; create it first" in run_module(python_environment, **missing)["msg"]


def test_the_wheel_with_the_checksum_is_taken() -> None:
    page = (
        '<a href="../../files/uv-1.0-py3-none-musllinux_1_1_x.whl#sha256=aa">a</a>'
        '<a class="x" href="https://files.example/b/uv-1.0-py3-none-manylinux_2_17_x.whl#sha256=bb">b</a>'
        '<a href="/uv-1.0.tar.gz#sha256=bb">c</a>'
    )
    base = "https://index.example/simple/uv/"
    assert wheel_url(page, base, "1.0", "bb") == "https://files.example/b/uv-1.0-py3-none-manylinux_2_17_x.whl"
    assert wheel_url(page, base, "1.0", "aa") == "https://index.example/files/uv-1.0-py3-none-musllinux_1_1_x.whl"
    assert wheel_url(page, base, "1.1", "bb") is None


@pytest.mark.parametrize(
    ("said", "line", "setting"),
    [
        (
            "error: No solution found when resolving dependencies\n"
            f"  cause: Because tensorflow==2.19.0 was not found in the package registry{UNSATISFIABLE}\n",
            "tensorflow==2.19.0 was not found in the package registry",
            "theirs",
        ),
        (
            "error: No solution found when resolving dependencies\n"
            f"  cause: Because you require numpy==2.4.6 and numpy<2{UNSATISFIABLE}\n\nhint: Wheels are",
            "you require numpy==2.4.6 and numpy<2",
            "theirs",
        ),
        (
            "error: No solution found when resolving dependencies\n"
            f"  cause: Because scikit-learn has no usable wheels\n         and you require it{UNSATISFIABLE}",
            "scikit-learn has no usable wheels and you require it",
            "ours",
        ),
        (
            f"error: No solution found\n  cause: Because there is no version of pillow==99{UNSATISFIABLE}",
            "there is no version of pillow==99",
            "constraints",
        ),
        (
            "error: Request failed\n  cause: Failed to fetch: http://a/numpy/\n  cause: refused (os error 1)",
            "Request failed: Failed to fetch: http://a/numpy/: refused (os error 1)",
            "index",
        ),
        ("error: Failed to extract numpy\n  cause: No space left", "Failed to extract numpy: No space left", "/env"),
    ],
)
def test_explanations_in_one_line(said: str, line: str, setting: str) -> None:
    told = complaint(said, {**PARAMS, "path": "/env", "index": "https://a"})
    assert explanation(said) == line
    assert told == f"{setting}: {line}" if setting == "/env" else told.startswith(f"{setting}: {line}; give ")


@pytest.mark.parametrize(
    ("requirement", "name"), [("A_b.c==1", "a-b-c"), (" a [x] >= 1", "a"), ("scikit-learn", "scikit-learn")]
)
def test_names_of_packages(requirement: str, name: str) -> None:
    assert package_name(requirement) == name
