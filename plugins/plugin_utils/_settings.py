# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: judges values of role variables by the role's argument_specs."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

Problems = list[str]

EXPECTED = {
    "bool": "give true or false",
    "dict": "give a dictionary",
    "int": "give a whole number",
    "list": "give a list",
    "str": "give a text",
}


def shown(value: Any) -> str:
    """Return a value as a user would have typed it in YAML or JSON, shortened to one line."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}..."


def fits_type(value: Any, kind: str) -> bool:
    """Tell whether a value can stand for the type. Texts count by content: `-e` makes all values texts."""
    if kind == "int":
        return not isinstance(value, bool) and re.fullmatch(r"-?\d+", str(value).strip()) is not None
    if kind == "bool":
        return isinstance(value, bool) or str(value).lower() in {"yes", "no", "true", "false", "on", "off", "1", "0"}
    if kind in {"list", "dict"}:
        return isinstance(value, {"list": list, "dict": Mapping}[kind])
    return kind not in {"str", "path"} or not isinstance(value, (list, Mapping))


def check_option(name: str, value: Any, option: Mapping[str, Any], wanted: Mapping[str, Any]) -> Problems:
    """Return the lines to print for one variable: none when it fits.

    `option` is its entry in argument_specs; `wanted` may hold `pattern` (a regular expression for the whole text, or
    for each element of a list), `min` and `max` (for numbers), `expected` (what would do, in words) and `called` (the
    name under which users know the variable).
    """
    if value is None and not option.get("required"):
        return []
    kind = option.get("type", "str")
    hint = wanted.get("expected") or EXPECTED.get(kind, f"give a {kind}")
    if "choices" in option:
        hint = f"give one of {', '.join(map(str, option['choices']))}"
    if fits_type(value, kind) and _in_bounds(value, kind, option, wanted):
        return []
    return [f"{wanted.get('called', name)}: got {shown(value)}; {hint}"]


def _in_bounds(value: Any, kind: str, option: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tell whether a value of the right type has the right form and size."""
    elements = value if kind == "list" else [value]
    if "choices" in option and any(element not in option["choices"] for element in elements):
        return False
    if kind == "int":
        return wanted.get("min", int(value)) <= int(value) <= wanted.get("max", int(value))
    if kind == "list" and not all(fits_type(element, option.get("elements", "raw")) for element in elements):
        return False
    return "pattern" not in wanted or all(re.fullmatch(wanted["pattern"], str(element)) for element in elements)


def misspelt(known: Iterable[str], given: Iterable[str]) -> Problems:
    """Return a line for each given variable that is nearly, but not quite, the name of a known one."""
    known = set(known)
    # Only names with the role's prefix: a playbook has many variables of its own.
    prefixes = {name.split("_", 1)[0] + "_" for name in known}
    strangers = [name for name in given if name not in known and name.split("_", 1)[0] + "_" in prefixes]
    nearest = {name: difflib.get_close_matches(name, known, n=1, cutoff=0.9) for name in strangers}
    return [f"{name}: no such setting; did you mean {near[0]}?" for name, near in sorted(nearest.items()) if near]
