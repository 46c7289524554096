# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters over the list `components`; each is documented in the .yml file of its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.sparkfleet.ec2.plugins.plugin_utils import _components


def _entries(components: Any) -> list[Any]:
    """Return the entries, or raise if there are none to be had."""
    try:
        return _components.entries(components)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


def component_parts(components: Any, node_role: str, alone: bool = False) -> list[dict[str, Any]]:
    """Return what a node is set up with, the foundation first."""
    entries = _components.of_node(_entries(components), node_role, alone)
    return [{**({} if isinstance(entry, str) else entry), "role": _components.role_name(entry)} for entry in entries]


def component_roles(components: Any) -> list[str]:
    """Return the full names of the roles behind a list, the foundation first."""
    return [_components.role_name(entry) for entry in _components.walk(_entries(components))]


def component_steps(components: Any, phase: str, node_role: str, alone: bool = False) -> list[dict[str, str]]:
    """Return what to include for one phase on a node."""
    return _components.steps(_entries(components), phase, node_role, alone)


class FilterModule:
    """Filters of sparkfleet.ec2."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "component_parts": component_parts,
            "component_problems": _components.problems,
            "component_roles": component_roles,
            "component_steps": component_steps,
        }
