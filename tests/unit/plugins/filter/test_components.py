# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the filters over the list `components`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.sparkfleet.ec2.plugins.filter import components
from ansible_collections.sparkfleet.ec2.plugins.plugin_utils import _components

FILTERS = components.FilterModule().filters()
parts, problems, roles, steps = (FILTERS[f"component_{name}"] for name in ("parts", "problems", "roles", "steps"))
COLLECTIONS = Path(components.__file__).parents[5]
FOREIGN = {"role": "sparkfleet.ec2.fleet"}  # stands for somebody's role: installed, and no component
GIVE = "give names, as in -e components=java,spark"


def names(found: list[dict[str, str]]) -> list[str]:
    return [f"{step['role'].removeprefix('sparkfleet.ec2.')}/{step['tasks_from']}" for step in found]


@pytest.mark.parametrize(
    "given",
    [
        ["java", "spark"],
        ("java", "spark"),
        [],
        ["spark", "java"],
        ["java", FOREIGN],
        [{**FOREIGN, "phase": "run", "hosts": "master"}, {**FOREIGN, "phase": "install"}],
        "java",
        "java,spark",
        "java, spark,",
        "[java,spark]",
        '["java", {"role": "sparkfleet.ec2.fleet", "hosts": "workers"}]',
    ],
)
def test_lists_that_will_do(given: Any) -> None:
    assert problems(given) == []


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["java", "spork"], 'there is no component "spork"; did you mean spark?'),
        (["Spark"], 'there is no component "Spark"; did you mean spark?'),
        ("java,sparc", 'there is no component "sparc"; did you mean spark?'),
        (["common"], 'there is no component "common"; give any of '),
        (["xyz"], 'there is no component "xyz"; give any of '),
        ([""], 'there is no component ""; give any of '),
        (["a.b.c"], "a.b.c is no component of ours; for the role of that name give {role: a.b.c}"),
        (["java", "spark", "java"], '"java" is there twice'),
        ([FOREIGN, FOREIGN], '{"role": "sparkfleet.ec2.fleet"} is there twice'),
        ([3], "got 3; give names, or dictionaries with role, phase and hosts"),
        ([None], "got null; give names, or dictionaries with role, phase and hosts"),
        ([["java"]], 'got ["java"]; give names, or dictionaries with role, phase and hosts'),
        ([{"role": "spark"}], '{"role": "spark"} has no full name of a role; give one such as my.collection.role'),
        ([{}], "{} has no full name of a role; give one such as my.collection.role"),
        ([{**FOREIGN, "when": 1, "on": 2}], "has no use for on, when; give role, phase and hosts only"),
        (
            [{**FOREIGN, "phase": "setup"}],
            "has an unknown phase; give one of preflight, install, configure, service, validate, run",
        ),
        ([{**FOREIGN, "hosts": ["master"]}], "has unknown hosts; give one of all, master, workers"),
        (
            [{"role": "no.such.role"}],
            '{"role": "no.such.role"} names a role that is not there; install the collection that has no.such.role',
        ),
        ([{"role": "sparkfleet.ec2.nothing"}], "install the collection that has sparkfleet.ec2.nothing"),
        ("[java,", f'got "[java,"; {GIVE}'),
        ("", f'got ""; {GIVE}'),
        (None, f"got null; {GIVE}"),
        (7, f"got 7; {GIVE}"),
        ({"java": True}, f'got {{"java": true}}; {GIVE}'),
    ],
)
def test_what_will_not_do_is_said_in_one_line(given: Any, line: str) -> None:
    (said,) = problems(given)
    assert said.startswith("components: ")
    assert line in said
    assert "\n" not in said


def test_every_entry_that_will_not_do_has_its_line() -> None:
    assert len(problems(["spork", "java", 3])) == 2


def test_components_are_the_roles_with_an_install_phase() -> None:
    known = _components.known_components()
    assert {"java", "spark"} <= set(known)
    assert not {"common", "fleet"} & set(known)
    assert known == sorted(known)


@pytest.mark.parametrize("given", [["spark", "java", FOREIGN], '[spark, java, {"role": "sparkfleet.ec2.fleet"}]'])
def test_roles_keep_the_order_after_the_foundation(given: Any) -> None:
    assert roles(given) == [f"sparkfleet.ec2.{name}" for name in ("common", "spark", "java", "fleet")]


def test_what_a_component_brings_along_comes_before_it_and_once() -> None:
    assert roles(["java", "jupyter_ssl", "ganglia"]) == [
        f"sparkfleet.ec2.{name}" for name in ("common", "java", "web", "jupyter_ssl", "ganglia")
    ]
    found = names(steps(["spark", "jupyter_ssl"], "configure", "master"))
    assert found == ["spark/configure", "web/configure", "jupyter_ssl/configure"]
    assert "web" not in _components.known_components()


def test_steps_of_a_phase_keep_the_order_and_pass_over_roles_without_it() -> None:
    assert names(steps(["java", "spark"], "install", "worker")) == ["common/install", "java/install", "spark/install"]
    assert names(steps("spark,java", "install", "master")) == ["common/install", "spark/install", "java/install"]
    assert names(steps(["java", "spark"], "configure", "worker")) == ["spark/configure"]
    assert names(steps(["java", "spark"], "run", "worker")) == []


def test_our_proofs_run_on_the_master_only() -> None:
    assert names(steps(["java", "spark"], "validate", "master")) == ["java/validate", "spark/validate"]
    assert names(steps(["java", "spark"], "validate", "worker")) == []


