# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How commands reach the running server: JSON under a path of the API's port that no service of AWS has."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

from local_ec2.settings import LocalEC2Error, Settings

# No bucket's name has an underscore.
PREFIX = "/_local_ec2/"
SECONDS = 30

Handler = Callable[[dict[str, Any]], Any]


class Control:
    """A WSGI application: what lies under PREFIX goes to the handler of that name, all else to the API."""

    def __init__(self, api: Callable[..., Iterable[bytes]], handlers: Mapping[str, Handler]) -> None:
        """Stand before ``api``."""
        self._api = api
        self._handlers = handlers

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request. A LocalEC2Error of the handler's is a 400 with its text."""
        path = environ.get("PATH_INFO", "")
        if not path.startswith(PREFIX):
            return self._api(environ, start_response)
        status, answer = HTTPStatus.OK, None
        try:
            request = json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
            answer = self._handlers[path.removeprefix(PREFIX)](request)
        except KeyError:
            status = HTTPStatus.NOT_FOUND
        except LocalEC2Error as error:
            status, answer = HTTPStatus.BAD_REQUEST, str(error)
        start_response(f"{status.value} {status.phrase}", [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]


def ask(settings: Settings, name: str, request: dict[str, Any]) -> Any:
    """Return what the running server's handler of this name answers; raise its LocalEC2Error."""
    url = f"{settings.endpoint}{PREFIX}{name}"
    # Never by way of a proxy: it is this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, data=json.dumps(request).encode(), timeout=SECONDS) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.BAD_REQUEST:
            raise LocalEC2Error(json.load(error)) from None
        raise
