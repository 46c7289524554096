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
    patch.replace(amis, "Ami", NodeImage)


class NodeImage(amis.Ami):
    """An image with the root volume of Debian's images."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Have a root snapshot of the right size."""
        super().__init__(*args, **kwargs)
        self.ebs_snapshot.volume.size = ROOT_GIB

    @property
    def block_device_mappings(self) -> list[dict[str, Any]]:
        """The root volume."""
        ebs = {"VolumeSize": ROOT_GIB, "VolumeType": ROOT_TYPE, "DeleteOnTermination": True, "Encrypted": False}
        return [{"DeviceName": self.root_device_name, "Ebs": {**ebs, "SnapshotId": self.ebs_snapshot.id}}]
