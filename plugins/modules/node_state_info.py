#!/usr/bin/python
# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_state_info
short_description: Tell what a node of a cluster was last set up to, and whether all of it runs
version_added: 0.1.0
author: The sparkfleet authors (@sparkfleet)
description:
  - Reads C(/etc/os-release) and C(/etc/sparkfleet/applied.json), which the service phase leaves behind, and asks
    systemd about the units that the node's targets want. One such question decides whether a node has to be walked
    again.
options: {}
extends_documentation_fragment:
  - sparkfleet.ec2.reads_only
"""

EXAMPLES = r"""
- name: Ask the node what it is
  sparkfleet.ec2.node_state_info:
  register: node
"""

RETURN = r"""
applied:
  description: What the file holds; empty where the node was never set up or the file is damaged.
  returned: always
  type: dict
  sample:
    hash: 9f2c1b...
    roles: [worker]
validated:
  description: What the last proof that the cluster works was about; empty if there is none. Kept on the master.
  returned: always
  type: str
distribution:
  description: ID and VERSION_ID of the node's distribution.
  returned: always
  type: str
  sample: debian 12
inactive:
  description:
    - The boot unit, the targets of the node's roles and the units that they want, as far as they are not active or
      run on settings that have changed since.
  returned: always
  type: list
  elements: str
  sample: ["spark-worker.service"]
packages:
  description: Names of the packages that are installed, sorted.
  returned: always
  type: list
  elements: str
  sample: [openjdk-17-jre-headless, rclone]
problems:
  description:
    - What components found at the node's boot that keeps it from being whole, though it runs, such as a disk with
      something of somebody else's on it. A line for each.
  returned: always
  type: list
  elements: str
"""

import platform

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkfleet.ec2.plugins.module_utils._node import (
    APPLIED,
    PROBLEMS,
    VALIDATED,
    read_applied,
    read_problems,
    units,
)


def installed(module: AnsibleModule) -> list[str]:
    """Names of the packages that dpkg has installed, and wants to keep."""
    listing = ["dpkg-query", "--show", "--showformat", "${db:Status-Abbrev}${Package}\\n"]
    _code, out, _said = module.run_command(listing, check_rc=True)
    return sorted(line.split()[1] for line in out.splitlines() if line.startswith("ii "))


def main() -> None:
    """Report; nothing is changed."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    applied = read_applied(APPLIED)
    found = units(module, applied["roles"]) if applied.get("roles") else []
    release = platform.freedesktop_os_release()
    module.exit_json(
        changed=False,
        applied=applied,
        validated=VALIDATED.read_text().strip() if VALIDATED.exists() else "",
        distribution=f"{release['ID']} {release.get('VERSION_ID', '')}".strip(),
        inactive=[unit.name for unit in found if not unit.active or unit.stale()],
        packages=installed(module),
        problems=read_problems(PROBLEMS),
    )


if __name__ == "__main__":
    main()
