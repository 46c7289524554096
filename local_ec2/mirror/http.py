# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serves the mirror over HTTP, to the nodes and to this machine."""

from __future__ import annotations

import logging
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

from local_ec2.settings import Settings

log = logging.getLogger(__name__)


class Handler(SimpleHTTPRequestHandler):
    """Static files, sent by the kernel."""

    def copyfile(self, source: IO[bytes], outputfile: Any) -> None:  # type: ignore[override]
        """Send a file; listings are no files and go the usual way."""
        try:
            self.connection.sendfile(source)
        except OSError as error:
            log.info("%s went away: %s", self.client_address[0], error)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log as the rest of the server does."""
        log.info("%s %s", self.client_address[0], format % args)


class Server(ThreadingHTTPServer):
    """Many downloads at once."""

    request_queue_size = 128


def serve(settings: Settings, root: Path) -> None:
    """Serve ``root`` in the background on the nodes' gateway and on 127.0.0.1."""
    for address in (str(settings.gateway), "127.0.0.1"):
        server = Server((address, settings.mirror_port), partial(Handler, directory=str(root)))
        threading.Thread(target=server.serve_forever, name=f"mirror {address}", daemon=True).start()
