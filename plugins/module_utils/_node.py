# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: what a node says of itself."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

APPLIED = Path("/etc/sparkfleet/applied.json")
VALIDATED = Path("/etc/sparkfleet/validated")
# A file for each component whose boot hook found something that keeps the node from being whole; a line for each.
PROBLEMS = Path("/run/sparkfleet/problems")
BOOT_UNIT = "sparkfleet-node.service"
UNITS = Path("/etc/systemd/system")


@dataclass
class Unit:
    """A systemd unit. `since`: when it was started, in seconds of the epoch, 0 if it was not."""

    name: str
    active: bool
    since: float
    watched: list[Path]

    def stale(self) -> bool:
        """Tell whether something that it reads at its start changed after that."""
        return self.active and any(changed_at(path) > self.since for path in self.watched)


def read_applied(path: Path) -> dict[str, Any]:
    """Return the content of applied.json; {} if there is none or it is no JSON object."""
    try:
        applied = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return applied if isinstance(applied, dict) else {}


def read_problems(folder: Path) -> list[str]:
    """Return what the boot hooks of all components found wrong."""
    return [line for path in sorted(folder.glob("*")) for line in path.read_text().splitlines()]


def changed_at(path: Path) -> float:
    """Return when a path, or anything in it if it is a directory, last changed; links count themselves."""
    times = (entry.lstat().st_mtime for entry in [path, *tree(path)] if entry.exists() or entry.is_symlink())
    return max(times, default=0.0)


def tree(path: Path) -> Iterator[Path]:
    """Yield what a directory holds, at any depth; follows no link."""
    for folder, folders, files in os.walk(path) if not path.is_symlink() else ():
        yield from (Path(folder, name) for name in [*folders, *files])


def targets(roles: Iterable[str]) -> list[str]:
    """Return the names of the targets of the roles."""
    return [f"sparkfleet-{role}.target" for role in roles]


def units(module: AnsibleModule, roles: list[str]) -> list[Unit]:
    """Return the boot unit, the targets of the roles and the units that they want."""
    _rc, wants, _err = module.run_command(["systemctl", "show", "--property=Wants", "--value", *targets(roles)])
    # systemd itself sees a new link only when it is reloaded.
    linked = {link.name for target in targets(roles) for link in UNITS.glob(f"{target}.wants/*")}
    names = [BOOT_UNIT, *targets(roles), *sorted({*wants.split(), *linked} - {BOOT_UNIT})]
    properties = "--property=Id,ActiveState,FragmentPath,InactiveExitTimestampMonotonic"
    _rc, out, _err = module.run_command(["systemctl", "show", properties, *names], check_rc=True)
    return [parse(block) for block in out.strip().split("\n\n")]


def parse(block: str) -> Unit:
    """Return the unit that a block of `systemctl show` describes."""
    shown = dict(line.split("=", 1) for line in block.splitlines())
    started = int(shown["InactiveExitTimestampMonotonic"] or 0) / 1e6
    since = time.time() - (time.monotonic() - started) if started else 0.0
    path = Path(shown["FragmentPath"])
    # A target reads nothing.
    paths = watched(path) if path.suffix == ".service" else []
    return Unit(shown["Id"], shown["ActiveState"] == "active", since, paths)


def watched(unit_file: Path) -> list[Path]:
    """Return the unit's own file and the paths of its line `Watch=`, which only we read."""
    text = unit_file.read_text() if unit_file.is_file() else ""
    found = re.search(r"^Watch=(.*)$", text, re.MULTILINE)
    return [unit_file, *(Path(word) for word in (found.group(1).split() if found else []))]
