# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what the unit of a bucket says when s3fs ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def program(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("s3fs/files/s3fs-mount")


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        (
            "[ERR] s3fs.cpp:s3fs_check_service(3541): The bucket region is not 'us-east-1', it is correctly "
            "'eu-west-1'. You should specify 'endpoint=eu-west-1' option.",
            "is in eu-west-1; give region: eu-west-1 in s3fs_mounts",
        ),
        (
            "[ERR] curl.cpp:RequestPerform(2478): HTTP response code 301(Moved Permanently: also happens when bucket's "
            "region is incorrect), returning EIO. Body Text: <Code>PermanentRedirect</Code>",
            "is in another region; give region in s3fs_mounts",
        ),
        ("<Error><Code>NoSuchBucket</Code>", "does not exist; make it, or correct s3fs_mounts"),
        (
            "[CRT] s3fs.cpp:s3fs_check_service(3591): remote mountpath /raw/2026 not found.",
            "has no /raw/2026; put something there, or correct prefix in s3fs_mounts",
        ),
        ("<Code>InvalidAccessKeyId</Code>", "is refused: S3 does not know the access key, or not with this secret"),
        ("<Code>ExpiredToken</Code>", "is refused: the role's credentials have expired, and there are no new ones"),
        ("<Code>AccessDenied</Code>", "is forbidden; let the node's role, or the access key, do s3:ListBucket and"),
        ("/s3/data does not answer: Operation not permitted", "is forbidden; let the node's role"),
        (
            "s3fs: There is no enough disk space for used as cache(or temporary) directory by s3fs.",
            "has no room on the",
        ),
        (
            "[CRT] unable to connect(host=http://10.0.0.1:1) - result of checking service.",
            "cannot be reached; check s3fs",
        ),
        (
            "[INF] s3fs version 1.90(unknown) : s3fs -f -o connect_timeout=10 ours /s3/ours\nmore\n",
            "was lost: s3fs ended (9) and is started again; its last words: more",
        ),
        ("fuse: device not found, try 'modprobe fuse' first", "cannot be mounted, as the node's kernel has no FUSE"),
        ("the metadata service knows of no role (HTTP 404)", "cannot be asked, as the node has no role; give fleet_"),
        ("", "was lost: s3fs ended (9) and is started again; its last words: nothing"),
        ("one\ntwo\n", "was lost: s3fs ended (9) and is started again; its last words: two"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, said: str, meaning: str
) -> None:
    monkeypatch.setenv("EXIT_STATUS", "9")
    found = program.reason(said)
    assert found.startswith(meaning)
    assert "\n" not in found


def test_what_is_mounted_last_counts(program: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("/dev/x /s3 ext4 rw 0 0\ns3fs /s3/data fuse.s3fs rw 0 0\n/dev/y /s3/data ext4 rw 0 0\n")
    monkeypatch.setattr(program, "MOUNTS", mounts)
    assert [program.mounted(path) for path in ("/s3/data", "/s3", "/s3/da")] == ["ext4", "ext4", None]
