# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters over the list `s3fs_mounts`; each is documented in the .yml file of its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.sparkfleet.ec2.plugins.plugin_utils import _s3_mounts


def s3_mounts(mounts: Any, region: str = "", endpoint_url: str = "") -> list[dict[str, Any]]:
    """Return what the units of the mounts have to say."""
    found = _s3_mounts.problems(mounts)
    if found:
        raise AnsibleFilterError("\n".join(found))
    return _s3_mounts.normalized(mounts, region, endpoint_url)


class FilterModule:
    """Filters of sparkfleet.ec2."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"s3_mounts": s3_mounts, "s3_mount_problems": _s3_mounts.problems}
