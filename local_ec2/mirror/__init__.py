# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The artifact mirror: what nodes download, in Apache's path layout, with checksum files."""

from __future__ import annotations

from local_ec2.mirror import hadoop, spark

# Another archive is one more recipe here.
ARCHIVES = (spark.ARCHIVE, hadoop.ARCHIVE, hadoop.NFS_ARCHIVE)