def test_what_a_proof_says_of_one_node_is_proved_on_each() -> None:
    assert names(steps(["storage", "spark"], "validate", "master")) == ["storage/validate", "spark/validate"]
    assert names(steps(["storage", "spark"], "validate", "worker")) == ["storage/validate"]


@pytest.mark.parametrize("phase", _components.PHASES)
def test_a_foreign_role_is_run_whole_in_its_phase_only(phase: str) -> None:
    in_all = {"phase": phase, "role": "sparkfleet.ec2.fleet"}
    for other in _components.PHASES:
        found = [name for name in names(steps([in_all], other, "worker")) if name.startswith("fleet")]
        assert found == (["fleet/main"] if other == phase else [])


def test_a_foreign_role_without_a_phase_is_run_in_the_service_phase_after_what_comes_before_it() -> None:
    assert names(steps(["spark", FOREIGN, "java"], "service", "worker")) == [
        "common/service",
        "spark/service",
        "fleet/main",
    ]


@pytest.mark.parametrize(
    ("hosts", "nodes"), [("all", ["master", "worker"]), ("master", ["master"]), ("workers", ["worker"])]
)
def test_a_foreign_role_is_run_on_its_hosts_only(hosts: str, nodes: list[str]) -> None:
    entry = {**FOREIGN, "hosts": hosts}
    assert [node for node in ("master", "worker") if "fleet/main" in names(steps([entry], "service", node))] == nodes


def test_what_only_masters_have_is_no_part_of_workers() -> None:
    given = ["spark", "jupyter_ssl", "ganglia", {**FOREIGN, "hosts": "master", "phase": "run"}]
    ours = [{"role": f"sparkfleet.ec2.{name}"} for name in ("common", "spark", "web", "jupyter_ssl", "ganglia")]
    assert parts(given, "master") == [*ours, given[-1]]
    assert parts(given, "worker") == [ours[0], ours[1], ours[4]]
    assert names(steps(given, "install", "worker")) == ["common/install", "spark/install", "ganglia/install"]
    on_workers = {**FOREIGN, "hosts": "workers"}
    assert parts([on_workers], "master", True) == [ours[0], on_workers]


@pytest.mark.parametrize("use", [roles, lambda given: steps(given, "install", "master")])
def test_filters_that_cannot_work_with_what_is_given_say_so(use: Any) -> None:
    with pytest.raises(AnsibleFilterError, match=r"components: got 7; give names"):
        use(7)


PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  vars_files: ["{{ playbooks }}/vars/cluster.yml"]
  tasks:
    - name: Say what is wrong and what is done
      ansible.builtin.debug:
        msg:
          - "problems={{ sparkfleet_components | sparkfleet.ec2.component_problems }}"
          - "roles={{ sparkfleet_components | sparkfleet.ec2.component_roles | join(' ') }}"
"""


@pytest.mark.parametrize(
    ("words", "last"), [([], "spark"), (["-e", "components=spark,java"], "java"), (["-e", "components=[java]"], "java")]
)
def test_the_command_line(tmp_path: Path, words: list[str], last: str) -> None:
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    (tmp_path / "ansible.cfg").write_text(f"[defaults]\ncollections_path = {COLLECTIONS}\n")
    playbooks = Path(components.__file__).parents[2] / "playbooks"
    command = [Path(sys.executable).with_name("ansible-playbook"), "-e", f"playbooks={playbooks}", *words, "play.yml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "problems=[]" in done.stdout, done.stdout + done.stderr
    assert f'sparkfleet.ec2.{last}"' in done.stdout


def test_spark_needs_java() -> None:
    """Nothing is installed that could not run; a foreign role may bring a Java of its own."""
    line = "components: spark needs java; give -e components=java,spark"
    assert _components.problems(["spark"]) == [line]
    assert _components.problems(["spark", "java"]) == []
    assert line not in _components.problems([{"role": "my.own.java"}, "spark"])


def test_what_is_needed_is_named_with_what_it_needs() -> None:
    """Else whoever follows the advice gets the next line."""
    line = "components: fuse_dfs needs hdfs; give -e components=java,hdfs,fuse_dfs"
    assert _components.problems(["java", "fuse_dfs"]) == [line]
    assert _components.problems(["java", "hdfs", "fuse_dfs"]) == []


def test_a_master_alone_does_the_workers_part() -> None:
    """A role for the workers runs on it, where there are none."""
    entry = {"role": "my.own.role", "phase": "run", "hosts": "workers"}
    assert _components.steps([entry], "run", "master") == []
    assert _components.steps([entry], "run", "master", alone=True) == [{"role": "my.own.role", "tasks_from": "main"}]


@pytest.mark.parametrize("given", ["java", "java,spark", ["spark"], [FOREIGN, "java"], []])
def test_a_choice_among_the_components(given: Any) -> None:
    assert problems(given, ["java", "spark", FOREIGN]) == []


def test_what_is_no_choice_among_the_components() -> None:
    assert problems("spark,spork", "java,spark") == [
        'validate_components: "spork" is not in components; give any of java, spark'
    ]
    assert problems([FOREIGN, "java"], ["java"]) == [
        'validate_components: {"role": "sparkfleet.ec2.fleet"} is not in components; give any of java'
    ]
    assert problems(5, ["java"]) == ["validate_components: got 5; give names, as in -e validate_components=java,spark"]
