# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The floor under every inventory plugin: hosts and variables are in a file, nobody is asked."""

from __future__ import annotations

DOCUMENTATION = r"""
name: floor
short_description: Adds the hosts of a JSON file
author: The sparkfleet authors (@sparkfleet)
description:
  - Reads a file C(floor.json) with the variables of each host, and adds them without a look.
"""

import json
from pathlib import Path
from typing import Any

from ansible.plugins.inventory import BaseInventoryPlugin


class InventoryModule(BaseInventoryPlugin):
    """Inventory source `floor`."""

    NAME = "floor"

    def verify_file(self, path: str) -> bool:
        """Take floor.json only."""
        return path.endswith("floor.json")

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Add all."""
        for host, variables in json.loads(Path(path).read_text()).items():
            inventory.add_host(host)
            for name, value in variables.items():
                inventory.set_variable(host, name, value)
