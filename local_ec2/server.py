# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon: API server, nodes and mirror in one process. Started by ``up``, which sets moto's environment."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import sys
import threading
from functools import partial

from moto.ec2.models import ec2_backends
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from local_ec2 import amis, metadata
from local_ec2.control import Control
from local_ec2.deviations import Cloud, install
from local_ec2.deviations.metadata import give_notice, guest_at
from local_ec2.deviations.permissions import Authenticator, create_administrator
from local_ec2.mirror import http
from local_ec2.nodes import Nodes
from local_ec2.settings import ACCOUNT, REGION, Settings, mirror_dir

log = logging.getLogger(__name__)


def serve(settings: Settings, image: str) -> None:
    """Serve until SIGTERM."""
    imds = metadata.Server(str(settings.gateway))
    cloud = Cloud(settings, Nodes(settings, imds.server_port), amis.bootable(image))
    install(cloud)
    imds.start(partial(guest_at, cloud))
    if settings.mirror:
        http.serve(settings, mirror_dir())
    api = Authenticator(DomainDispatcherApplication(create_backend_app))
    control = Control(api, {"faults": cloud.faults.command, "spot-notice": partial(give_notice, cloud)})
    here, nodes = (
        make_server(address, settings.port, application, threaded=True, request_handler=MotoRequestHandler)
        for address, application in (("127.0.0.1", control), (str(settings.gateway), api))
    )
    create_administrator().save(settings)
    # The first request of a region makes it; nobody shall have to wait for the usual one.
    _ = ec2_backends[ACCOUNT][REGION]
    threading.Thread(target=nodes.serve_forever, name="API for nodes", daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=here.shutdown).start())
    settings.ready_file.touch()
    log.info("local EC2 answers on %s", settings.endpoint)
    here.serve_forever()


def main() -> None:
    """Run as ``python -m local_ec2.server NAME IMAGE``, holding the lock file."""
    name, image = sys.argv[1:]
    settings = Settings.load(name)
    if settings is None:
        sys.exit(f"there is no local EC2 {name}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with settings.lock_file.open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.write(str(os.getpid()))
        lock.flush()
        serve(settings, image)
    # Worker threads may still wait for podman; what they wait for goes with ``down``.
    os._exit(0)


if __name__ == "__main__":
    main()
