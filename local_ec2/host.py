# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host must have before local EC2 can be up."""

from __future__ import annotations

import os
import re
import shutil

from local_ec2.podman import cgroup_v1
from local_ec2.run import run
from local_ec2.settings import LocalEC2Error

# Command and the Debian or Ubuntu package that has it.
TOOLS = {"podman": "podman", "mmdebstrap": "mmdebstrap", "nft": "nftables", "ip": "iproute2"}
PODMAN_MAJOR = 4


def check_root() -> None:
    """Refuse to work for anybody else: bridges and system containers are root's."""
    if os.geteuid():
        raise LocalEC2Error("local EC2 needs root (network namespaces, podman): run it as root or with sudo -E")


def check_tools() -> None:
    """Refuse to start without the tools, naming the packages."""
    tools = {**TOOLS, "runc": "runc"} if cgroup_v1() else TOOLS
    missing = [package for command, package in tools.items() if not shutil.which(command)]
    if missing:
        raise LocalEC2Error(f"not installed here: run `apt-get install --yes {' '.join(missing)}`")
    version = run("podman", "--version").strip()
    found = re.search(r"(\d+)\.", version)
    if not found or int(found[1]) < PODMAN_MAJOR:
        raise LocalEC2Error(f"{version} is too old: {PODMAN_MAJOR}.0 or later is needed")
