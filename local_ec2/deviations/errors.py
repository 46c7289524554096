# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors as the API gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses import EC2Response

from local_ec2.addresses import AddressError
from local_ec2.deviations import patch
from local_ec2.deviations.cloud import Cloud

# Clients try again by themselves after some of them.
STATUS = {
    "AuthFailure": 401,
    "UnauthorizedOperation": 403,
    "InternalError": 500,
    "InternalFailure": 500,
    "InsufficientInstanceCapacity": 500,
    "RequestLimitExceeded": 503,
    "ServiceUnavailable": 503,
    "Unavailable": 503,
}


def install(_cloud: Cloud) -> None:
    """Any error: with EC2's HTTP status (moto: 400 for all). No answer is changed by that to another request."""

    def init(response: Any, *args: Any, **kwargs: Any) -> None:
        make(response, *args, **kwargs)
        # moto writes into the one of the class what an answer is to leave out, while others read it.
        response.RESPONSE_KEY_PATH_TO_TRANSFORMER = {**response.RESPONSE_KEY_PATH_TO_TRANSFORMER}

    def serialized(response: Any, answer: ActionResult) -> tuple[int, Any, Any]:
        status, headers, body = serialize(response, answer)
        return STATUS.get(getattr(answer.result, "code", ""), status), headers, body

    make = patch.replace(EC2Response, "__init__", init)
    serialize = patch.replace(EC2Response, "serialized", serialized)


def unsupported(what: str) -> EC2ClientError:
    """Return the API's error for what is not emulated."""
    return EC2ClientError("UnsupportedOperation", f"Local EC2 has no {what}")


def as_ec2(act: Callable[[], Any]) -> Any:
    """Return what ``act`` returns; an AddressError becomes the API's."""
    try:
        return act()
    except AddressError as error:
        raise EC2ClientError(error.code, str(error)) from error
