# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: `python -m bench TOPIC... [--runs N]`, or `--render` alone."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from bench.chart import svg
from bench.demos import demo
from bench.files import files
from bench.inventories import inventory
from bench.launches import DRAWN, push, scale
from bench.parts import parts
from bench.report import DOCS, RESULTS, Result, circumstances, load, markdown, render, save
from bench.reruns import rerun

# What is measured, in this order, and how often unless said.
TOPICS: dict[str, tuple[Callable[[int], Result], int]] = {
    "inventory": (inventory, 3),
    "push": (push, 2),
    "rerun": (rerun, 2),
    "scale": (scale, 1),
    "files": (files, 3),
    "parts": (parts, 1),
    "demo": (demo, 1),
}
PAGE = DOCS / "performance.md"
DRAWING = DOCS / "performance.svg"


def document() -> None:
    """Bring the documentation up to date with the results that there are."""
    PAGE.write_text(render(PAGE.read_text()))
    if (path := RESULTS / "scale.json").exists():
        _about, result = load(path)
        DRAWING.write_text(svg(result.tables[0], DRAWN))


def main() -> int:
    """Measure, keep the results, show them, and bring the documentation up to date."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=f"one of {', '.join(TOPICS)} (default: all)")
    parser.add_argument("--runs", type=int, help="how often (default: by topic)")
    parser.add_argument("--render", action="store_true", help="measure nothing, make the documentation")
    options = parser.parse_args()
    if unknown := set(options.topics) - set(TOPICS):
        parser.error(f"{', '.join(sorted(unknown))}: give one of {', '.join(TOPICS)}")
    if options.runs is not None and options.runs < 1:
        parser.error(f"--runs {options.runs}: give 1 or more")
    for topic in [] if options.render else options.topics or TOPICS:
        measure, usual = TOPICS[topic]
        runs = options.runs or usual
        begun, about = time.monotonic(), circumstances(topic, runs)
        sys.stdout.write(f"== {topic}, {runs} runs ==\n")
        result = measure(runs)
        path = save(about, result)
        sys.stdout.write(f"{markdown(about, result)}\n{path}, after {time.monotonic() - begun:.0f} s\n\n")
        sys.stdout.flush()
    document()
    return 0


if __name__ == "__main__":
    sys.exit(main())
