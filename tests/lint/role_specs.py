"""Compare each role's defaults with its argument_specs: same names, and the same value wherever the spec states one."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

ROLES = Path(__file__).resolve().parents[2] / "roles"


def problems(role: Path) -> list[str]:
    """Return a line for each difference between what a role documents and what it does."""
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text()) or {}
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    options = specs["main"]["options"]
    found = [f"{role.name}: {name} is in defaults or specs only" for name in sorted(defaults.keys() ^ options.keys())]
    for name in sorted(defaults.keys() & options.keys()):
        stated, value = options[name].get("default"), defaults[name]
        if stated != value and not (stated is None and "{{" in str(value)):
            found.append(f"{role.name}: {name} is {value!r} in defaults and {stated!r} in specs")
    entries = {path.stem for path in (role / "tasks").glob("*.yml")}
    found += [f"{role.name}: specs have {name}, tasks/ has no such file" for name in sorted(specs.keys() - entries)]
    return found + [
        f"{role.name}: {name} has other options than main" for name in specs if specs[name]["options"] != options
    ]


def main() -> int:
    """Print the differences; return the exit code."""
    found = [line for role in sorted(ROLES.iterdir()) if (role / "meta").is_dir() for line in problems(role)]
    sys.stdout.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
