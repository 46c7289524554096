# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Downloads: from the first of several URLs that works, tried again where that may help."""

from __future__ import annotations

import http.client
import time
import urllib.error
from collections.abc import Callable, Iterator
from typing import TypeVar

from ansible.module_utils.urls import open_url

CHUNK = 1 << 20

T = TypeVar("T")


class UnavailableError(Exception):
    """This URL will not do; another may. The text goes in parentheses after the URL."""


class BrokenTransferError(UnavailableError):
    """This URL may do when tried again."""


def reason(error: Exception) -> str:
    """Why a request failed, in a few words."""
    cause = getattr(error, "reason", None) or error
    text = (getattr(cause, "strerror", None) or str(cause) or type(cause).__name__).strip()
    return text[:1].lower() + text[1:]


def opened(url: str, timeout: int, accept: str = "*/*") -> http.client.HTTPResponse:
    """The response to GET URL. Raises UnavailableError or BrokenTransferError."""
    try:
        return open_url(url, timeout=timeout, decompress=False, http_agent="sparkfleet.ec2", headers={"Accept": accept})
    except urllib.error.HTTPError as error:
        again = error.code in (408, 429) or error.code >= 500
        raise (BrokenTransferError if again else UnavailableError)(f"HTTP {error.code}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UnavailableError(reason(error)) from error


def chunks(response: http.client.HTTPResponse, timeout: int) -> Iterator[bytes]:
    """The body piece by piece. Raises BrokenTransferError when it ends early or stalls."""
    wanted = response.headers.get("Content-Length")
    got = 0
    try:
        while chunk := response.read(CHUNK):
            got += len(chunk)
            yield chunk
    except TimeoutError as error:
        raise BrokenTransferError(f"no data for {timeout} s after {got} bytes") from error
    except (OSError, http.client.HTTPException) as error:
        raise BrokenTransferError(f"{reason(error)} after {got} bytes") from error
    if wanted is not None and got != int(wanted):
        raise BrokenTransferError(f"the transfer ended after {got} of {wanted} bytes")


def first_that_works(
    urls: list[str], retries: int, work: Callable[[str], T], failures: dict[str, UnavailableError]
) -> T | None:
    """WORK's result for the first of URLS that will do, or None; FAILURES gets the reason against others."""
    for url in urls:
        for attempt in range(retries + 1):
            try:
                return work(url)
            except UnavailableError as error:
                failures[url] = error
                if not isinstance(error, BrokenTransferError):
                    break
                if attempt < retries:
                    time.sleep(2**attempt)
    return None
