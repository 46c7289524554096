# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Security groups."""

from __future__ import annotations

from typing import Any

from moto.ec2.exceptions import DependencyViolationError
from moto.ec2.models import security_groups

from local_ec2.deviations import patch
from local_ec2.deviations.cloud import Cloud


def install(_cloud: Cloud) -> None:
    """DeleteSecurityGroup: refused while an interface has the group (moto deletes it under running instances)."""

    def delete(backend: Any, vpc_id: str | None, group_id: str) -> None:
        if any(group.id == group_id for nic in backend.enis.values() for group in nic.group_set):
            raise DependencyViolationError(f"resource {group_id} has a dependent object")
        delete_group(backend, vpc_id, group_id)

    delete_group = patch.replace(security_groups.SecurityGroupBackend, "_delete_security_group", delete)
