# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each component adds to a cluster of 1 + 2: seconds of the site playbook, and MB on the nodes' disks."""

from __future__ import annotations

import re
import subprocess
from statistics import median

from bench.clusters import LocalEC2, local_ec2_up
from bench.measure import Figure
from bench.report import Result, Table

WORKERS = 2
PARTS = ["java", "spark", "hdfs", "fuse_dfs", "nfs_gateway", "ganglia", "jupyter_ssl", "datascience"]


def used(place: LocalEC2, host: str) -> int:
    """Return MB that are on a node's root volume, less the logs."""
    command = "sudo du --summarize --one-file-system --block-size=MB --exclude=/var/log /"
    done = subprocess.run(
        ["ssh", "-F", str(place.ssh_config), "-o", "ClearAllForwardings=yes", host, command],
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    return int(done.stdout.split("MB")[0])


def of_role(log: str, part: str) -> float:
    """Return the seconds that a run took for the tasks of a component's role."""
    (seconds,) = re.findall(rf"^(?:sparkfleet\.ec2\.)?{part} -+ ([\d.]+)s$", log, re.MULTILINE)
    return float(seconds)


def phases(log: str) -> dict[str, float]:
    """Return the seconds of each phase, by the summary of a run."""
    (line,) = re.findall(r"^Seconds +(.+), in all", log, re.MULTILINE)
    return {name: float(seconds) for name, seconds in re.findall(r"(\w+) ([\d.]+)", line)}


def parts(runs: int) -> Result:
    """Launch the nodes, then add one component after the other."""
    took: dict[str, list[float]] = {part: [] for part in PARTS}
    masters: dict[str, list[float]] = {part: [] for part in PARTS}
    workers: dict[str, list[float]] = {part: [] for part in PARTS}
    first_cell: list[float] = []
    ways: list[dict[str, float]] = []
    with local_ec2_up() as place:
        place.env["ANSIBLE_CALLBACKS_ENABLED"] = "ansible.posix.profile_roles"
        for _run in range(runs):
            place.nodes(WORKERS)
            before = {host: used(place, host) for host in ("master", "worker-1")}
            for number, part in enumerate(PARTS, 1):
                options = ["-e", f"workers={WORKERS}", "-e", f"components={','.join(PARTS[:number])}"]
                place.play("site.yml", *options, "-e", "sparkfleet_validate=no")
                took[part].append(of_role(place.log(), part))
                now = {host: used(place, host) for host in before}
                masters[part].append(now["master"] - before["master"])
                workers[part].append(now["worker-1"] - before["worker-1"])
                before = now
            place.destroy()
        for _run in range(runs):
            options = ["-e", f"workers={WORKERS}", "-e", "components=java,spark,jupyter_ssl"]
            # Its proof is a notebook whose first cell is answered by the workers.
            first_cell.append(place.play("site.yml", *options, "-e", "validate_components=jupyter_ssl").seconds)
            ways.append(phases(place.log()))
            place.destroy()
    rows = [[part, median(took[part]), median(masters[part]), median(workers[part])] for part in PARTS]
    way = [[phase, median(seconds[phase] for seconds in ways)] for phase in ways[0]]
    return Result(
        [Figure(f"from `site.yml` typed to the first cell answered, 1 + {WORKERS}", "s", first_cell)],
        [
            Table(
                f"Adding one component after the other to 1 + {WORKERS}: seconds of its role's tasks, without the wait"
                " for its daemons:",
                ["component", "s", "MB on the master", "MB on a worker"],
                rows,
            ),
            Table("The way to the first cell, which is answered in `validate`:", ["phase", "s"], way),
        ],
    )
