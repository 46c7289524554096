# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: what the list `components` means."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.utils.collection_loader._collection_finder import _get_collection_role_path
from ansible_collections.sparkfleet.ec2.plugins.plugin_utils._settings import shown

COLLECTION = "sparkfleet.ec2"
ROLES = Path(__file__).resolve().parents[2] / "roles"
PHASES = ("preflight", "install", "configure", "service", "validate", "run")
HOSTS = ("all", "master", "workers")
FULL_NAME = r"\w+\.\w+\.\w+"

# What a component of ours stands on. A role of somebody else's may provide it in another way.
NEEDS = {"spark": "java", "hdfs": "java", "fuse_dfs": "hdfs", "nfs_gateway": "hdfs", "jupyter_ssl": "spark"}

# Whose proof is about the node that it runs on. The others prove the whole cluster, from the master.
OF_EACH_NODE = {"storage"}

# What other nodes have no part in.
ON_MASTER = {"web", "jupyter_ssl"}

# Under every component; it is there without being asked for.
FOUNDATION = "common"

# What comes along with a component, before it, without being asked for.
COMPANIONS = {"jupyter_ssl": "web", "ganglia": "web"}


def known_components() -> list[str]:
    """Return the names of our roles that a node can run: those with an install phase."""
    names = (path.parents[1].name for path in ROLES.glob("*/tasks/install.yml"))
    return sorted(name for name in names if name not in {FOUNDATION, *COMPANIONS.values()})


def role_path(name: str) -> Path | None:
    """Return the folder of a role given by its full name; None if it is not installed."""
    found = _get_collection_role_path(name)
    return Path(found[1]) if found else None


def entries(components: Any, called: str = "components") -> list[Any]:
    """Return the entries of a list, or of a text such as `-e components=java,spark` makes; else raise ValueError."""
    found = _parsed(components) if isinstance(components, str) else components
    if not isinstance(found, (list, tuple)):
        raise ValueError(f"{called}: got {shown(components)}; give names, as in -e {called}=java,spark")
    return list(found)


def _parsed(text: str) -> Any:
    """Return the list that a text stands for; anything else if it stands for none."""
    try:
        parsed = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    return [name.strip() for name in parsed.split(",") if name.strip()] if isinstance(parsed, str) else parsed


def problems(components: Any, installed: Any = None) -> list[str]:
    """Return a line for each entry of `components`, or of `validate_components` among `installed`, that will not do."""
    if installed is not None:
        return selection_problems(components, entries(installed))
    try:
        found = entries(components)
    except ValueError as error:
        return [str(error)]
    twice = [entry for number, entry in enumerate(found) if entry in found[:number]]
    return [
        *filter(None, map(problem, found)),
        *(f"components: {shown(entry)} is there twice" for entry in twice),
        *filter(None, (missing_ground(name, found) for name in found)),
    ]


def selection_problems(selection: Any, installed: list[Any]) -> list[str]:
    """Return a line for each entry of `validate_components` that is none of `components`."""
    try:
        found = entries(selection, "validate_components")
    except ValueError as error:
        return [str(error)]
    choice = ", ".join(entry if isinstance(entry, str) else shown(entry) for entry in installed)
    strangers = [entry for entry in found if entry not in installed]
    return [f"validate_components: {shown(entry)} is not in components; give any of {choice}" for entry in strangers]


def missing_ground(name: Any, found: list[Any]) -> str | None:
    """Return what is wrong if nothing in the list can be what a component of ours stands on."""
    ground = NEEDS.get(name) if isinstance(name, str) else None
    if ground is None or ground in found or any(isinstance(entry, Mapping) for entry in found):
        return None
    return f"components: {name} needs {ground}; give -e components={','.join([*grounds(name), name])}"


def grounds(name: str) -> list[str]:
    """Return all that a component of ours stands on, the lowest first."""
    ground = NEEDS.get(name)
    return [*grounds(ground), ground] if ground else []


def problem(entry: Any) -> str | None:
    """Return why an entry of `components` will not do; None if it will."""
    if isinstance(entry, str):
        return None if entry in known_components() else _unknown(entry)
    if not isinstance(entry, Mapping):
        return f"components: got {shown(entry)}; give names, or dictionaries with role, phase and hosts"
    role, phase, hosts = str(entry.get("role", "")), entry.get("phase", "service"), entry.get("hosts", "all")
    unknown = sorted(map(str, set(entry) - {"role", "phase", "hosts"}))
    reasons = {
        f"has no use for {', '.join(unknown)}; give role, phase and hosts only": unknown,
        "has no full name of a role; give one such as my.collection.role": not re.fullmatch(FULL_NAME, role),
        f"has an unknown phase; give one of {', '.join(PHASES)}": phase not in PHASES,
        f"has unknown hosts; give one of {', '.join(HOSTS)}": hosts not in HOSTS,
        f"names a role that is not there; install the collection that has {role}": role_path(role) is None,
    }
    return next((f"components: {shown(entry)} {reason}" for reason, holds in reasons.items() if holds), None)


def _unknown(name: str) -> str:
    """Return the line for a name that is no component."""
    if re.fullmatch(FULL_NAME, name):
        return f"components: {name} is no component of ours; for the role of that name give {{role: {name}}}"
    known = known_components()
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"give any of {', '.join(known)}"
    return f'components: there is no component "{name}"; {hint}'


def role_name(entry: str | Mapping[str, Any]) -> str:
    """Return the full name of the role behind an entry."""
    return f"{COLLECTION}.{entry}" if isinstance(entry, str) else str(entry["role"])


def walk(components: Iterable[str | Mapping[str, Any]]) -> list[str | Mapping[str, Any]]:
    """Return the entries with what comes along without being asked for, each where it is needed first."""
    found: list[str | Mapping[str, Any]] = [FOUNDATION]
    for entry in components:
        companion = COMPANIONS.get(entry) if isinstance(entry, str) else None
        if companion and companion not in found:
            found.append(companion)
        found.append(entry)
    return found


def of_node(
    components: Iterable[str | Mapping[str, Any]], node_role: str, alone: bool = False
) -> list[str | Mapping[str, Any]]:
    """Return the entries, with what comes along, that a node of the role `master` or `worker` has a part in.

    A master that is `alone` does the workers' part too.
    """
    hosts = {"all", "master" if node_role == "master" else "workers", *(["workers"] if alone else [])}
    return [entry for entry in walk(components) if _hosts(entry) in hosts]


def _hosts(entry: str | Mapping[str, Any]) -> str:
    """Return on which nodes an entry is: any of HOSTS."""
    if isinstance(entry, str):
        return "master" if entry in ON_MASTER else "all"
    return str(entry.get("hosts", "all"))


def steps(
    components: Iterable[str | Mapping[str, Any]], phase: str, node_role: str, alone: bool = False
) -> list[dict[str, str]]:
    """Return what to include, in order, for one phase on a node of the role `master` or `worker`.

    A master that is `alone` does the workers' part too.

    Each step is {"role": full name, "tasks_from": entry point}. One of our own roles without that phase is passed
    over, and most of their proofs, which use the whole cluster, are for the master only. A role of somebody else's is
    run whole in the phase that its entry names.
    """
    found = []
    for entry in of_node(components, node_role, alone):
        if isinstance(entry, str):
            ours = phase != "validate" or node_role == "master" or entry in OF_EACH_NODE
            if ours and (ROLES / entry / "tasks" / f"{phase}.yml").exists():
                found.append({"role": role_name(entry), "tasks_from": phase})
        elif entry.get("phase", "service") == phase:
            found.append({"role": role_name(entry), "tasks_from": "main"})
    return found
