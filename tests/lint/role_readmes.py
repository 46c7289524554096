"""Keep the README of each role in step with its meta/argument_specs.yml.

Usage: role_readmes.py [--write]

What stands above MARKER is written by hand, what follows is made here. Without --write, says which README differs.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parents[2] / "roles"
MARKER = "<!-- From here on made from meta/argument_specs.yml by tests/lint/role_readmes.py --write -->"
SECTIONS = ("## Requirements", "## Example")
# Ansible's markup that names something: option, value, code, environment variable, plugin, module.
NAMES = re.compile(r"\b[OVCEPM]\(((?:[^\\)]|\\.)*)\)")


def prose(text: str | list[str]) -> str:
    """Return a description as one line of Markdown that fits a cell of a table."""
    line = " ".join(text if isinstance(text, list) else [text])
    named = NAMES.sub(lambda match: f"`{re.sub(r'#[a-z]+$', '', match[1])}`", line)
    return re.sub(r"\s+", " ", named).strip().replace("|", r"\|")


def literal(value: Any) -> str:
    """Return a value as one writes it in YAML, marked as code."""
    if isinstance(value, str) and value:
        return f"`{value}`"
    return f"`{json.dumps(value)}`"


def default(option: dict[str, Any]) -> str:
    """Return the cell about the default of an option."""
    if option.get("required"):
        return "required"
    return literal(option["default"]) if "default" in option else "see description"


def rows(options: dict[str, Any], parent: str = "") -> Iterator[str]:
    """Yield a row for each option, and after it one for each of those inside it."""
    for name, option in options.items():
        kind = f"list of {option.get('elements', 'raw')}" if option["type"] == "list" else option["type"]
        choices = f" One of {', '.join(map(literal, option['choices']))}." if "choices" in option else ""
        yield f"| `{parent}{name}` | {kind} | {default(option)} | {prose(option['description'])}{choices} |"
        yield from rows(option.get("options", {}), f"{parent}{name}.")


def generated(specs: dict[str, Any]) -> str:
    """Return the part of a README that is made from the specs."""
    table = ["| Variable | Type | Default | Description |", "|---|---|---|---|", *rows(specs["main"]["options"])]
    entries = [f"| `{name}` | {prose(entry['short_description'])} |" for name, entry in specs.items()]
    parts = ["| Entry point | For |", "|---|---|", *entries]
    return "\n".join([MARKER, "", "## Variables", "", *table, "", "## Entry points", "", *parts, ""])


def problems(role: Path, write: bool) -> list[str]:
    """Return a line for each thing that is wrong with the README of a role; first bring it up to date if asked to."""
    readme = role / "README.md"
    if not readme.exists():
        return [f"{role.name}: there is no README.md; write one that ends in the line {MARKER}"]
    found = readme.read_text()
    head, marker, _rest = found.partition(MARKER)
    wanted = head + generated(yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"])
    missing = [f"{role.name}: README.md has no section {title}" for title in SECTIONS if f"\n{title}\n" not in head]
    if not marker:
        return [*missing, f"{role.name}: README.md lacks the line {MARKER}"]
    if write:
        readme.write_text(wanted)
    elif found != wanted:
        missing.append(f"{role.name}: README.md differs from the specs; run tests/lint/role_readmes.py --write")
    return missing


def main() -> int:
    """Print what is wrong; return the exit code."""
    write = sys.argv[1:] == ["--write"]
    found = [line for role in sorted(ROLES.iterdir()) if (role / "meta").is_dir() for line in problems(role, write)]
    sys.stdout.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
