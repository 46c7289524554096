# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation of modules that only ask has in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of sparkfleet.ec2."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    support: full
    description: Changes nothing in any case.
  diff_mode:
    support: N/A
    description: Changes nothing in any case.
  idempotent:
    support: full
    description: Changes nothing in any case.
"""
