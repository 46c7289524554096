# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine images that can be launched: Debian's names and owner, our node image behind them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

# https://wiki.debian.org/Cloud/AmazonEC2Image names the account.
DEBIAN_ACCOUNT = "136693071363"
NEWEST = "debian-12-amd64-20261015-2264"
RELEASES = {NEWEST: "2026-10-15T06:52:41.000Z", "debian-12-amd64-20260910-2229": "2026-09-10T07:03:18.000Z"}


def ami_id(name: str) -> str:
    """Return the id of the image of this name, always the same."""
    return f"ami-{hashlib.sha256(name.encode()).hexdigest()[:17]}"


def bootable(image: str) -> dict[str, str]:
    """Map the AMIs that RunInstances takes to the podman image behind each."""
    return {ami_id(NEWEST): image}


def write_amis(path: Path) -> None:
    """Write the file that moto registers images from (MOTO_AMIS_PATH)."""
    amis = [
        {
            "ami_id": ami_id(name),
            "name": name,
            "description": "Debian 12 (20261015-2264)" if name == NEWEST else "Debian 12 (20260910-2229)",
            "owner_id": DEBIAN_ACCOUNT,
            "image_location": f"amazon/{name}",
            "public": True,
            "architecture": "x86_64",
            "virtualization_type": "hvm",
            "hypervisor": "xen",
            "root_device_type": "ebs",
            "root_device_name": "/dev/xvda",
            "sriov": "simple",
            "boot_mode": "uefi-preferred",
            "creation_date": created,
        }
        for name, created in RELEASES.items()
    ]
    path.write_text(json.dumps(amis), encoding="utf-8")
