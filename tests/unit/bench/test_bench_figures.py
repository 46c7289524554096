# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what `make bench` makes of its measurements. None of them is about how fast anything is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench import report
from bench.__main__ import DRAWING, PAGE
from bench.chart import HEIGHT, WIDTH, step, svg
from bench.clusters import PLACE, Launch, Phase, exports, place_settings
from bench.demos import memory
from bench.launches import DRAWN, PHASES, phase_table, phases_by_size, size_table
from bench.measure import CommandFailedError, Cost, Figure, environment, run
from bench.report import BEGIN, END, RESULTS, ROOT, Result, Table

ABOUT = {
    "topic": "push",
    "command": "make bench TOPIC=push RUNS=3",
    "runs": 3,
    "date": "2026-01-02 03:04 UTC",
    "commit": "abc1234",
    "cores": 2,
    "memory_gib": 23.5,
    "kernel": "6.1",
    "load_before": 0.1,
    "versions": {"python": "3.11.7"},
}
SIZES = Table("By size:", ["nodes", *DRAWN], [[2, 40.0, 30.0], [4, 80.0, 50.0], [11, 200.0, 120.0]])


def test_medians() -> None:
    """Of our samples; one that is far out does not count."""
    assert Figure("x", "s", [3, 900, 1]).value == 3
    assert Figure("x", "s", [1, 2]).value == 1.5


def test_ratio_is_of_pairs() -> None:
    """The machine slowed down tenfold after the first pair: medians of each side would say 10 or 0.1."""
    figure = Figure("x", "s", [20, 100, 110], "other", [10, 10, 100], at_most=2)
    assert figure.ratio == 2
    assert figure.met
    assert Figure("x", "s", [1]).ratio is None


@pytest.mark.parametrize(("samples", "at_most", "met"), [([24], 25, True), ([26], 25, False), ([1], None, None)])
def test_met(samples: list[float], at_most: float | None, met: bool | None) -> None:
    """Without another way, the value itself is judged; with one, the ratio."""
    assert Figure("x", "s", samples, at_most=at_most).met is met
    beside = Figure("x", "s", [30], "other", [20], at_most=1.2)
    assert beside.met is False


@pytest.mark.parametrize(("samples", "others"), [([], []), ([1, 2], [1]), ([1], [1, 2])])
def test_samples_without_partner(samples: list[float], others: list[float]) -> None:
    with pytest.raises(ValueError, match="launch: "):
        Figure("launch", "s", samples, "other", others)


def test_cpu_of_children_counts(tmp_path: Path) -> None:
    """CPU of a grandchild is in, sleep is on the clock only."""
    burn = "import os; end = os.times().user + 0.3\nwhile os.times().user < end: pass"
    nested = f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {burn!r}]); time.sleep(0.2)"
    cost = run([sys.executable, "-c", nested], tmp_path / "log", tmp_path, os.environ)
    assert cost.cpu >= 0.3
    assert cost.seconds >= 0.5


def test_failed_command_gives_no_figure(tmp_path: Path) -> None:
    with pytest.raises(CommandFailedError, match=r"(?s)exit status 3.*the reason"):
        run(["sh", "-c", "echo the reason >&2; exit 3"], tmp_path / "log", tmp_path, os.environ)


def test_save_and_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was kept is what was found, up to milliseconds."""
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    result = Result([Figure("launch", "s", [1.23456, 2], "script", [1, 2], 2.0)], [SIZES])
    about, again = report.load(report.save(ABOUT, result))
    assert about == ABOUT
    assert again == Result([Figure("launch", "s", [1.235, 2], "script", [1, 2], 2.0)], [SIZES])


def test_render(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is between the marks is made anew, what is around them stays; twice is the same as once."""
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    report.save(ABOUT, Result([Figure("launch", "s", [150, 90, 120], "script", [50, 45, 40], 2.0)], [SIZES]))
    text = f"# Before\n\n{BEGIN.format('push.json')}\nold\n{END}\n\nafter\n{BEGIN.format('demo.json')}\n{END}\n"
    made = report.render(text, tmp_path)
    assert made.startswith("# Before\n")
    assert "\nafter\n" in made
    assert "old" not in made
    assert "| launch | 120 s (90.0 to 150) | script: 45.0 s (40.0 to 50.0) | 3.00 × | ≤ 2 × | **no** |" in made
    assert "median of 3 runs" in made
    assert "| 11 | 200 | 120 |" in made
    assert "`make bench TOPIC=demo`" in made
    assert report.render(made, tmp_path) == made


def test_documentation_shows_the_results() -> None:
    """The page and the drawing are what `python -m bench --render` makes of bench/results."""
    assert report.render(PAGE.read_text()) == PAGE.read_text()
    scale = RESULTS / "scale.json"
    if scale.exists():
        assert DRAWING.read_text() == svg(report.load(scale)[1].tables[0], DRAWN)


