# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A table of numbers as a drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from bench.report import Table

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 40, 56
COLORS = ("#1f5fa8", "#c4661f")
STYLE = "font-family: sans-serif; font-size: 13px; fill: #444"


def step(most: float, steps: int = 5) -> float:
    """Return a round distance of grid lines: 1, 2 or 5 times a power of ten, in at most STEPS steps up to MOST."""
    rough = most / steps
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)


def text(x: float, y: float, words: str, more: str = "") -> str:
    """Words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(words)}</text>'


def svg(table: Table, lines: Sequence[str]) -> str:
    """Return a drawing of the columns LINES, over the first column; from zero, so that heights can be compared."""
    xs = [float(row[0]) for row in table.rows]
    series = {name: [float(row[table.columns.index(name)]) for row in table.rows] for name in lines}
    distance = step(max(map(max, series.values())))
    top = distance * math.ceil(max(map(max, series.values())) / distance)

    def at(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * x / max(xs)
        return across, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y / top

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" style="{STYLE}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for count in range(round(top / distance) + 1):
        _x, y = at(0, count * distance)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(text(LEFT - 8, y + 4, f"{count * distance:g}", 'text-anchor="end"'))
    for x in xs:
        parts.append(text(at(x, 0)[0], HEIGHT - BOTTOM + 20, f"{x:g}", 'text-anchor="middle"'))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, table.columns[0], 'text-anchor="middle"'))
    for number, (name, ys) in enumerate(series.items()):
        color = COLORS[number % len(COLORS)]
        places = [at(x, y) for x, y in zip(xs, ys, strict=True)]
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{way}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>' for x, y in places]
        parts.append(text(LEFT + 12 + 300 * number, TOP - 16, name, f'style="fill: {color}"'))
    return "\n".join([*parts, "</svg>", ""])
