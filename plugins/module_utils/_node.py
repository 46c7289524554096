# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: what a node says of itself."""

from __future__ import annotations

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

APPLIED = Path("/etc/sparkfleet/applied.json")


def read_applied(path: Path) -> dict:
    """Return the content of applied.json; {} if there is none or it is no JSON object."""
    try:
        applied = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return applied if isinstance(applied, dict) else {}


def inactive_units(module: AnsibleModule, roles: list[str]) -> list[str]:
    """Return the targets of the roles, and the units they want, that are not active."""
    if not roles:
        return []
    targets = [f"sparkfleet-{role}.target" for role in roles]
    _rc, wants, _err = module.run_command(["systemctl", "show", "--property=Wants", "--value", *targets])
    units = sorted({*targets, *wants.split()})
    _rc, states, _err = module.run_command(["systemctl", "is-active", *units])
    return [unit for unit, state in zip(units, states.split(), strict=True) if state != "active"]
