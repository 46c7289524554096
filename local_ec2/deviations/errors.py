# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors as the API gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.ec2.exceptions import EC2ClientError

from local_ec2.addresses import AddressError


def unsupported(what: str) -> EC2ClientError:
    """Return the API's error for what is not emulated."""
    return EC2ClientError("UnsupportedOperation", f"Local EC2 has no {what}")


def as_ec2(act: Callable[[], Any]) -> Any:
    """Return what ``act`` returns; an AddressError becomes the API's."""
    try:
        return act()
    except AddressError as error:
        raise EC2ClientError(error.code, str(error)) from error
