# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters over files of certificates; each is documented in the .yml file of its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def certificate_problems(certificate: str, key: str) -> list[str]:
    """Return a line for each thing that is wrong with the files of a certificate and of its key."""
    # Ansible loads all filters for each task on each host, and cryptography takes it longer than all of them.
    from ansible_collections.sparkfleet.ec2.plugins.plugin_utils import _certificates  # noqa: PLC0415

    return _certificates.problems(certificate, key)


class FilterModule:
    """Filters of sparkfleet.ec2."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"certificate_problems": certificate_problems}
