# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo as somebody meets it who has just cloned the repository, and once more; and what it keeps of memory."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from statistics import median

from bench.clusters import place_settings
from bench.measure import Cost, Figure, environment, run
from bench.report import ROOT, Result, output

# A podman that has no image yet, and no mount in the way when the folder is removed.
STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{0}/graph"
runroot = "{0}/run"
[storage.options.overlay]
skip_mount_home = "true"
"""


def memory(status: str) -> tuple[int, list[int]]:
    """Return MiB of the server and of each node, from what `local_ec2 status` prints."""
    (server,) = re.findall(r"process \d+, (\d+) MiB", status)
    return int(server), [int(mib) for mib in re.findall(r"^i-\w+ .* (\d+) MiB$", status, re.MULTILINE)]


def clone(folder: Path) -> tuple[Path, dict[str, str]]:
    """Clone the repository; return where, and an environment without virtual environment, image, archive or keys.

    What pip and apt have in their caches stays.
    """
    (folder / "storage.conf").write_text(STORAGE.format(folder))
    output("git", "clone", "--quiet", str(ROOT), str(folder / "clone"))
    return folder / "clone", {
        **environment(),
        **place_settings(),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PIP_CACHE_DIR": output("python3", "-m", "pip", "cache", "dir"),
        "SPARKFLEET_HOME": str(folder / "home"),
    }


def demo(runs: int) -> Result:
    """`make demo` in a fresh clone, then again after `make demo-down`."""
    fresh: list[Cost] = []
    warm: list[Cost] = []
    servers: list[float] = []
    nodes: list[float] = []
    for _run in range(runs):
        with tempfile.TemporaryDirectory(prefix="sparkfleet-bench-", dir="/var/tmp") as name:
            place, env = clone(Path(name))

            def make(target: str, place: Path = place, env: dict[str, str] = env) -> Cost:
                return run(["make", target], place.parent / f"{target}.log", place, env)

            try:
                fresh.append(make("demo"))
                make("demo-down")
                warm.append(make("demo"))
                status = subprocess.run(
                    [".venv/bin/python", "-m", "local_ec2", "status"],
                    cwd=place,
                    env=env,
                    check=True,
                    text=True,
                    stdout=subprocess.PIPE,
                ).stdout
                server, each = memory(status)
                servers.append(server)
                nodes.append(median(each))
            finally:
                make("demo-down")
    return Result(
        [
            Figure("`make demo`, fresh clone", "s", [cost.seconds for cost in fresh], at_most=600),
            Figure("`make demo` again after `make demo-down`", "s", [cost.seconds for cost in warm]),
            Figure("memory of local EC2 itself", "MiB", servers),
            Figure("memory of a node with Spark, without page cache, median of the four", "MiB", nodes),
        ]
    )
