# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: one number for everything that decides what a node is set up to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def files_digest(root: Path) -> str:
    """Return the sha256 of the names and contents of all files of a role but its README and what Python left there."""
    digest = hashlib.sha256()
    ignored = {"README.md", "__pycache__"}
    for path in sorted(path for path in root.rglob("*") if path.is_file() and ignored.isdisjoint(path.parts)):
        digest.update(f"{path.relative_to(root)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return digest.hexdigest()


def state_digest(roles: Iterable[Path], settings: Mapping[str, Any]) -> str:
    """Return the sha256, in hex, of the roles' files and of the settings given to them."""
    state = {"roles": [files_digest(role) for role in roles], "settings": settings}
    return hashlib.sha256(json.dumps(state, sort_keys=True, default=str).encode()).hexdigest()


def slow_digest(name: str, secret: str) -> str:
    """Return a hash, in hex, of a secret setting of that name; it takes about 50 ms and 16 MiB."""
    return hashlib.scrypt(secret.encode(), salt=f"sparkfleet.ec2 {name}".encode(), n=2**14, r=8, p=1).hex()
