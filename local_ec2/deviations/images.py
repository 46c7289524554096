# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images."""

from __future__ import annotations

from typing import Any

from moto.ec2.models import amis

from local_ec2.deviations import patch
from local_ec2.deviations.cloud import Cloud

ROOT_GIB, ROOT_TYPE = 8, "gp3"


def install(_cloud: Cloud) -> None:
    """DescribeImages: a root volume as Debian's images have it (moto: 15 GiB of standard that outlive the instance)."""

    def block_device_mappings(image: Any) -> list[dict[str, Any]]:
        ebs = {"VolumeSize": ROOT_GIB, "VolumeType": ROOT_TYPE, "DeleteOnTermination": True, "Encrypted": False}
        return [{"DeviceName": image.root_device_name, "Ebs": {**ebs, "SnapshotId": image.ebs_snapshot.id}}]

    patch.replace(amis.Ami, "block_device_mappings", property(block_device_mappings))
