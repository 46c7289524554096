# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results: kept as JSON in bench/results, one file for each topic, and shown in docs/performance.md."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.measure import Figure

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
DOCS = ROOT / "docs"
PACKAGES = ("ansible-core", "ansible", "boto3", "moto")
BEGIN, END = "<!-- made by `python -m bench` from bench/results/{} -->", "<!-- end -->"


@dataclass
class Table:
    """Something to show that is more than one figure: rows of names and numbers."""

    title: str
    columns: list[str]
    rows: list[list[Any]]


@dataclass
class Result:
    """What a topic found out."""

    figures: list[Figure]
    tables: list[Table] = field(default_factory=list)


def output(*command: str) -> str:
    """Return what a command prints."""
    return subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


def circumstances(topic: str, runs: int) -> dict[str, Any]:
    """Return what one has to know to judge, or to repeat, a measurement."""
    memory = re.findall(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return {
        "topic": topic,
        "command": f"make bench TOPIC={topic} RUNS={runs}",
        "runs": runs,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": output("git", "describe", "--always", "--dirty", "--exclude=*"),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory[0]) / 2**20, 1),
        "kernel": platform.release(),
        "load_before": round(os.getloadavg()[0], 1),
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in PACKAGES},
            "podman": output("podman", "--version").rpartition(" ")[2],
        },
    }


def save(about: dict[str, Any], result: Result) -> Path:
    """Write the result of a topic; return where."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{about['topic']}.json"
    tables = [vars(table) for table in result.tables]
    record = about | {"figures": [figure.record() for figure in result.figures], "tables": tables}
    # Numbers of a list in one line: a file that people look at, too.
    text = re.sub(r"\[[^\[\]{}]*\]", lambda match: re.sub(r"\s+", " ", match[0]), json.dumps(record, indent=2))
    path.write_text(text + "\n")
    return path


def load(path: Path) -> tuple[dict[str, Any], Result]:
    """Return what save() wrote."""
    about = json.loads(path.read_text())
    figures = [Figure(**figure) for figure in about.pop("figures")]
    return about, Result(figures, [Table(**table) for table in about.pop("tables")])


# Markdown


def number(value: float) -> str:
    """A number with the digits that mean something."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def row(*cells: str) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def spread(samples: list[float]) -> str:
    """Least and most of several samples."""
    return f" ({number(min(samples))} to {number(max(samples))})" if len(samples) > 1 else ""


def figure_row(figure: Figure) -> str:
    """A figure as a line of a table."""
    other = ""
    if figure.other_samples:
        there = Figure(figure.other, figure.unit, figure.other_samples)
        other = f"{figure.other}: {number(there.value)} {figure.unit}{spread(there.samples)}"
    limit = "" if figure.at_most is None else f"≤ {figure.at_most:g}{' ×' if figure.other_samples else ''}"
    met = {None: "", True: "yes", False: "**no**"}[figure.met]
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f} ×"
    value = f"{number(figure.value)} {figure.unit}{spread(figure.samples)}"
    return row(figure.name, value, other, ratio, limit, met)


def table_lines(table: Table) -> list[str]:
    """A table with its title."""
    cells = [[number(cell) if isinstance(cell, float) else str(cell) for cell in line] for line in table.rows]
    rule = row("---", *["---:" for _column in table.columns[1:]])
    return ["", table.title, "", row(*table.columns), rule, *(row(*line) for line in cells)]


def markdown(about: dict[str, Any], result: Result) -> str:
    """What the documentation shows of a topic."""
    runs = f"median of {about['runs']} runs (least to most)" if about["runs"] > 1 else "one run"
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    lines = [
        f"`{about['command']}`: {runs}, {about['date']}, commit {about['commit']}.",
        f"{about['cores']} cores, {about['memory_gib']} GiB, Linux {about['kernel']}, load {about['load_before']} "
        f"before; {versions}.",
        "",
        row("figure", "ours", "beside it", "ratio", "aim", "met"),
        row("---", "---:", "---:", "---:", "---:", "---"),
        *map(figure_row, result.figures),
        *(line for table in result.tables for line in table_lines(table)),
    ]
    return "\n".join(lines)


def render(text: str, results: Path = RESULTS) -> str:
    """Return TEXT, a document, with what stands between each pair of marks made anew from the results.

    A topic without a result says how to get one.
    """

    def part(match: re.Match[str]) -> str:
        path = results / match["name"]
        made = markdown(*load(path)) if path.exists() else f"Not measured yet: `make bench TOPIC={path.stem}`."
        return f"{BEGIN.format(match['name'])}\n{made}\n{END}"

    begin = re.escape(BEGIN).replace(re.escape("{}"), r"(?P<name>[a-z]+\.json)")
    return re.sub(rf"{begin}\n.*?{re.escape(END)}", part, text, flags=re.DOTALL)
