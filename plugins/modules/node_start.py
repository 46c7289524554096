#!/usr/bin/python
# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_start
short_description: Start what a node of a cluster runs, wait until all of it answers, and note what was applied
version_added: 0.1.0
author: The sparkfleet authors (@sparkfleet)
description:
  - Starts the systemd targets of the node's roles and waits for every unit that they want.
    A unit counts as active when its daemon answers, because the units wait for their port.
  - Restarts what runs on settings that have changed since it was started. That is seen on the node itself, where
    each unit names the paths that it reads in a line C(Watch=) of a section C([X-Sparkfleet]). So it holds for a run
    that was cut off before it came to the restart, too.
  - Then, and only then, writes down what was applied, for M(sparkfleet.ec2.node_state_info) to read.
  - If a unit does not come up, fails in one line that names it and the last words of its journal, where errors count
    more than what was said after them.
options:
  roles:
    description: Roles that the node plays. Each stands for C(sparkfleet-<role>.target).
    type: list
    elements: str
    required: true
  hash:
    description: What was applied, as M(sparkfleet.ec2.node_state_info) is to return it. Empty means unknown.
    type: str
    default: ""
  timeout:
    description: Seconds in which one more unit at least has to come up, as long as any is down.
    type: int
    default: 120
attributes:
  check_mode:
    support: full
    description: Says whether anything would have to be started or noted.
"""

EXAMPLES = r"""
- name: Start what a worker runs
  sparkfleet.ec2.node_start:
    roles: [worker]
"""

RETURN = r"""
started:
  description: Units that were not active before, or that were restarted.
  returned: always
  type: list
  elements: str
  sample: ["spark-worker.service"]
"""

import json
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkfleet.ec2.plugins.module_utils._node import (
    APPLIED,
    BOOT_UNIT,
    Unit,
    read_applied,
    targets,
    units,
)


def systemctl(module: AnsibleModule, *arguments: str) -> None:
    """Run systemctl; leave through fail_json if it fails."""
    rc, _out, err = module.run_command(["systemctl", *arguments])
    if rc:
        failed = next((word for word in arguments if word.endswith(".service")), "systemd")
        module.fail_json(msg=f"{failed} does not start: {last_words(module, failed)}", stderr=err)


def start(module: AnsibleModule, roles: list[str], found: list[Unit]) -> None:
    """Bring everything up on the settings as they are now; leave through fail_json if a unit stays down."""
    systemctl(module, "daemon-reload")
    stale = any(unit.stale() for unit in found)
    # The boot unit turns settings of all components into what their daemons read, so it may leave them stale.
    systemctl(module, "restart" if stale else "start", BOOT_UNIT)
    daemons = [unit.name for unit in found if unit.stale() and unit.name != BOOT_UNIT]
    if daemons:
        systemctl(module, "try-restart", "--no-block", *daemons)
    systemctl(module, "start", "--no-block", *targets(roles))
    fewest, since = len(found) + 1, time.monotonic()
    while down := [unit.name for unit in units(module, roles) if not unit.active]:
        # Many daemons take long together where cores are few.
        if len(down) < fewest:
            fewest, since = len(down), time.monotonic()
        if time.monotonic() > since + module.params["timeout"]:
            module.fail_json(msg="; ".join(f"{name} does not run: {last_words(module, name)}" for name in down))
        time.sleep(0.3)


def last_words(module: AnsibleModule, unit: str) -> str:
    """Return the last error of the last minute in the unit's own journal, else its last line, else systemd's about it.

    A unit that is started again and again has said other things since.
    """
    command = ["journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=1"]
    errors = ["--priority=err", "--since=-1min", f"_SYSTEMD_UNIT={unit}"]
    for match in (errors, [f"_SYSTEMD_UNIT={unit}"], [f"UNIT={unit}"]):
        _rc, out, _err = module.run_command([*command, *match])
        if out.strip():
            return out.strip()
    return f"its journal is empty; see systemctl status {unit}"


def note(applied: dict[str, object]) -> None:
    """Write down what was applied, in one go."""
    part = APPLIED.with_suffix(".part")
    part.write_text(json.dumps(applied, sort_keys=True) + "\n")
    part.replace(APPLIED)


def main() -> None:
    """Start, wait and note."""
    module = AnsibleModule(
        argument_spec={
            "roles": {"type": "list", "elements": "str", "required": True},
            "hash": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    roles = module.params["roles"]
    wanted = {"hash": module.params["hash"], "roles": roles}
    found = units(module, roles)
    started = sorted(unit.name for unit in found if not unit.active or unit.stale())
    changed = bool(started) or read_applied(APPLIED) != wanted
    if changed and not module.check_mode:
        if started:
            start(module, roles, found)
        note(wanted)
    module.exit_json(changed=changed, started=started)


if __name__ == "__main__":
    main()
