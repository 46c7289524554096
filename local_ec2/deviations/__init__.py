# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where moto's EC2 is not like EC2, or not safe here. All of it is in this package; each item says why.

Every attribute of moto that is replaced must exist, so that a moto that has moved on fails at ``up`` rather than lies.
"""

from __future__ import annotations

from local_ec2.deviations import (
    addresses,
    console,
    errors,
    faults,
    images,
    instances,
    launches,
    metadata,
    permissions,
    placement_groups,
    security_groups,
    volumes,
)
from local_ec2.deviations.cloud import Cloud

__all__ = ["Cloud", "install"]


def install(cloud: Cloud) -> None:
    """Make moto act on ``cloud``; before the first request."""
    # What faults puts in the place of RunInstances has to be in there before launches replaces that.
    topics = (
        addresses,
        console,
        errors,
        faults,
        images,
        instances,
        launches,
        metadata,
        permissions,
        placement_groups,
        security_groups,
        volumes,
    )
    for topic in topics:
        topic.install(cloud)
