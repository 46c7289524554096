# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Launches, from nodes that answer ssh to Spark counting all of them: the site playbook beside the yardstick script."""

from __future__ import annotations

from statistics import median

from bench.clusters import Launch, LocalEC2, local_ec2_up
from bench.measure import Cost, Figure
from bench.report import Result, Table

SCRIPT = "tests/yardstick/by-hand"
PHASES = ("connect", "install", "configure", "service")
AT_MOST = 2.0
# Columns of the table by size that make the drawing.
DRAWN = ("site.yml s", "script s")


def by_site(place: LocalEC2, workers: int) -> Launch:
    """Launch by the site playbook on fresh nodes."""
    place.nodes(workers)
    return place.site(workers)


def by_hand(place: LocalEC2, workers: int) -> Cost:
    """Launch by the script on fresh nodes, and remove them."""
    place.nodes(workers)
    cost = place.by_hand(workers)
    place.destroy()
    return cost


def phase_table(launches: list[Launch]) -> Table:
    """Seconds and controller CPU of each phase, medians."""
    rows = []
    for phase in launches[0].by_phase():
        costs = [launch.by_phase()[phase] for launch in launches]
        rows.append([phase, median(cost.seconds for cost in costs), median(cost.cpu for cost in costs)])
    return Table("Where the time of the site playbook goes:", ["phase", "s", "CPU s of the controller"], rows)


def push(runs: int, workers: int = 3) -> Result:
    """A master and three workers, in turns."""
    launches, scripts = [], []
    with local_ec2_up() as place:
        for _run in range(runs):
            launches.append(by_site(place, workers))
            place.destroy()
            scripts.append(by_hand(place, workers))
    figure = Figure(
        name=f"launch of 1 + {workers}, from ssh-ready to Spark counting all",
        unit="s",
        samples=[launch.from_ssh_ready for launch in launches],
        other=SCRIPT,
        other_samples=[cost.seconds for cost in scripts],
        at_most=AT_MOST,
    )
    seconds = [launch.cost.seconds for launch in launches]
    whole = Figure(f"all of `site.yml` on 1 + {workers} instances that run", "s", seconds)
    return Result([figure, whole], [phase_table(launches)])


def scale(runs: int, sizes: tuple[int, ...] = (1, 3, 6, 10), growing: tuple[int, ...] = (3, 10)) -> Result:
    """Clusters of several sizes beside the script, and what one more node costs in a small and a large one."""
    launches: dict[int, list[Launch]] = {workers: [] for workers in sizes}
    scripts: dict[int, list[Cost]] = {workers: [] for workers in sizes}
    grown: dict[int, list[float]] = {workers: [] for workers in growing}
    with local_ec2_up() as place:
        for workers in [size for _run in range(runs) for size in sizes]:
            launches[workers].append(by_site(place, workers))
            if workers in growing:
                grown[workers].append(place.site(workers + 1).cost.seconds)
            place.destroy()
            scripts[workers].append(by_hand(place, workers))
    figures = [
        Figure(
            name=f"launch of 1 + {workers}, from ssh-ready to Spark counting all",
            unit="s",
            samples=[launch.from_ssh_ready for launch in launches[workers]],
            other=SCRIPT,
            other_samples=[cost.seconds for cost in scripts[workers]],
        )
        for workers in sizes
    ]
    small, large = growing
    more = Figure(
        name=f"one node more in a cluster of 1 + {large}",
        unit="s",
        samples=grown[large],
        other=f"in one of 1 + {small}",
        other_samples=grown[small],
        at_most=1.2,
    )
    return Result([*figures, more], [size_table(launches, scripts), phases_by_size(launches)])


def size_table(launches: dict[int, list[Launch]], scripts: dict[int, list[Cost]]) -> Table:
    """Seconds and controller CPU by number of nodes, in all and for each node; medians."""
    rows = []
    for workers, found in launches.items():
        costs = [
            median(launch.from_ssh_ready for launch in found),
            median(cost.seconds for cost in scripts[workers]),
            median(launch.cost.cpu for launch in found),
            median(cost.cpu for cost in scripts[workers]),
        ]
        rows.append([workers + 1, *costs, *(cost / (workers + 1) for cost in costs)])
    columns = [*DRAWN, "CPU s", "script CPU s"]
    each = ["s per node", "script s per node", "CPU s per node", "script CPU s per node"]
    return Table("From ssh-ready to all counted, and CPU of the controller:", ["nodes", *columns, *each], rows)


def phases_by_size(launches: dict[int, list[Launch]]) -> Table:
    """Seconds and controller CPU of each phase by number of nodes; medians."""
    rows = []
    for workers, found in launches.items():
        costs = [[launch.by_phase()[phase] for launch in found] for phase in PHASES]
        cells = [(median(cost.seconds for cost in each), median(cost.cpu for cost in each)) for each in costs]
        rows.append([workers + 1, *(value for cell in cells for value in cell)])
    columns = [title for phase in PHASES for title in (f"{phase} s", "CPU s")]
    return Table("The same by phase:", ["nodes", *columns], rows)