def test_drawing() -> None:
    """Well-formed; the highest value is the highest point, and all is within the frame."""
    root = ET.fromstring(svg(SIZES, DRAWN))
    space = "{http://www.w3.org/2000/svg}"
    lines = [line.get("points", "").split() for line in root.iter(f"{space}polyline")]
    ours, script = [[tuple(map(float, point.split(","))) for point in line] for line in lines]
    assert len(ours) == len(script) == 3
    assert min(y for _x, y in ours) < min(y for _x, y in script)
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in ours + script)
    assert "nodes" in "".join(root.itertext())


@pytest.mark.parametrize(("most", "distance"), [(200, 50), (9.9, 2), (100, 20), (1, 0.2)])
def test_grid(most: float, distance: float) -> None:
    assert step(most) == pytest.approx(distance)


def test_phases_of_a_launch() -> None:
    """From the first question to the nodes until Spark counts all, whatever came before."""
    phases = [Phase("start", 100, 0), Phase("connect", 107, 3), Phase("install", 110, 4), Phase("end", 150, 9)]
    launch = Launch(Cost(51, 9.5), phases, counted_at=152)
    assert launch.from_ssh_ready == 45
    assert launch.by_phase() == {"start": Cost(7, 3), "connect": Cost(3, 1), "install": Cost(40, 5)}


def launch(seconds: float) -> Launch:
    """A launch in which install took SECONDS and half as much CPU, and every other phase a second."""
    phases, at, cpu = [], 0.0, 0.0
    for name in ("start", *PHASES):
        phases.append(Phase(name, at, cpu))
        at, cpu = (at + seconds, cpu + seconds / 2) if name == "install" else (at + 1, cpu + 1)
    return Launch(Cost(at, cpu), [*phases, Phase("end", at, cpu)], counted_at=at + 1)


def test_tables_of_launches() -> None:
    """Medians by size and phase; for each node, what all took by their number."""
    launches = {1: [launch(10), launch(90), launch(16)], 3: [launch(40)]}
    scripts = {1: [Cost(10, 1), Cost(12, 2), Cost(11, 9)], 3: [Cost(20, 3)]}
    small, large = size_table(launches, scripts).rows
    assert small == [2, 20, 11, 12, 2, 10, 5.5, 6, 1]
    assert large == [4, 44, 20, 24, 3, 11, 5, 6, 0.75]
    by_size = phases_by_size(launches)
    assert by_size.columns[3:5] == ["install s", "CPU s"]
    assert [row[3:5] for row in by_size.rows] == [[16, 8], [40, 20]]
    assert {len(row) for row in by_size.rows} == {len(by_size.columns)}
    assert phase_table(launches[1]).rows == [
        ["start", 1, 1],
        ["connect", 1, 1],
        ["install", 16, 8],
        *[[name, 1, 1] for name in ("configure", "service")],
    ]


def test_phases_are_noted(tmp_path: Path) -> None:
    """The callback hears the marks that the site playbook sets, with the name that they have when they run."""
    mark = ROOT / "playbooks/tasks/mark.yml"
    tasks = [{"ansible.builtin.import_tasks": str(mark), "vars": {"phase": phase}} for phase in ("connect", "install")]
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    notes = tmp_path / "phases"
    env = {
        **os.environ,
        "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "bench/plugins/callback"),
        "ANSIBLE_CALLBACKS_ENABLED": "phases",
        "SPARKFLEET_BENCH_PHASES": str(notes),
    }
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-c", "local", "play.yml"]
    done = subprocess.run(
        command, cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    phases = [Phase(*json.loads(line)) for line in notes.read_text().splitlines()]
    assert [phase.name for phase in phases] == ["start", "connect", "install", "end"]
    assert sorted(phases, key=lambda phase: (phase.at, phase.cpu)) == phases


def test_memory() -> None:
    """Of the server and of nodes that run."""
    status = """local EC2 x is up: http://127.0.0.1:1 (server process 77, 150 MiB)
instance             name             state          private         public             memory
i-01                 sparkfleet-demo  running        10.0.0.1        198.18.0.1        460 MiB
i-02                 sparkfleet-demo  stopped        10.0.0.2        -                       -
i-03                 sparkfleet-demo  running        10.0.0.3        198.18.0.3        210 MiB"""
    assert memory(status) == (150, [460, 210])


def test_exports() -> None:
    """Lines of a shell, quoted or not."""
    assert exports("# x\nexport A=1 B='two words'\nexport C=http://h:1\n") == {
        "A": "1",
        "B": "two words",
        "C": "http://h:1",
    }


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's own account is measured; where local EC2 is can be said."""
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("ANSIBLE_FORKS", "1")
    monkeypatch.setenv("SPARKFLEET_LOCAL_EC2_PORT", "1234")
    assert not {"AWS_PROFILE", "ANSIBLE_FORKS", "SPARKFLEET_LOCAL_EC2_PORT"} & set(environment())
    assert environment()["PATH"]
    assert place_settings()["SPARKFLEET_LOCAL_EC2_PORT"] == "1234"
    assert place_settings()["SPARKFLEET_LOCAL_EC2_NAME"] == PLACE["NAME"]
