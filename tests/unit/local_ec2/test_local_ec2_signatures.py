# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures, made by botocore and checked by us."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local_ec2.signatures import RefusedError, Request, read, verify

SECRET = "s" * 40
EC2 = "http://127.0.0.1:4580/"
S3 = "http://127.0.0.1:4580/bucket/a%20b/c~d?list-type=2&prefix=x%2Fy&empty"


def signed(auth: Callable[..., Any], service: str, method: str = "GET", url: str = S3, body: bytes = b"") -> Request:
    """Return a request as a client of botocore sends it."""
    credentials = Credentials("AKIDEXAMPLE", SECRET, "the-token")
    headers = {"Content-Type": "text/plain"} if body else {}
    request = AWSRequest(method=method, url=url, data=body, headers=headers)
    auth(credentials, service, "eu-west-1").add_auth(request)
    prepared = request.prepare()
    parts = urlsplit(prepared.url)
    headers = {name.lower(): str(value) for name, value in prepared.headers.items()} | {"host": parts.netloc}
    return Request(method, parts.path, parts.query, headers, body)


REQUESTS = {
    "ec2": lambda: signed(SigV4Auth, "ec2", "POST", EC2, b"Action=DescribeInstances&Version=2016-11-15"),
    "rest": lambda: signed(SigV4Auth, "lambda", "GET", f"{EC2}2015-03-31/functions/a%3Ab"),
    "s3": lambda: signed(S3SigV4Auth, "s3", "PUT", S3, b"content"),
    "presigned": lambda: signed(S3SigV4QueryAuth, "s3"),
}


def refusal(request: Request, secret: str = SECRET, later: timedelta = timedelta()) -> str | None:
    try:
        verify(request, read(request), secret, datetime.now(UTC) + later)
    except RefusedError as error:
        return str(error)
    return None


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_true_signature_passes(kind: str) -> None:
    request = REQUESTS[kind]()
    signature = read(request)
    assert (signature.key_id, signature.region, signature.token) == ("AKIDEXAMPLE", "eu-west-1", "the-token")
    assert refusal(request) is None


@pytest.mark.parametrize("kind", REQUESTS)
def test_another_secret_does_not(kind: str) -> None:
    assert refusal(REQUESTS[kind](), "another") == "mismatch"


@pytest.mark.parametrize(
    "change",
    [
        {"method": "DELETE"},
        {"path": "/bucket/another"},
        {"query": "list-type=2&prefix=z&empty"},
        {"headers": {"host": "elsewhere"}},
    ],
)
def test_what_was_signed_cannot_be_changed(change: dict[str, Any]) -> None:
    request = REQUESTS["s3"]()
    if "headers" in change:
        change = {"headers": {**request.headers, **change["headers"]}}
    assert refusal(replace(request, **change)) == "mismatch"


@pytest.mark.parametrize(("kind", "why"), [("ec2", "mismatch"), ("s3", "changed"), ("presigned", None)])
def test_the_body_is_signed_too(kind: str, why: str | None) -> None:
    assert refusal(replace(REQUESTS[kind](), body=b"another")) == why


@pytest.mark.parametrize(
    ("kind", "minutes", "why"),
    [
        ("ec2", 14, None),
        ("ec2", 16, "skewed"),
        ("ec2", -16, "skewed"),
        ("presigned", 59, None),
        ("presigned", 61, "overdue"),
        ("presigned", -16, "overdue"),
    ],
)
def test_signatures_have_their_time(kind: str, minutes: int, why: str | None) -> None:
    assert refusal(REQUESTS[kind](), later=timedelta(minutes=minutes)) == why


@pytest.mark.parametrize(
    ("query", "authorization", "why"),
    [
        ("", None, "absent"),
        ("AWSAccessKeyId=AKIDEXAMPLE&Signature=x&Expires=1", None, "unsupported"),
        ("", "AWS AKIDEXAMPLE:frJIUN8DYpKDtOLCwo==", "unsupported"),
        ("", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/s3, SignedHeaders=host, Signature=00", "malformed"),
        ("X-Amz-Signature=00&X-Amz-Expires=x", None, "malformed"),
    ],
)
def test_other_signatures_are_refused(query: str, authorization: str | None, why: str) -> None:
    headers = {"authorization": authorization} if authorization else {}
    assert refusal(Request("GET", "/", query, headers, b"")) == why


def test_only_s3_takes_signatures_in_the_query() -> None:
    assert refusal(signed(S3SigV4QueryAuth, "ec2")) == "unsupported"
