# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026, The sparkfleet authors
"""Check the options of an inventory file. This plugin util is PRIVATE to the collection.

Ansible passes over unknown options and reads "perhaps" as false and "a" as ["a"].
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from ansible.errors import AnsibleError

_TYPES: dict[str | None, tuple[type, str]] = {
    "bool": (bool, "true or false"),
    "dict": (dict, "a mapping of names to values"),
    "int": (int, "a whole number"),
    "list": (list, "a list, as in [one, two]"),
    "path": (str, "a path"),
    "str": (str, "a string"),
}


def check_options(config: object, plugin: str, definitions: dict[str, dict[str, Any]]) -> None:
    """Raise AnsibleError for the first thing in `config`, a file's content, that the plugin does not take."""
    if not isinstance(config, Mapping) or config.get("plugin") != plugin:
        raise AnsibleError(f"the file must hold at least the line 'plugin: {plugin}'")
    by_name = {name: one for key, one in definitions.items() for name in (key, *one.get("aliases", []))}
    for option, value in config.items():
        if option not in by_name:
            near = get_close_matches(str(option), by_name, n=1) or [", ".join(sorted(definitions))]
            raise AnsibleError(f"there is no option {option!r}, perhaps you mean {near[0]}")
        wanted = value is not None and _wanted_instead(value, by_name[option])
        if wanted:
            raise AnsibleError(f"option {option} takes {wanted}, and not {value!r}")


def _wanted_instead(value: Any, definition: dict[str, Any]) -> str | None:
    """Say what the option wants, None if `value` is that."""
    kind, wanted = _TYPES.get(definition.get("type"), (object, ""))
    if not isinstance(value, kind):
        return wanted
    if isinstance(value, list) and definition.get("elements") == "str":
        return None if all(isinstance(one, str) for one in value) else "a list of strings"
    choices = definition.get("choices")
    return f"one of {', '.join(choices)}" if choices and value not in choices else None
