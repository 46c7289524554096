# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API acts on."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local_ec2.addresses import AddressPool
from local_ec2.faults import Faults
from local_ec2.nodes import Nodes
from local_ec2.settings import Settings
from local_ec2.tokens import TokenStore

if TYPE_CHECKING:
    from local_ec2.deviations.instances import NodeInstance


@dataclass
class Cloud:
    """What the API acts on."""

    settings: Settings
    nodes: Nodes
    images: dict[str, str]
    tokens: TokenStore = field(default_factory=TokenStore)
    faults: Faults = field(default_factory=Faults)
    # Those that have a node, by id.
    instances: dict[str, NodeInstance] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make what all regions share: there is one machine behind them."""
        self.launching = threading.Lock()
        self.private = AddressPool(self.settings.vpc_cidr)
        self.public = AddressPool(self.settings.public_cidr)

    def instance_at(self, address: str) -> NodeInstance | None:
        """Return the instance that has this private address."""
        return next((each for each in list(self.instances.values()) if each.private_ip == address), None)
