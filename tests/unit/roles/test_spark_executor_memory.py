# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of executor-memory against a master that answers by script."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[3] / "roles/spark/files/executor-memory"
MASTER = "http://sparkfleet-master:8080"
Ask = Callable[[str | None], str]


class Master(BaseHTTPRequestHandler):
    """Spark's master, as far as it is asked."""

    answer = ""

    def do_GET(self) -> None:
        """Answer /json/ only; without a status line if the answer is raw."""
        if self.answer.startswith("RAW"):
            self.wfile.write(self.answer.encode())
            return
        self.send_response(200 if self.path == "/json/" else 404)
        self.end_headers()
        self.wfile.write(self.answer.encode())

    def log_message(self, *_arguments: Any) -> None:
        """Be quiet."""


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """A function: what the program prints where the master gives this answer; None: there is no master."""
    server = HTTPServer(("127.0.0.1", 0), Master)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # A proxy of the user's must not be asked for the cluster's own name.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    def run(answer: str | None) -> str:
        Master.answer = answer or ""
        text = PROGRAM.read_text()
        assert text.count(MASTER) == 1
        port = server.server_port if answer is not None else 1
        (tmp_path / "program").write_text(text.replace(MASTER, f"http://127.0.0.1:{port}"))
        done = subprocess.run([sys.executable, tmp_path / "program"], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout

    yield run
    server.shutdown()
    server.server_close()


def workers(*offers: tuple[int, str]) -> str:
    return json.dumps({"workers": [{"memory": memory, "state": state} for memory, state in offers]})


@pytest.mark.parametrize(
    ("answer", "printed"),
    [
        (workers((6000, "ALIVE")), "6000m\n"),
        (workers((6000, "ALIVE"), (3000, "ALIVE"), (9000, "ALIVE")), "3000m\n"),
        (workers((6000, "ALIVE"), (3000, "DEAD"), (2000, "DECOMMISSIONED")), "6000m\n"),
        (workers((500, "ALIVE"), (6000, "ALIVE")), "1024m\n"),
        (workers((3000, "DEAD")), "1024m\n"),
        (workers(), "1024m\n"),
        (None, "1024m\n"),
        ("<html>", "1024m\n"),
        ("", "1024m\n"),
        ("RAW nonsense", "1024m\n"),
    ],
    ids=[
        "one worker",
        "the smallest",
        "only live ones",
        "the floor",
        "none alive",
        "none",
        "no master",
        "no JSON",
        "nothing",
        "no HTTP",
    ],
)
def test_the_memory_of_executors(ask: Ask, answer: str | None, printed: str) -> None:
    assert ask(answer) == printed
