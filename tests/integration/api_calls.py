"""A stretch of the way to an EC2, on which one sees which calls go by, and can hold up those that change something."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs

REFUSAL = (
    "<Response><Errors><Error><Code>HeldUp</Code><Message>{} was called</Message></Error></Errors>"
    "<RequestID>0</RequestID></Response>"
)


@dataclass(frozen=True)
class Call:
    """One call of EC2's API."""

    action: str
    dry_run: bool

    @property
    def changes(self) -> bool:
        """Whether anything is another way afterwards."""
        return not self.dry_run and not self.action.startswith(("Describe", "Get"))


@dataclass
class ReadOnly:
    """Passes calls on to `upstream`, but for those that would change something: these are refused, and nothing else."""

    upstream: str
    calls: list[Call] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Listen."""
        way = self

        class Handler(BaseHTTPRequestHandler):
            """Sees one request."""

            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                """Note it; pass it on or refuse it."""
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, kind, answer = way.handle(body, dict(self.headers))
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_args: object) -> None:
                """The calls are noted; nothing needs printing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_error: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Stop to listen."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        """What to point clients at."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def handle(self, body: bytes, headers: dict[str, str]) -> tuple[int, str, bytes]:
        """Return status, content type and text of the answer. The headers go on as they are: they are signed."""
        query = parse_qs(body.decode())
        call = Call(query["Action"][0], query.get("DryRun") == ["true"])
        self.calls.append(call)
        if call.changes:
            return 400, "text/xml", REFUSAL.format(call.action).encode()
        request = urllib.request.Request(self.upstream, body, headers)
        try:
            with urllib.request.urlopen(request) as done:
                return done.status, done.headers["Content-Type"], done.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers["Content-Type"], error.read()
