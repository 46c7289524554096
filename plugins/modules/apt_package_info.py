#!/usr/bin/python
# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask apt whether packages can be installed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_package_info
short_description: Ask apt whether packages can be installed
version_added: 0.2.0
author: The sparkfleet authors (@sparkfleet)
description:
  - Lets apt work out the installation of packages, all together, by the lists of packages that the node has. Nothing is
    downloaded or installed.
options:
  packages:
    description: Lists of packages, as C(name) or C(name=version). The keys name the settings that hold the lists;
      the lines returned begin with the name of the one that will not do.
    type: dict
    required: true
extends_documentation_fragment:
  - sparkfleet.ec2.reads_only
"""

EXAMPLES = r"""
- name: Ask for a package
  sparkfleet.ec2.apt_package_info:
    packages:
      our_packages: [htop]
  register: asked
"""

RETURN = r"""
problems:
  description: A line for each package that cannot be had, with what would do.
  returned: always
  type: list
  elements: str
  sample: ["our_packages: the node's distribution has no package htpo; did you mean htop?"]
"""

import difflib
import re
from collections.abc import Iterable

from ansible.module_utils.basic import AnsibleModule

# As apt-get says it, and what of it is the package.
MISSING = re.compile(
    r"^E: (?:Unable to locate package (\S+)"
    r"|Package '([^']+)' has no installation candidate"
    r"|Version '[^']*' for '([^']+)' was not found"
    r"|Couldn't find any package by \w+ '([^']+)')",
    re.MULTILINE,
)
SIMULATE = ["apt-get", "install", "--simulate", "--quiet=2", "--no-install-recommends", "-o", "Debug::NoLocking=1"]


def missing(said: str) -> list[str]:
    """Return the packages that apt-get does not know, or not in that version; each once."""
    found = (next(filter(None, match.groups())) for match in MISSING.finditer(said))
    return list(dict.fromkeys(found))


def near(name: str, known: Iterable[str]) -> str:
    """Return what is most like a name, as a question; else where to look."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    return f"did you mean {found[0]}?" if found else "see https://packages.debian.org or https://packages.ubuntu.com"


def lines(absent: list[str], packages: dict[str, list[str]], known: list[str]) -> list[str]:
    """Return a line for each package that there is not."""
    found = []
    for setting, names in packages.items():
        for given in names:
            name = given.partition("=")[0]
            if name in absent and "=" in given and name in known:
                found.append(f"{setting}: there is no {given} for the node; leave the version out")
            elif name in absent:
                others = [other for other in known if other != name]
                found.append(f"{setting}: the node's distribution has no package {name}; {near(name, others)}")
    return found


def main() -> None:
    """Ask."""
    module = AnsibleModule(argument_spec={"packages": {"type": "dict", "required": True}}, supports_check_mode=True)
    packages = module.params["packages"]
    module.run_command_environ_update = {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    code, _out, said = module.run_command([*SIMULATE, *(name for names in packages.values() for name in names)])
    problems = []
    if code:
        _code, names, _said = module.run_command(["apt-cache", "pkgnames"], check_rc=True)
        problems = lines(missing(said), packages, names.split())
    if code and not problems:
        # They are there, but not to be had together.
        why = " ".join(line.removeprefix("E: ") for line in said.splitlines() if line.startswith("E: "))
        settings = ", ".join(setting for setting, names in packages.items() if names)
        problems = [f"{settings}: apt cannot install these together: {why or said.strip()}"]
    module.exit_json(changed=False, problems=problems)


if __name__ == "__main__":
    main()
