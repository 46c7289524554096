# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of wanted_state on roles of a collection of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleLookupError, AnsibleUndefinedVariable
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import lookup_loader
from ansible.template import Templar, trust_as_template
from ansible_collections.sparkfleet.ec2.plugins.lookup import wanted_state
from ansible_collections.sparkfleet.ec2.plugins.plugin_utils import _digest

COLLECTIONS = Path(wanted_state.__file__).parents[5]
SPECS = """
argument_specs:
  main:
    options:
      one_size: {type: int, default: 3}
      one_conf: {type: dict}
      one_home: {type: str}
      one_file: {type: path, default: ""}
      one_password: {type: str, no_log: true}
"""
DEFAULTS = """
one_size: 3
one_home: "{{ one_top }}/home"
one_file: ""
one_password: "{{ one_secret | default('') }}"
"""
FILES = {
    "one/meta/argument_specs.yml": SPECS,
    "one/defaults/main.yml": DEFAULTS,
    "one/vars/main.yml": "one_top: /srv\n",
    "one/tasks/main.yml": "- ansible.builtin.include_tasks: show.yml\n",
    "one/tasks/show.yml": "- ansible.builtin.debug: {msg: '{{ wanted }}'}\n",
    "one/files/program": "#!/bin/sh\n",
    "one/README.md": "words\n",
    "two/tasks/main.yml": "[]\n",
    "empty/meta/argument_specs.yml": "",
    "other/meta/argument_specs.yml": "argument_specs: {install: {options: {}}}\n",
}
Hash = Callable[..., str]


@pytest.fixture
def roles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of roles that may be named as a.b.<role>."""
    for name, content in FILES.items():
        write(tmp_path / name, content)
    found = {f"a.b.{role}": tmp_path / role for role in ("one", "two", "empty", "other")}
    monkeypatch.setattr(wanted_state, "role_path", found.get)
    return tmp_path


@pytest.fixture
def wanted(roles: Path) -> Hash:
    """A function: the hash of role one, or of other ones, with some variables."""

    def run(*names: str, extra: Any = None, **variables: Any) -> str:
        loader = DataLoader()
        templar = Templar(loader, variables)
        lookup = lookup_loader.get("sparkfleet.ec2.wanted_state", loader=loader, templar=templar)
        (value,) = lookup.run(list(names or ("a.b.one",)), variables, extra=extra)
        return value

    return run


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_the_same_on_every_run_and_host(wanted: Hash) -> None:
    first = wanted(inventory_hostname="a", groups={"nodes": ["a"]})
    assert wanted(inventory_hostname="b", groups={}) == first
    assert len(bytes.fromhex(first)) == 32


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("one/tasks/main.yml", "- {}\n"),
        ("one/files/program", "#!/bin/bash\n"),
        ("one/files/new", ""),
        ("one/defaults/main.yml", "one_size: 4\n"),
        ("one/templates/deep/x.j2", "x"),
    ],
)
def test_a_file_of_the_role_counts(wanted: Hash, roles: Path, name: str, content: str) -> None:
    before = wanted()
    write(roles / name, content)
    assert wanted() != before


def test_a_file_by_another_name_counts(wanted: Hash, roles: Path) -> None:
    before = wanted()
    (roles / "one/files/program").rename(roles / "one/files/programme")
    assert wanted() != before


@pytest.mark.parametrize(
    "name", ["one/README.md", "one/files/__pycache__/program.cpython-311.pyc", "two/tasks/main.yml", "one/x/README.md"]
)
def test_readmes_and_other_roles_do_not_count(wanted: Hash, roles: Path, name: str) -> None:
    before = wanted()
    write(roles / name, "other words\n")
    assert wanted() == before


@pytest.mark.parametrize(
    "given", [{"one_size": 4}, {"one_conf": {"a": 1}}, {"one_home": ""}, {"one_size": None}, {"one_size": "4"}]
)
def test_a_setting_counts(wanted: Hash, given: dict[str, Any]) -> None:
    assert wanted(**given) != wanted()


def test_values_of_settings_count(wanted: Hash) -> None:
    given = [{"one_conf": {"a": 1, "b": [1]}}, {"one_conf": {"a": 1, "b": [2]}}, {"one_conf": {}}, {"one_size": 5}]
    assert len({wanted(**variables) for variables in given}) == 4
    assert wanted(one_conf={"a": 1, "b": 2}) == wanted(one_conf={"b": 2, "a": 1})


@pytest.mark.parametrize(
    "given",
    [
        {"two_size": 4},
        {"one_sizes": 4},
        {"one_top": "/opt"},
        {"one_size": 3},
        {"one_home": trust_as_template("{{ one_top }}/home")},
    ],
    ids=["another role's", "another name", "internal", "the default", "the default's template"],
)
def test_other_variables_and_defaults_do_not_count(wanted: Hash, given: dict[str, Any]) -> None:
    assert wanted(**given) == wanted()


def test_templates_count_by_what_comes_of_them(wanted: Hash) -> None:
    template = {"one_conf": {"memory": [trust_as_template("{{ size }}g")]}}
    assert wanted(**template, size=4) == wanted(one_conf={"memory": ["4g"]})
    assert wanted(**template, size=4) != wanted(**template, size=8)


def test_a_template_that_cannot_be_worked_out_is_an_error(wanted: Hash) -> None:
    with pytest.raises(AnsibleUndefinedVariable, match="'size' is undefined"):
        wanted(one_home=trust_as_template("{{ size }}g"))


def test_extra_counts(wanted: Hash) -> None:
    hashes = {wanted(extra=extra) for extra in (None, "worker", "master", ["worker"], {"a": 1})}
    assert len(hashes) == 5


def test_roles_and_their_order_count(wanted: Hash) -> None:
    assert len({wanted("a.b.one"), wanted("a.b.one", "a.b.two"), wanted("a.b.two", "a.b.one")}) == 3


def test_roles_without_specifications_count_by_their_files(wanted: Hash, roles: Path) -> None:
    for role in ("two", "empty", "other"):
        before = wanted(f"a.b.{role}")
        write(roles / role / "files/x", "x")
        assert wanted(f"a.b.{role}") != before


def test_a_role_that_is_not_there_is_named(wanted: Hash) -> None:
    with pytest.raises(AnsibleLookupError, match=r"wanted_state: no role a\.b\.three; give its full name"):
        wanted("a.b.one", "a.b.three")


def test_where_a_role_lies_does_not_count(tmp_path: Path) -> None:
    for top in ("x", "y"):
        write(tmp_path / top / "role/tasks/main.yml", "[]")
    digests = {_digest.files_digest(tmp_path / top / "role") for top in ("x", "y")}
    assert len(digests) == 1


PLAYBOOK = """
- hosts: a1,a2
  gather_facts: false
  vars: {wanted: "{{ lookup('sparkfleet.ec2.wanted_state', 'a.b.one', extra='worker') }}"}
  tasks:
    - ansible.builtin.debug: {msg: "{{ wanted }}"}
    - ansible.builtin.include_role: {name: a.b.one, rolespec_validate: false}
