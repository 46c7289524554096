# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of check_settings as a role's task, by ansible-playbook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.sparkfleet.ec2.plugins.action import check_settings

COLLECTIONS = Path(check_settings.__file__).parents[5]
FILES = {
    "ansible.cfg": f"[defaults]\ncollections_path = {COLLECTIONS}\n",
    "roles/demo/meta/argument_specs.yml": """
argument_specs:
  main:
    options:
      demo_count: {type: int}
      demo_on: {type: bool}
      demo_names: {type: list, elements: str}
      demo_conf: {type: dict}
      demo_kind: {type: str, choices: [big, small]}
      demo_home: {type: path}
      demo_token: {type: str, required: true}
""",
    "roles/demo/defaults/main.yml": """
demo_count: "{{ count | default(3) }}"
demo_on: false
demo_names: ["{{ first | default('a') }}", b]
demo_conf: {}
demo_kind: big
""",
    "roles/demo/vars/main.yml": """
__demo_formats:
  demo_count: {min: 1, max: 9, expected: "give a number from {{ __demo_least }} to 9", called: count}
  demo_names: {pattern: "[a-z]+", expected: "give lower-case words"}
__demo_least: 1
__demo_rules:
  - ok: "{{ demo_count | int < 5 or demo_on | bool }}"
    message: "count: got {{ demo_count }}; say demo_on=yes too"
  - ok: "{{ demo_kind == 'big' or demo_names | length < 2 }}"
    message: "demo_kind: got {{ demo_kind }}; give one name only"
""",
    "roles/demo/tasks/main.yml": """
- name: Check
  sparkfleet.ec2.check_settings:
- name: Go on
  ansible.builtin.debug: {msg: went on}
""",
    "roles/demo/tasks/options.yml": """
- name: Check
  sparkfleet.ec2.check_settings: {count: 3}
""",
    "roles/plain/meta/argument_specs.yml": "argument_specs: {main: {options: {plain_count: {type: int}}}}",
    "roles/plain/tasks/main.yml": "- {name: Check, sparkfleet.ec2.check_settings: }",
    "role.yml": """
- hosts: far
  gather_facts: false
  vars: {demo_jobs_dir: /jobs, spark_conf: 3, counts: [1]}
  tasks:
    - ansible.builtin.include_role:
        name: "{{ role | default('demo') }}"
        tasks_from: "{{ entry | default('main') }}"
        rolespec_validate: false
""",
    "book.yml": """
- hosts: far
  gather_facts: false
  tasks:
    - sparkfleet.ec2.check_settings:
        options:
          sure: {type: bool}
          many: {type: raw}
""",
    "task.yml": """
- hosts: far
  gather_facts: false
  tasks:
    - sparkfleet.ec2.check_settings:
""",
}
Play = Callable[..., list[str] | None]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """A function: run the role with extra variables; the lines of its failure, None if it went on."""
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)

    def run(*extra: str, book: str = "role.yml") -> list[str] | None:
        words = [word for one in extra for word in ("-e", one)]
        # No such machine: the action must not connect.
        command = [Path(sys.executable).with_name("ansible-playbook"), "-i", "far,", *words, book]
        environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg")}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        failures = [line.partition(" => ")[2] for line in done.stdout.splitlines() if line.startswith("fatal: ")]
        assert len(failures) == (done.returncode != 0), done.stdout + done.stderr
        return json.loads(failures[0])["msg"].splitlines() if failures else None

    return run


@pytest.mark.parametrize(
    "extra",
    [
        [],
        ["count=4", "demo_on=no", "demo_kind=big", "demo_home=/x"],
        ['demo_count=" 9"', "demo_on=yes"],
        ['{"demo_names": ["x"], "demo_conf": {"a": 1}, "demo_kind": "small"}'],
        ["first={{ 'b' }}"],
        ["role=plain", "plain_count=3"],
        ["role=plain"],
    ],
)
def test_settings_that_will_do(play: Play, extra: list[str]) -> None:
    assert play("demo_token=x", *extra) is None


def test_each_setting_that_will_not_do_has_its_line(play: Play) -> None:
    wrong = [
        "demo_count=5.0",
        "demo_on=maybe",
        "first=A_",
        "demo_conf={}",
        "demo_kind=large",
        "demo_naems=x",
        "cuont=1",
    ]
    assert play(*wrong, '{"demo_home": ["{{ first }}"]}') == [
        "demo_naems: no such setting; did you mean demo_names?",
        "cuont: no such setting; did you mean count?",
        'count: got "5.0"; give a number from 1 to 9',
        'demo_on: got "maybe"; give true or false',
        'demo_names: got ["A_", "b"]; give lower-case words',
        """demo_conf: got "{}"; give a dictionary, as in -e '{"demo_conf": {"key": "value"}}'""",
        'demo_kind: got "large"; give one of big, small',
        'demo_home: got ["A_"]; give a path',
        "demo_token: is not set; give a text",
    ]


def test_rules_over_several_settings_are_judged_where_each_is_sound(play: Play) -> None:
    both = ["demo_token=x", "count=7", "demo_kind=small"]
    assert play(*both) == ["count: got 7; say demo_on=yes too", "demo_kind: got small; give one name only"]
    assert play(*both, "demo_home={{ [1] }}") == ["demo_home: got [1]; give a path"]


def test_a_setting_made_of_what_is_not_defined_is_named(play: Play) -> None:
    assert play("demo_token=x", "demo_kind={{ no_such_thing }}") == [
        "demo_kind: cannot be worked out: 'no_such_thing' is undefined"
    ]


def test_a_setting_that_is_set_to_null_is_not_set(play: Play) -> None:
    assert play("demo_token=x", '{"demo_names": null}') == ["demo_names: is not set; give lower-case words"]
    assert play("demo_token=x", '{"count": null}') == ["count: is not set; give a number from 1 to 9"]


def test_it_knows_one_option_and_needs_it_outside_of_roles(play: Play) -> None:
    assert "count. Supported parameters include" in " ".join(play("entry=options") or [])
    assert play(book="task.yml") == ["check_settings needs options where it is not in a role's tasks"]


def test_what_a_playbook_takes_itself(play: Play) -> None:
    assert play("sure=yes", "phase=x", "sures=1", book="book.yml") == ["sures: no such setting; did you mean sure?"]
    assert play("sure=perhaps", book="book.yml") == ['sure: got "perhaps"; give true or false']
    assert play("sure=no", "many=[1]", "demo_count=x", book="book.yml") is None
    assert play(book="book.yml") is None
