# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters for user-data; each is documented in the .yml file of its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.sparkfleet.ec2.plugins.plugin_utils import _user_data


def merged_user_data(parts: Any) -> str:
    """Return one user-data for all parts."""
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise AnsibleFilterError(f"merged_user_data takes a list of texts, not {parts!r}")
    return _user_data.merged(parts)


class FilterModule:
    """Filters of sparkfleet.ec2."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"merged_user_data": merged_user_data, "user_data_problems": _user_data.problems}
