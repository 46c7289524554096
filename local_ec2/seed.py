# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's NoCloud seed: what cloud-init gets from EC2's metadata service on a real instance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path


def write_seed(folder: Path, instance_id: str, hostname: str, keys: Sequence[str], user_data: bytes) -> None:
    """Write meta-data (JSON is YAML) and user-data, as it was given to RunInstances, into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    meta = {"instance-id": instance_id, "local-hostname": hostname, "public-keys": list(keys)}
    (folder / "meta-data").write_text(json.dumps(meta), encoding="utf-8")
    (folder / "user-data").write_bytes(user_data)
