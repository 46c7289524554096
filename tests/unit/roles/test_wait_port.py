# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of wait-port as the units call it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

PROGRAM = Path(__file__).parents[3] / "roles/common/files/wait-port"


def start(port: int, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, PROGRAM, "127.0.0.1", str(port), str(seconds)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_it_ends_as_soon_as_the_port_answers() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        waiting = start(server.getsockname()[1], 60)
        time.sleep(0.5)
        assert waiting.poll() is None
        server.listen()
        assert waiting.wait(timeout=10) == 0
        assert waiting.communicate()[1] == ""


def test_it_fails_in_one_line_when_the_port_does_not_answer() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        waiting = start(port, 0.3)
        said = waiting.communicate(timeout=10)[1]
    assert waiting.returncode == 1
    assert said.startswith(f"127.0.0.1:{port} does not answer after 0 s: ")
    assert said.count("\n") == 1