"""


def hashes(folder: Path, *words: str) -> list[str]:
    """Return the hashes that the playbook shows: of each host before the role, and of each within it."""
    command = [Path(sys.executable).with_name("ansible-playbook"), "-i", "a1,a2,", *words, "play.yml"]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": f"{folder}:{COLLECTIONS}", "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    found = [json.loads(line.partition(": ")[2]) for line in done.stdout.splitlines() if '"msg": ' in line]
    assert len(found) == 4, done.stdout + done.stderr
    return found


def test_the_same_within_a_role_where_its_defaults_are_variables_too(tmp_path: Path) -> None:
    for name, content in FILES.items():
        write(tmp_path / "ansible_collections/a/b/roles" / name, content)
    write(tmp_path / "play.yml", PLAYBOOK)
    usual = set(hashes(tmp_path))
    other = set(hashes(tmp_path, "-e", "one_size=4"))
    assert len(usual) == len(other) == 1
    assert usual != other


def test_what_a_file_of_this_machine_holds_counts(wanted: Hash, tmp_path: Path) -> None:
    """A certificate that was renewed under the same name has to reach the nodes."""
    file = tmp_path / "certificate.pem"
    missing = wanted(one_file=str(file))
    file.write_text("one")
    first = wanted(one_file=str(file))
    file.write_text("two")
    assert len({missing, first, wanted(one_file=str(file)), wanted()}) == 4


def test_a_secret_counts_whoever_sets_it_and_cannot_be_guessed_fast(
    wanted: Hash, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By way of the default, too, which may ask the environment."""
    assert len({wanted(), wanted(one_password="a"), wanted(one_password="b")}) == 3
    assert wanted(one_secret="a") == wanted(one_password="a")
    assert wanted(one_password="") == wanted()
    seen: list[object] = []
    monkeypatch.setattr(wanted_state, "state_digest", lambda paths, state: seen.append(state) or "0")
    wanted(one_password="correct horse")
    assert "correct horse" not in str(seen)
