# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: judges values of role variables by the role's argument_specs."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network
from typing import Any

Problems = list[str]

EXPECTED = {
    "bool": "give true or false",
    "dict": """give a dictionary, as in -e '{{"{name}": {{"key": "value"}}}}'""",
    "int": "give a whole number",
    "list": """give a list, as in -e '{{"{name}": ["one", "two"]}}'""",
    "str": "give a text",
}


def shown(value: Any) -> str:
    """Return a value as a user would have typed it in YAML or JSON, shortened to one line."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}..."


def fits_type(value: Any, kind: str) -> bool:
    """Tell whether a value can stand for the type. Texts count by content: `-e` makes all values texts."""
    if kind == "int":
        return re.fullmatch(r"-?\d+", str(value).strip()) is not None
    if kind == "bool":
        return isinstance(value, bool) or str(value).lower() in {"yes", "no", "true", "false", "on", "off", "1", "0"}
    if kind in {"list", "dict"}:
        return isinstance(value, {"list": list, "dict": Mapping}[kind])
    return kind not in {"str", "path"} or not isinstance(value, (list, Mapping))


def check_option(name: str, value: Any, option: Mapping[str, Any], wanted: Mapping[str, Any]) -> Problems:
    """Return the lines to print for one variable: none when it fits.

    `value` is None where it is not set. `option` is its entry in argument_specs; `wanted` may hold `pattern` (a regular
    expression for the whole text), `network` (whether it has to be an IPv4 network), `min` and `max` (for whole
    numbers), all for each element of a list, and `expected` (what would do, in words) and `called` (the name under
    which users know the variable).
    """
    kind = option.get("type", "str")
    hint = wanted.get("expected") or EXPECTED.get(kind, f"give a {kind}").format(name=name)
    if "choices" in option:
        hint = f"give one of {', '.join(map(str, option['choices']))}"
    called = wanted.get("called", name)
    if value is None:
        return [f"{called}: is not set; {hint}"] if option.get("required") else []
    if fits_type(value, kind) and _elements_fit(value, kind, option, wanted):
        return []
    given = "a value that is kept secret" if option.get("no_log") else shown(value)
    return [f"{called}: got {given}; {hint}"]


def _elements_fit(value: Any, kind: str, option: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tell whether a value of the right type, or each element of a list, is one of the choices, in bounds, in form."""
    if kind == "list":
        kind = option.get("elements", "raw")
        return all(fits_type(one, kind) and _elements_fit(one, kind, option, wanted) for one in value)
    if "choices" in option and str(value) not in map(str, option["choices"]):
        return False
    if kind == "int" and not wanted.get("min", int(value)) <= int(value) <= wanted.get("max", int(value)):
        return False
    if wanted.get("network") and not is_network(str(value)):
        return False
    return "pattern" not in wanted or re.fullmatch(wanted["pattern"], str(value)) is not None


def is_network(text: str) -> bool:
    """Tell whether a text is an IPv4 network with its size, and not the address of something in it."""
    try:
        return str(IPv4Network(text)) == text
    except ValueError:
        return False


def misspelt(known: Iterable[str], given: Iterable[str], cutoff: float = 0.9) -> Problems:
    """Return a line for each given variable that is nearly, but not quite, the name of a known one.

    `cutoff`: how alike they have to be, from 0 to 1.
    """
    known = set(known)
    # Only names with the role's prefix: a playbook has many variables of its own.
    families = set(map(_family, known))
    strangers = [name for name in given if name not in known and _family(name) in families]
    nearest = {name: difflib.get_close_matches(name, known, n=1, cutoff=cutoff) for name in strangers}
    return [f"{name}: no such setting; did you mean {near[0]}?" for name, near in sorted(nearest.items()) if near]


def _family(name: str) -> str:
    """Return the prefix of a variable: `spark` of spark_conf, "" of workers."""
    return name.partition("_")[0] if "_" in name else ""
