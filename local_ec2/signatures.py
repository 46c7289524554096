# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signature version 4, as the service has to check it: in the Authorization header or in the query (presigned URLs)."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

ALGORITHM = "AWS4-HMAC-SHA256"
TIME = "%Y%m%dT%H%M%SZ"
# How far a client's clock may be off, either way.
SKEW = timedelta(minutes=15)
SHA256 = re.compile(r"[0-9a-f]{64}")
AUTHORIZATION = re.compile(
    rf"{ALGORITHM}\s+Credential=(?P<credential>[^,\s]+),\s*SignedHeaders=(?P<signed>[^,\s]+),\s*Signature=(?P<signature>\w+)"
)


class RefusedError(Exception):
    """A request whose sender is not who it says; the text is one of the keys of the services' error tables."""


@dataclass(frozen=True)
class Request:
    """An HTTP request as it came over the wire: path and query still encoded, names of headers in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """Decoded query, in order."""
        pairs = (pair.partition("=") for pair in self.query.split("&") if pair)
        return [(unquote(name), unquote(value)) for name, _, value in pairs]


@dataclass(frozen=True)
class Signature:
    """What a request says about who signed it."""

    key_id: str
    scope: str
    time: datetime
    signed: tuple[str, ...]
    value: str
    token: str | None
    lifetime: timedelta | None = None

    @property
    def region(self) -> str:
        """The region that the request was signed for."""
        return self.scope.split("/")[1]

    @property
    def service(self) -> str:
        """The service that the request was signed for."""
        return self.scope.split("/")[2].lower()


def read(request: Request) -> Signature:
    """Return the signature of a request; refused when there is none, or an older kind."""
    query, headers = dict(request.parameters), request.headers
    if "X-Amz-Signature" in query:
        fields = ("Credential", "Date", "SignedHeaders", "Signature", "Expires")
        values = [query.get(f"X-Amz-{field}") for field in fields]
        credential, time, signed, value, expires = (text or "" for text in values)
        token, lifetime = query.get("X-Amz-Security-Token"), timedelta(seconds=_number(expires))
    elif authorization := headers.get("authorization"):
        found = AUTHORIZATION.fullmatch(authorization.strip())
        if not found:
            raise RefusedError("unsupported")
        credential, signed, value = found["credential"], found["signed"], found["signature"]
        time, token, lifetime = headers.get("x-amz-date", ""), headers.get("x-amz-security-token"), None
    else:
        raise RefusedError("unsupported" if "AWSAccessKeyId" in query else "absent")
    key_id, _, scope = credential.partition("/")
    if scope.count("/") != 3:
        raise RefusedError("malformed")
    try:
        at = datetime.strptime(time, TIME).replace(tzinfo=UTC)
    except ValueError:
        raise RefusedError("malformed") from None
    signature = Signature(key_id, scope, at, tuple(signed.split(";")), value, token, lifetime)
    if lifetime is not None and signature.service != "s3":
        raise RefusedError("unsupported")
    return signature


def _number(text: str) -> int:
    if not text.isdecimal():
        raise RefusedError("malformed")
    return int(text)


def verify(request: Request, signature: Signature, secret: str, now: datetime) -> None:
    """Refuse a request that was not signed with this secret, has been changed since, or is out of its time."""
    payload = _payload(request, signature)
    canonical = "\n".join(
        [
            request.method,
            request.path if signature.service == "s3" else quote(request.path, safe="/~"),
            _canonical_query(request),
            *(f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in signature.signed),
            "",
            ";".join(signature.signed),
            payload,
        ]
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join([ALGORITHM, signature.time.strftime(TIME), signature.scope, digest])
    key = f"AWS4{secret}".encode()
    for part in signature.scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    if not hmac.compare_digest(hmac.digest(key, to_sign.encode(), "sha256").hex(), signature.value):
        raise RefusedError("mismatch")
    if signature.lifetime is None and abs(now - signature.time) > SKEW:
        raise RefusedError("skewed")
    if signature.lifetime is not None and not -SKEW <= now - signature.time <= signature.lifetime:
        raise RefusedError("overdue")
    if SHA256.fullmatch(payload) and payload != hashlib.sha256(request.body).hexdigest():
        raise RefusedError("changed")


def _payload(request: Request, signature: Signature) -> str:
    """Return the body's digest as it was signed; S3's clients may sign a word instead."""
    if signature.service == "s3":
        default = "UNSIGNED-PAYLOAD" if signature.lifetime is not None else ""
        return request.headers.get("x-amz-content-sha256", default)
    return hashlib.sha256(request.body).hexdigest()


def _canonical_query(request: Request) -> str:
    pairs = ((quote(name, safe="~"), quote(value, safe="~")) for name, value in request.parameters)
    return "&".join(f"{name}={value}" for name, value in sorted(pairs) if name != "X-Amz-Signature")
