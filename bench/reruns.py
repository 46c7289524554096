# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running the site playbook again on a cluster of 1 + 3."""

from __future__ import annotations

import re

from bench.clusters import LocalEC2, local_ec2_up
from bench.measure import Cost, Figure
from bench.report import Result

WORKERS = 3


def unchanged(place: LocalEC2, *options: str) -> Cost:
    """Run the site playbook, proof included; refuse to give a figure for a run that changed anything."""
    cost = place.play("site.yml", "-e", f"workers={WORKERS}", *options)
    changes = sum(map(int, re.findall(r"changed=(\d+)", place.log())))
    if changes:
        raise AssertionError(f"a run that should change nothing changed {changes}; see {place.folder}")
    return cost


def rerun(runs: int) -> Result:
    """Second runs, plain and full, in turns."""
    plain, full = [], []
    with local_ec2_up() as place:
        place.play("site.yml", "-e", f"workers={WORKERS}")
        for _run in range(runs):
            plain.append(unchanged(place))
            full.append(unchanged(place, "-e", "full=yes"))
    return Result(
        [
            Figure("`site.yml` again, nothing to do", "s", [cost.seconds for cost in plain], at_most=25),
            Figure("`site.yml` again, controller CPU", "s", [cost.cpu for cost in plain]),
            Figure("`site.yml -e full=yes`, proof included", "s", [cost.seconds for cost in full], at_most=90),
            Figure("`site.yml -e full=yes`, controller CPU", "s", [cost.cpu for cost in full]),
        ]
    )
