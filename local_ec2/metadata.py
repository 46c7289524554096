# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The instance metadata service, as nodes see it at 169.254.169.254.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
"""

from __future__ import annotations

import logging
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Union
from urllib.parse import unquote, urlsplit

log = logging.getLogger(__name__)

TOKEN_PATH = "/latest/api/token"  # noqa: S105
TOKEN = "x-aws-ec2-metadata-token"  # noqa: S105
TTL = "x-aws-ec2-metadata-token-ttl-seconds"
MAX_TTL = 21600
VERSION = re.compile(r"latest|1\.0|\d{4}-\d\d-\d\d")

# A leaf is text or what makes it, None where there is none now. "" in a folder is what to show instead of a list.
Tree = Mapping[str, Union[str, bytes, Callable[[], str], "Tree", None]]


@dataclass(frozen=True)
class Guest:
    """An instance that asks, and what it may know now."""

    instance_id: str
    enabled: bool
    token_required: bool
    hop_limit: int
    tree: Tree


@dataclass(frozen=True)
class Answer:
    """An answer; ``hops`` is how far it may travel, None as far as anything."""

    status: HTTPStatus
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    hops: int | None = None


class Tokens:
    """Tokens of sessions, each good for the instance that asked for it, until its time is over."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Start without any."""
        self._now = now
        self._issued: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def issue(self, instance_id: str, seconds: int) -> str:
        """Return a new token; forget those that are over."""
        with self._lock:
            self._issued = {token: kept for token, kept in self._issued.items() if kept[1] > self._now()}
            token = secrets.token_urlsafe(40)
            self._issued[token] = (instance_id, self._now() + seconds)
            return token

    def left(self, instance_id: str, token: str) -> int | None:
        """Return for how many seconds the token is good, None when it is not."""
        owner, until = self._issued.get(token, ("", 0.0))
        left = until - self._now()
        return int(left) if owner == instance_id and left > 0 else None


def answer(guest: Guest, tokens: Tokens, method: str, path: str, headers: Mapping[str, str]) -> Answer:
    """Answer a request; names of headers in lower case."""
    path = unquote(urlsplit(path).path)
    if not guest.enabled:
        return Answer(HTTPStatus.FORBIDDEN)
    if method == "PUT":
        return _token(guest, tokens, path, headers)
    if method not in ("GET", "HEAD"):
        return Answer(HTTPStatus.METHOD_NOT_ALLOWED)
    told: dict[str, str] = {}
    if TOKEN in headers:
        left = tokens.left(guest.instance_id, headers[TOKEN])
        if left is None:
            return Answer(HTTPStatus.UNAUTHORIZED)
        told = {TTL: str(left)}
    elif guest.token_required:
        return Answer(HTTPStatus.UNAUTHORIZED)
    found = find(guest.tree, path)
    return Answer(HTTPStatus.NOT_FOUND, headers=told) if found is None else Answer(HTTPStatus.OK, found, told)


def _token(guest: Guest, tokens: Tokens, path: str, headers: Mapping[str, str]) -> Answer:
    if path != TOKEN_PATH:
        return Answer(HTTPStatus.METHOD_NOT_ALLOWED)
    # Something that forwards requests of others must not hold a session.
    if "x-forwarded-for" in headers:
        return Answer(HTTPStatus.FORBIDDEN)
    seconds = headers.get(TTL, "")
    if not seconds.isdecimal() or not 1 <= int(seconds) <= MAX_TTL:
        return Answer(HTTPStatus.BAD_REQUEST)
    token = tokens.issue(guest.instance_id, int(seconds))
    return Answer(HTTPStatus.OK, token.encode(), {TTL: seconds}, guest.hop_limit)


def find(tree: Tree, path: str) -> bytes | None:
    """Return a leaf, or the list of a folder, of any version of the service; None when there is none."""
    version, *names = path.strip("/").split("/")
    if not VERSION.fullmatch(version):
        return b"1.0\nlatest" if not version else None
    here: Any = tree
    for name in filter(None, names):
        here = here.get(name) if _folder(here) else None
    if _folder(here):
        listed = (f"{name}/" if _folder(value) else name for name, value in here.items() if value is not None)
        here = here[""] if "" in here else "\n".join(listed)
    leaf = here() if callable(here) else here
    return leaf.encode() if isinstance(leaf, str) else leaf


def _folder(value: Any) -> bool:
    return isinstance(value, Mapping)


class Handler(BaseHTTPRequestHandler):
    """One request; each has a connection of its own."""

    server: Server

    def _answer(self) -> None:
        guest = self.server.lookup(self.client_address[0])
        if guest is None:
            log.warning("metadata asked for by %s, which is no instance's", self.client_address[0])
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        given = answer(guest, self.server.tokens, self.command, self.path, headers)
        if given.hops is not None:
            self.connection.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, given.hops)
        self.send_response(given.status)
        for name, value in given.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(given.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(given.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815

    def version_string(self) -> str:
        """Call itself what EC2's does."""
        return "EC2ws"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log as the rest of the server does; tokens and credentials are in bodies and headers only."""
        log.debug("%s %s", self.client_address[0], format % args)


class Server(ThreadingHTTPServer):
    """Listens for what the nodes' own namespaces redirect, on a port that the system chooses."""

    request_queue_size = 128

    lookup: Callable[[str], Guest | None]

    def __init__(self, address: str) -> None:
        """Listen."""
        super().__init__((address, 0), Handler)
        self.tokens = Tokens()

    def start(self, lookup: Callable[[str], Guest | None]) -> None:
        """Serve in the background; ``lookup`` tells the instance that has a private address."""
        self.lookup = lookup
        threading.Thread(target=self.serve_forever, name="metadata", daemon=True).start()
