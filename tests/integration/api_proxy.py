"""A proxy between AWS clients and local EC2 that acts once a call that changes something has been answered by the API.

The client never gets that answer: it is the hardest moment to be killed at.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

READING = re.compile(r"(Describe|Get|List)")


class Proxy(ThreadingHTTPServer):
    """`calls`: the names of the changing calls so far. `act`: called with the name instead of giving the answer."""

    daemon_threads = True

    def __init__(self, endpoint: str, act: Callable[[str], None]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.api = str(urlsplit(endpoint).netloc)
        self.act = act
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Passes a request on as it is: the signature covers the host that the client has named."""

    protocol_version = "HTTP/1.1"
    server: Proxy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        api = HTTPConnection(self.server.api, timeout=120)
        api.request("POST", self.path, body, dict(self.headers))
        answer = api.getresponse()
        content = answer.read()
        api.close()
        action = parse_qs(body.decode())["Action"][0]
        if not READING.match(action) and answer.status == 200:
            self.server.act(action)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers["Content-Type"])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Keep the tests' output clean."""


@contextmanager
def proxy(endpoint: str, act: Callable[[str], None]) -> Iterator[str]:
    """Yield the URL of a proxy before the API at `endpoint`."""
    with Proxy(endpoint, act) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.url
        server.shutdown()
