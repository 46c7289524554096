# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A local EC2 for each file of tests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from account import UP, Account, command


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """Local EC2 up, down again after the last test."""
    command("down")
    started = command(*UP)
    assert started.returncode == 0, started.stderr
    shell = subprocess.run(["bash", "-c", f"{command('env').stdout}\nenv"], capture_output=True, text=True, check=True)
    environment = dict(line.split("=", 1) for line in shell.stdout.splitlines() if "=" in line)
    yield Account(environment, tmp_path_factory.mktemp("account"))
    assert command("down").returncode == 0
