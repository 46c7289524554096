# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata service's answers, and when role credentials are renewed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local_ec2.deviations.metadata import RENEWAL, SESSION, RoleSessions
from local_ec2.metadata import Answer, Guest, Tokens, answer, find

TOKEN, TTL = "x-aws-ec2-metadata-token", "x-aws-ec2-metadata-token-ttl-seconds"
TREE = {
    "meta-data": {
        "instance-id": "i-0a",
        "nothing": None,
        "public-keys": {"": "0=mine", "0": {"openssh-key": "ssh-ed25519 AAAA"}},
        "now": lambda: "computed",
    },
    "user-data": b"\x00\xff",
}


class Clock:
    """A clock that is put forward."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def guest(instance_id: str = "i-0a", **options: Any) -> Guest:
    return Guest(instance_id, **({"enabled": True, "token_required": True, "hop_limit": 3, "tree": TREE} | options))


def ask(tokens: Tokens, method: str = "GET", path: str = "/latest/user-data", **more: Any) -> Answer:
    return answer(more.get("guest", guest()), tokens, method, path, more.get("headers", {}))


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/latest/meta-data/instance-id", b"i-0a"),
        ("/latest/meta-data/instance-id/", b"i-0a"),
        ("/2021-07-15/meta-data/instance-id", b"i-0a"),
        ("/latest/meta-data", b"instance-id\npublic-keys/\nnow"),
        ("/latest/meta-data/public-keys/", b"0=mine"),
        ("/latest/meta-data/public-keys/0/", b"openssh-key"),
        ("/latest/meta-data/now", b"computed"),
        ("/latest/meta-data/nothing", None),
        ("/latest/meta-data/instance-id/more", None),
        ("/latest/absent", None),
        ("/another/meta-data", None),
        ("/latest/user-data", b"\x00\xff"),
    ],
)
def test_paths(path: str, found: bytes | None) -> None:
    assert find(TREE, path) == found


def test_a_token_is_good_for_its_time() -> None:
    clock = Clock()
    tokens = Tokens(clock)
    given = ask(tokens, "PUT", "/latest/api/token", headers={TTL: "60"})
    assert (given.status, given.headers, given.hops) == (200, {TTL: "60"}, 3)
    headers = {TOKEN: given.body.decode()}
    clock.seconds = 59
    served = ask(tokens, headers=headers)
    assert (served.status, served.headers, served.hops) == (200, {TTL: "1"}, None)
    assert ask(tokens, headers=headers, guest=guest("i-0b")).status == 401
    clock.seconds = 60
    assert ask(tokens, headers=headers).status == 401


def test_old_tokens_are_forgotten() -> None:
    clock = Clock()
    tokens = Tokens(clock)
    tokens.issue("i-0a", 10)
    clock.seconds = 11
    tokens.issue("i-0a", 10)
    assert len(tokens._issued) == 1


def test_a_wrong_token_is_refused_even_where_none_is_required() -> None:
    optional = guest(token_required=False)
    assert ask(Tokens(), guest=optional).status == 200
    assert ask(Tokens(), guest=optional, headers={TOKEN: "wrong"}).status == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("PUT", "/latest/user-data", 405), ("POST", "/latest/user-data", 405), ("GET", "/latest/absent", 404)],
)
def test_what_there_is_not(method: str, path: str, status: int) -> None:
    assert ask(Tokens(), method, path, guest=guest(token_required=False)).status == status


def test_credentials_are_renewed_long_before_they_end() -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    sessions = RoleSessions(lambda role: (role, now[0] + SESSION), lambda: now[0])
    since, first = sessions.get("role")
    now[0] += RENEWAL - timedelta(seconds=1)
    assert sessions.get("role") == (since, first)
    assert sessions.get("another")[1][0] == "another"
    now[0] += timedelta(seconds=1)
    assert now[0] < first[1] - timedelta(minutes=5)
    assert sessions.get("role")[1][1] == now[0] + SESSION
