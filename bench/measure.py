# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time and CPU of a command, and what several runs of it say."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

LAST_LINES = 30


# What would lead measured commands elsewhere, or change what they do.
SETTINGS = ("AWS_", "ANSIBLE_", "SPARKFLEET_")


def environment() -> dict[str, str]:
    """Return the environment without settings of the user's own."""
    return {key: value for key, value in os.environ.items() if not key.startswith(SETTINGS)}


class CommandFailedError(Exception):
    """A measured command failed: there is no figure."""


class Cost(NamedTuple):
    """What a command took: seconds on the clock, and CPU seconds of it and of all that it waited for."""

    seconds: float
    cpu: float


def run(command: Sequence[str], log: Path, cwd: Path, env: Mapping[str, str]) -> Cost:
    """Run a command to its end with its output in LOG; raise CommandFailedError if it fails."""
    with log.open("w") as output:
        begun = time.monotonic()
        process = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        _pid, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = "\n".join(log.read_text().splitlines()[-LAST_LINES:])
        raise CommandFailedError(f"{' '.join(command)}: exit status {process.returncode}; the end of {log}:\n{tail}")
    return Cost(seconds, used.ru_utime + used.ru_stime)


@dataclass
class Figure:
    """One figure: samples of ours, beside those of another way to do the same if there is one.

    The two are measured in turns, so each pair of samples saw the same machine: the ratio is the median of the pairs'.
    at_most: what the median, or where there is another way the ratio, is to stay within.
    """

    name: str
    unit: str
    samples: list[float]
    other: str = ""
    other_samples: list[float] = field(default_factory=list)
    at_most: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no ratio can be made of."""
        if not self.samples or (self.other_samples and len(self.samples) != len(self.other_samples)):
            raise ValueError(f"{self.name}: {len(self.samples)} samples beside {len(self.other_samples)}")

    @property
    def value(self) -> float:
        """The median of ours."""
        return median(self.samples)

    @property
    def ratio(self) -> float | None:
        """Ours to the other's, None where there is no other."""
        pairs = zip(self.samples, self.other_samples, strict=True) if self.other_samples else ()
        return median([ours / other for ours, other in pairs] or [0]) or None

    @property
    def met(self) -> bool | None:
        """Whether it stays within what it should, None where nothing is said."""
        judged = self.value if self.ratio is None else self.ratio
        return None if self.at_most is None else judged <= self.at_most

    def record(self) -> dict[str, Any]:
        """Return it as it is kept, samples rounded to what can be told apart."""
        rounded = {key: [round(x, 3) for x in getattr(self, key)] for key in ("samples", "other_samples")}
        return asdict(self) | rounded
