# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the commands do: bring the daemon up and down, and tell about it. Knows nothing of moto, so that it is quick."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local_ec2 import amis, disks, host, image, network, nodes
from local_ec2.credentials import Credentials
from local_ec2.mirror import ARCHIVES, maven
from local_ec2.mirror.archives import provide
from local_ec2.podman import containers, remove_images
from local_ec2.settings import ACCOUNT, REGION, LocalEC2Error, Settings, cache_dir, mirror_dir

ROOT = Path(__file__).parent.parent
START_SECONDS = 30
STOP_SECONDS = 5
Say = Callable[[str], None]


def command_line(settings: Settings, command: str) -> str:
    """Return what the user types for a command of this local EC2."""
    name = "" if settings.name == Settings.name else f" --name {settings.name}"
    return f"python -m local_ec2 {command}{name}"


def server_pid(settings: Settings) -> int | None:
    """Return the server's process id, None when it does not live (its lock is free then)."""
    if not settings.lock_file.exists():
        return None
    with settings.lock_file.open(encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(lock.read() or 0) or None
    return None


def running(name: str) -> Settings | None:
    """Return the settings of the local EC2 of this name if it answers."""
    settings = Settings.load(name)
    return settings if settings and settings.ready_file.exists() and server_pid(settings) else None


def up(settings: Settings, say: Say) -> None:
    """Check, make what is missing, start the server, wait until it answers. One at a time on a host."""
    host.check_tools()
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / "lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not running(settings.name):
            _up(settings, say)
    say(f"local EC2 {settings.name} answers on {settings.endpoint}")


def _up(settings: Settings, say: Say) -> None:
    if Settings.load(settings.name):
        count = down(Settings.load(settings.name) or settings)
        say(f"an earlier run of {settings.name} ended without `down`: its account is gone, {count} node(s) removed")
    network.check_conflicts(settings)
    node_image = _provide(settings, say)
    settings.save()
    network.up(settings)
    _start_server(settings, node_image)


def _provide(settings: Settings, say: Say) -> str:
    """Make the image and the mirror's archives where they are missing, side by side; return the image's name."""
    with ThreadPoolExecutor(1) as pool:
        made_image = pool.submit(_image, say)
        if settings.mirror:
            for archive in ARCHIVES:
                provide(archive, mirror_dir(), cache_dir() / "downloads", say)
            maven.provide(maven.wanted(), mirror_dir() / "maven2", cache_dir() / "downloads", say)
        return made_image.result()


def _image(say: Say) -> str:
    name = image.image_name()
    if not image.exists(name):
        say("building the node image (Debian 12), about a minute")
        image.build(name, cache_dir() / "image-build.log")
        say("the node image is built")
    return name


def _start_server(settings: Settings, node_image: str) -> None:
    amis_file = settings.run_dir / "amis.json"
    amis.write_amis(amis_file)
    environment = {**os.environ, **moto_environment(amis_file)}
    with settings.log_file.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "local_ec2.server", settings.name, node_image],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while not settings.ready_file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise LocalEC2Error(f"the server did not start, see {_keep_log(settings)}")
        time.sleep(0.05)


def moto_environment(amis_file: Path) -> dict[str, str]:
    """Return moto's switches, which it reads when it is imported: our images only, nothing unknown accepted.

    One account, so that no header of a client's chooses another.
    """
    return {
        "MOTO_ACCOUNT_ID": ACCOUNT,
        "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
        "MOTO_AMIS_PATH": str(amis_file),
        "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION": "true",
        "MOTO_ENABLE_KEYPAIR_VALIDATION": "true",
        "MOTO_ENABLE_AMI_VALIDATION": "true",
    }


def _keep_log(settings: Settings) -> str:
    """Take away what was made, but for the log's end, which is returned."""
    end = settings.log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
    kept = cache_dir() / f"server-{settings.name}.log"
    shutil.copy(settings.log_file, kept)
    down(settings)
    return "\n  ".join([str(kept), *end])


def down(settings: Settings) -> int:
    """Take everything of this local EC2 away, whether its server lives or not; return how many nodes there were."""
    _stop_server(settings)
    names = containers(settings.label)
    nodes.remove_all(settings, names)
    remove_images(settings.label)
    disks.remove_all(settings.disks_dir)
    network.down(settings)
    shutil.rmtree(settings.run_dir, ignore_errors=True)
    return len(names)


def _stop_server(settings: Settings) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    number = signal.SIGTERM
    while pid := server_pid(settings):
        os.kill(pid, number)
        time.sleep(0.1)
        number = signal.SIGKILL if time.monotonic() > deadline else number


def purge() -> None:
    """Remove caches."""
    image.purge()
    shutil.rmtree(cache_dir(), ignore_errors=True)


def exports(settings: Settings, credentials: Credentials) -> str:
    """Return shell lines that point AWS clients and our playbooks at this local EC2."""
    values = {
        "AWS_ENDPOINT_URL": settings.endpoint,
        "AWS_ACCESS_KEY_ID": credentials.key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "SPARKFLEET_NODES_ENDPOINT_URL": settings.nodes_endpoint,
        "SPARKFLEET_ALLOWED_CIDRS": f"{settings.gateway}/32",
    }
    if settings.mirror:
        values["SPARKFLEET_MIRROR"] = settings.mirror_url
    lines = [f"export {name}={value}" for name, value in values.items()]
    return "\n".join(["unset AWS_PROFILE AWS_DEFAULT_PROFILE AWS_SESSION_TOKEN", *lines])
