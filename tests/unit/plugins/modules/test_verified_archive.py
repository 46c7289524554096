# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of verified_archive against a server on this machine."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sparkfleet.ec2.plugins.modules import verified_archive

Run = Callable[..., dict[str, Any]]
NAME = "tool-1.0.tgz"


def packed(
    files: dict[str, str], *special: tarfile.TarInfo, mode: int = 0o644, form: str = "gz", owner: int = 4321
) -> bytes:
    """An archive with FILES, then with SPECIAL entries."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{form}") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid, entry.gid = len(text), mode, owner, owner
            archive.addfile(entry, io.BytesIO(text.encode()))
        for entry in special:
            archive.addfile(entry)
    return out.getvalue()


def an_entry(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def sha512(data: bytes) -> str:
    return hashlib.sha512(data).hexdigest()


GOOD = packed({"tool-1.0/bin/tool": "#!/bin/sh\n", "tool-1.0/README": "read me"}, mode=0o6777)
SUM = sha512(GOOD)


class Server(ThreadingHTTPServer):
    """Answers GET path by the next of answers[path], the last one for ever, and notes what was asked.

    An answer is a body; a status code; or (body, bytes to send before the connection ends, stall instead).
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[Any]] = {}
        self.asked: list[str] = []
        self.release = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = self.path.lstrip("/")
        self.server.asked.append(path)
        answers = self.server.answers.get(path, [404])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, int):
            self.send_error(answer)
            return
        body, until, stall = answer if isinstance(answer, tuple) else (answer, None, False)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:until])
        self.wfile.flush()
        if stall:
            self.server.release.wait(10)

    def log_message(self, *_args: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.release.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    return tmp_path / "opt" / "tool-1.0"


@pytest.fixture
def run(run_module: Run, dest: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run verified_archive into DEST, without pauses."""
    dest.parent.mkdir()
    monkeypatch.setattr(verified_archive.time, "sleep", lambda _seconds: None)

    def run(**options: Any) -> dict[str, Any]:
        return run_module(verified_archive, **{"dest": str(dest), "timeout": 1, **options})

    return run


def assert_nothing_left(dest: Path) -> None:
    assert list(dest.parent.iterdir()) == []


def test_installs_once_and_asks_nobody_the_second_time(run: Run, server: Server, dest: Path) -> None:
    server.answers = {NAME: [GOOD]}
    options = {"urls": [server.url(NAME)], "sha512": SUM.upper()}
    first = run(**options)
    assert {key: first[key] for key in ("changed", "url", "sha512", "bytes")} == {
        "changed": True,
        "url": server.url(NAME),
        "sha512": SUM,
        "bytes": len(GOOD),
    }
    assert (dest / "README").read_text() == "read me"
    second = run(**options)
    assert (second["changed"], second["seconds"], second["sha512"]) == (False, 0, SUM)
    assert server.asked == [NAME]
    assert [path.name for path in dest.parent.iterdir()] == [dest.name]


def test_what_is_unpacked_belongs_to_us_and_is_writable_for_nobody_else(run: Run, server: Server, dest: Path) -> None:
    server.answers = {NAME: [GOOD]}
    run(urls=[server.url(NAME)], sha512=SUM, owner="12", group="34", mode="0750")
    now = dest.stat()
    assert (now.st_uid, now.st_gid, now.st_mode & 0o7777) == (12, 34, 0o750)
    for path in dest.rglob("*"):
        assert path.stat().st_uid == os.getuid()
        assert path.stat().st_mode & 0o7022 == 0
    again = run(urls=[server.url(NAME)], sha512=SUM, owner="12", group="34", mode="0755")
    assert again["changed"]
    assert dest.stat().st_mode & 0o7777 == 0o755


def test_check_mode_asks_nobody_and_touches_nothing(run: Run, server: Server, dest: Path) -> None:
    assert run(urls=[server.url(NAME)], check=True)["changed"]
    assert server.asked == []
    assert_nothing_left(dest)


@pytest.mark.parametrize("form", ["gz", "xz"])
def test_format_by_name(run: Run, server: Server, dest: Path, form: str) -> None:
    data = packed({"top/f": "x"}, form=form)
    server.answers = {f"t.tar.{form}": [data]}
    assert run(urls=[server.url(f"t.tar.{form}")], sha512=sha512(data))["changed"]
    assert (dest / "f").read_text() == "x"


def test_goes_on_where_a_url_has_nothing_or_the_wrong_thing(run: Run, server: Server) -> None:
    server.answers = {f"bad/{NAME}": [b"<html>log in</html>"], f"good/{NAME}": [GOOD]}
    urls = [
        f"http://127.0.0.1:1/{NAME}",
        server.url(f"none/{NAME}"),
        server.url(f"bad/{NAME}"),
        server.url(f"good/{NAME}"),
    ]
    assert run(urls=urls, sha512=SUM)["url"] == urls[-1]
    assert server.asked == [f"none/{NAME}", f"bad/{NAME}", f"good/{NAME}"]


def test_says_what_no_url_had(run: Run, server: Server, dest: Path) -> None:
    secret = server.url(NAME).replace("//", "//me:secret@") + "?X-Signature=secret"
    result = run(urls=[secret, f"http://127.0.0.1:1/{NAME}"], sha512=SUM, hint="tool_mirrors")
    assert result["msg"] == (
        f"{NAME}: not found at any of: {server.url(NAME)} (HTTP 404), http://127.0.0.1:1/{NAME} "
        "(connection refused). Nothing was installed. Set tool_mirrors."
    )
    assert_nothing_left(dest)


def test_a_wrong_checksum_installs_nothing(run: Run, server: Server, dest: Path) -> None:
    server.answers = {NAME: [GOOD]}
    refused = f"http://127.0.0.1:1/{NAME}"
    result = run(urls=[server.url(NAME), refused], sha512="0" * 128)
    assert result["msg"] == (
        f"{NAME}: sha512 of {server.url(NAME)} is {SUM[:16]}… ({len(GOOD)} bytes), "
        f"expected 0000000000000000…; not found at {refused} (connection refused); "
        "the archive is corrupt or was replaced. Nothing was installed."
    )
    assert_nothing_left(dest)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((GOOD, 100, False), f"the transfer ended after 100 of {len(GOOD)} bytes"),
        ((GOOD, 100, True), "no data for 1 s after 0 bytes"),
        (503, "HTTP 503"),
    ],
)
def test_a_broken_transfer_is_tried_again(run: Run, server: Server, dest: Path, answer: Any, reason: str) -> None:
    server.answers = {NAME: [answer, GOOD]}
    assert run(urls=[server.url(NAME)], sha512=SUM, retries=1)["changed"]
    assert server.asked == [NAME, NAME]
    subprocess.run(["rm", "-r", str(dest)], check=True)
    server.answers = {NAME: [answer]}
    result = run(urls=[server.url(NAME)], sha512=SUM, retries=0)
    assert result["msg"] == f"{NAME}: not found at any of: {server.url(NAME)} ({reason}). Nothing was installed."
    assert_nothing_left(dest)


GROUPS = " ".join(SUM.upper()[at : at + 8] for at in range(0, 128, 8))


@pytest.mark.parametrize(
    "text",
    [
        f"{SUM}  {NAME}\n",
        f"{'1' * 128}  other.tgz\n{SUM} *./{NAME}\n",
        f"SHA512 ({NAME}) = {SUM}\n",
        f"{SUM.upper()}\n",
        f"{NAME}: {GROUPS[:71]}\n          {GROUPS[72:]}\n",
        f"{NAME}:\n {GROUPS}\n",
    ],
)
def test_published_checksums(run: Run, server: Server, text: str) -> None:
    server.answers = {NAME: [GOOD], f"{NAME}.sha512": [text.encode()]}
    assert run(urls=[server.url(NAME)])["sha512"] == SUM
    assert not run(urls=[server.url(NAME)])["changed"]
    assert server.asked == [f"{NAME}.sha512", NAME]


def test_a_published_checksum_that_differs_is_fatal(run: Run, server: Server, dest: Path) -> None:
    server.answers = {NAME: [GOOD], "sums": [f"{'a' * 128}  {NAME}".encode()]}
    result = run(urls=[server.url(NAME)], checksum_urls=[server.url("none"), server.url("sums")])
    assert "expected aaaaaaaaaaaaaaaa…" in result["msg"]
    assert_nothing_left(dest)


def test_without_a_checksum_nothing_is_downloaded(run: Run, server: Server, dest: Path) -> None:
    server.answers = {NAME: [GOOD], "sums": [f"{'a' * 128}  other.tgz".encode()]}
    urls = [server.url("none"), server.url("sums")]
    result = run(urls=[server.url(NAME)], checksum_urls=urls)
    assert result["msg"] == (
        f"{NAME}: no checksum at any of: {urls[0]} (HTTP 404), {urls[1]} (has no SHA-512 of {NAME}). "
        "Nothing was installed."
    )
    assert server.asked == ["none", "sums"]
    assert_nothing_left(dest)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (an_entry("t/l", tarfile.SYMTYPE, "../../etc"), "l in it is a link out of it, to ../../etc"),
        (an_entry("t/l", tarfile.SYMTYPE, "/etc/passwd"), "l in it is a link out of it, to /etc/passwd"),
        (an_entry("t/p", tarfile.FIFOTYPE), "p in it is a device, pipe or socket"),
        (an_entry("t/../../../evil", tarfile.REGTYPE), "tar cannot unpack it: tar: "),
    ],
)
def test_archives_that_reach_out_are_refused(
    run: Run, server: Server, dest: Path, entry: tarfile.TarInfo, reason: str
) -> None:
    data = packed({"t/f": "x"}, entry)
    server.answers = {NAME: [data]}
    result = run(urls=[server.url(NAME)], sha512=sha512(data))
    assert result["msg"].startswith(f"{NAME}: {reason}")
    assert_nothing_left(dest)
    assert not list(dest.parent.parent.rglob("evil"))


def test_links_within_the_archive_are_kept(run: Run, server: Server, dest: Path) -> None:
    data = packed({"t/d/f": "x"}, an_entry("t/d/l", tarfile.SYMTYPE, "../d/f"))
    server.answers = {NAME: [data]}
    run(urls=[server.url(NAME)], sha512=sha512(data))
    assert (dest / "d/l").read_text() == "x"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no archive", "tar cannot unpack it: "),
        (packed({"f": "x"}), "it holds no directory with files"),
    ],
    # An archive holds the time; xdist's workers have to agree on the names.
    ids=["no archive", "no directory"],
)
def test_what_is_no_such_archive_is_refused(run: Run, server: Server, dest: Path, data: bytes, reason: str) -> None:
    server.answers = {NAME: [data]}
    assert reason in run(urls=[server.url(NAME)], sha512=sha512(data))["msg"]
    assert_nothing_left(dest)


def test_another_archive_of_ours_is_replaced(run: Run, server: Server, dest: Path) -> None:
    newer = packed({"tool-1.1/new": "x"})
    server.answers = {NAME: [GOOD], "tool-1.1.tgz": [newer]}
    run(urls=[server.url(NAME)], sha512=SUM)
    assert run(urls=[server.url("tool-1.1.tgz")], sha512=sha512(newer))["changed"]
    assert sorted(path.name for path in dest.iterdir()) == [".sparkfleet-archive.json", "new"]
    assert [path.name for path in dest.parent.iterdir()] == [dest.name]


def test_a_failed_replacement_leaves_the_old_archive(run: Run, server: Server, dest: Path) -> None:
    server.answers = {NAME: [GOOD], "tool-1.1.tgz": [(GOOD, 50, False)]}
    run(urls=[server.url(NAME)], sha512=SUM)
    assert run(urls=[server.url("tool-1.1.tgz")], sha512="0" * 128)["failed"]
    assert (dest / "README").read_text() == "read me"
    assert [path.name for path in dest.parent.iterdir()] == [dest.name]


@pytest.mark.parametrize("check", [True, False])
def test_what_is_not_ours_is_not_replaced(run: Run, server: Server, dest: Path, check: bool) -> None:
    dest.mkdir()
    (dest / "mine").write_text("mine")
    result = run(urls=[server.url(NAME)], sha512=SUM, check=check)
    assert result["msg"] == (
        f"{NAME}: {dest} holds something that was not installed from an archive; move it away or remove it. "
        "Nothing was installed."
    )
    assert [path.name for path in dest.parent.rglob("*")] == [dest.name, "mine"]


def test_an_empty_directory_and_leftovers_are_no_obstacle(run: Run, server: Server, dest: Path) -> None:
    server.answers = {NAME: [GOOD]}
    dest.mkdir()
    for leftover in (f"{dest}.part", f"{dest}.part-old"):
        Path(leftover, "half").mkdir(parents=True)
        Path(leftover, "half/file").write_text("half")
    run(urls=[server.url(NAME)], sha512=SUM)
    assert not (dest / "half").exists()
    assert [path.name for path in dest.parent.iterdir()] == [dest.name]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"urls": ["http://a/b.tgz", "http://a/c.tgz"]}, "b.tgz: urls must end in one file name"),
        ({"urls": []}, "urls: urls must end in one file name, these end in none"),
        ({"urls": ["http://a/b.zip"]}, "b.zip: the name must end in one of .tar.gz"),
        ({"sha512": "12ab"}, f"{NAME}: sha512 must be 128 hexadecimal digits, given is '12ab'"),
        ({"dest": "opt"}, f"{NAME}: dest must be an absolute path, given is opt"),
        ({"dest": "/no/such/parent"}, f"{NAME}: there is no directory /no/such; create it first"),
    ],
)
def test_options_that_make_no_sense(run: Run, change: dict[str, Any], reason: str) -> None:
    result = run(**{"urls": [f"http://127.0.0.1:1/{NAME}"], "sha512": SUM, **change})
    assert result["msg"].startswith(reason)


def test_a_second_run_waits_for_the_first_and_takes_what_it_installed(run: Run, server: Server, dest: Path) -> None:
    """The first run is played by a lock; it finishes while the second waits."""
    server.answers = {NAME: [GOOD]}
    part = Path(f"{dest}.part")
    part.mkdir()
    lock = os.open(part, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)

    def finish() -> None:
        time_asleep.wait(0.3)
        (part / ".sparkfleet-archive.json").write_text(json.dumps({"url": "u", "sha512": SUM, "bytes": 1}))
        part.rename(dest)
        os.close(lock)

    time_asleep = threading.Event()
    first = threading.Thread(target=finish)
    first.start()
    started = time.monotonic()
    result = run(urls=[server.url(NAME)], sha512=SUM, mode="0755")
    first.join()
    assert time.monotonic() - started >= 0.3
    assert (result["url"], server.asked) == ("u", [])
    assert [path.name for path in dest.parent.iterdir()] == [dest.name]


PLAY_MODULE = """
import sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkfleet.ec2.plugins.modules import verified_archive
with patch_module_args({"urls": [sys.argv[1]], "sha512": sys.argv[2], "dest": sys.argv[3]}):
    verified_archive.main()
"""


def start(server: Server, dest: Path) -> subprocess.Popen[bytes]:
    """The module in a process of its own."""
    path = os.pathsep.join(sys.path)
    return subprocess.Popen(
        [sys.executable, "-c", PLAY_MODULE, server.url(NAME), SUM, str(dest)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )


def test_killed_in_the_middle_then_run_again(run: Run, server: Server, dest: Path) -> None:
    server.answers = {NAME: [(GOOD, 100, True), GOOD]}
    with start(server, dest) as first:
        while not server.asked:
            assert first.poll() is None
            time.sleep(0.02)
        first.kill()
    assert not dest.exists()
    assert run(urls=[server.url(NAME)], sha512=SUM)["changed"]
    assert [path.name for path in dest.parent.iterdir()] == [dest.name]


def test_a_full_disk_is_one_line_and_leaves_nothing(
    run: Run, server: Server, dest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tar that complains as GNU tar does on a full disk and then goes on reading, as GNU tar does."""
    fake = tmp_path / "bin/tar"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'tar: f: Cannot write: No space left on device' >&2\nexec cat >/dev/null\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent), prepend=os.pathsep)
    server.answers = {NAME: [GOOD]}
    result = run(urls=[server.url(NAME)], sha512=SUM, hint="tool_mirrors")
    assert result["msg"] == f"{NAME}: no space left in {dest.parent}. Nothing was installed."
    assert_nothing_left(dest)
