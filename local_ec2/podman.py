# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""podman as it has to be called on this host."""

from __future__ import annotations

import resource
import shutil
import time
from functools import cache
from pathlib import Path

from local_ec2.run import CommandError, attempt, run

CAP_SYS_RESOURCE = 24


def cgroup_v1() -> bool:
    """Tell whether the host's cgroups are of the old kind, which crun refuses."""
    return not Path("/sys/fs/cgroup/cgroup.controllers").exists()


def may_raise_limits() -> bool:
    """Tell whether we hold CAP_SYS_RESOURCE; without it podman's own default limits cannot be set."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    effective = next(line for line in status.splitlines() if line.startswith("CapEff"))
    return bool(int(effective.split()[1], 16) >> CAP_SYS_RESOURCE & 1)


@cache
def global_options() -> tuple[str, ...]:
    """Options of every podman command."""
    return ("--runtime", "runc") if cgroup_v1() and shutil.which("runc") else ()


@cache
def limit_options() -> tuple[str, ...]:
    """Options of ``podman run`` that keep to this process's own limits where they cannot be raised."""
    if may_raise_limits():
        return ()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # podman lowers its own limit of processes to pid_max first, and what it starts cannot go back up.
    pid_max = int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii"))
    processes = min(resource.getrlimit(resource.RLIMIT_NPROC)[1], pid_max)
    return ("--ulimit", f"nofile={files}:{files}", "--ulimit", f"nproc={processes}:{processes}")


def command(*args: str) -> list[str]:
    """Return the command line for ``podman ARGS``."""
    return ["podman", *global_options(), *args]


def podman(*args: str) -> str:
    """Run ``podman ARGS``, return what it prints; raise CommandError when it fails."""
    return run(*command(*args)).strip()


def remove(*names: str) -> None:
    """Remove containers at once, running or not; what is not there is no error."""
    for attempts_left in (2, 1, 0):
        try:
            podman("rm", "--force", "--ignore", "--volumes", "--time", "0", *names)
            return
        except CommandError:
            # podman stumbles over a container that ends while it looks at it.
            if not attempts_left:
                raise
            time.sleep(0.2)


def remove_image(name: str) -> bool:
    """Remove an image, return whether it is away; containers that are made of it keep it."""
    return attempt(*command("image", "rm", name))


def remove_images(label: str) -> None:
    """Remove all images with the label; there are no containers of them."""
    for image in podman("image", "list", "--quiet", "--filter", f"label={label}").split():
        attempt(*command("image", "rm", "--force", image))


def containers(label: str) -> list[str]:
    """Return the names of all containers with the label, running or not."""
    return podman("ps", "--all", "--filter", f"label={label}", "--format", "{{.Names}}").split()
