# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the tools of the host."""

from __future__ import annotations

import subprocess


class CommandError(Exception):
    """A tool failed; the text is its command and what it said."""


def run(*command: str, stdin: str = "") -> str:
    """Return what the command prints; raise CommandError with its stderr when it fails."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CommandError(f"{command[0]} is not installed") from error
    if done.returncode:
        raise CommandError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def attempt(*command: str) -> bool:
    """Run the command, return whether it worked; for clearing up what may be gone already."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
