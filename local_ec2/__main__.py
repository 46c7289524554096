# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m local_ec2``."""

from __future__ import annotations

import sys

from local_ec2.cli import main

sys.exit(main())
