# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of how values of role variables are judged, and of the roles' own formats."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.sparkfleet.ec2.plugins.plugin_utils import _settings

ROLES = Path(_settings.__file__).parents[2] / "roles"
SPECS = {
    path.parents[1].name: yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]
    for path in ROLES.glob("*/meta/argument_specs.yml")
}
FORMATS = {
    role: yaml.safe_load((ROLES / role / "vars" / "main.yml").read_text()).get(f"__{role}_formats", {})
    for role in SPECS
    if (ROLES / role / "vars" / "main.yml").exists()
}


def check(value: Any, kind: str, wanted: dict[str, Any] | None = None, **option: Any) -> str:
    """Return the line for a variable x_y; "" if it will do."""
    return "\n".join(_settings.check_option("x_y", value, {"type": kind, **option}, wanted or {}))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("int", [0, 3, -1, "3", " 3", "3 ", "-1", "007"]),
        ("bool", [True, False, "yes", "no", "True", "FALSE", "on", "off", "1", "0", 1, 0]),
        ("str", ["", "a", 3, 4.2, True]),
        ("path", ["/a", ""]),
        ("list", [[], ["a"], [1, None]]),
        ("dict", [{}, {"a": [1]}]),
        ("raw", [[], {}, 1, "a"]),
    ],
)
def test_values_of_the_type_will_do_as_texts_too(kind: str, values: list[Any]) -> None:
    assert [check(value, kind) for value in values] == [""] * len(values)


@pytest.mark.parametrize(
    ("kind", "values", "hint"),
    [
        ("int", [True, False, "5.0", 5.0, "", " ", "three", "1e3", "1_000", "- 1", [3], {}], "give a whole number"),
        ("bool", ["", "y", "maybe", 2, "2", [], {}, "yes no"], "give true or false"),
        ("str", [["a"], {"a": 1}], "give a text"),
        ("path", [["a"], {"a": 1}], "give a path"),
        ("list", ["a", "a,b", "[a]", 3, {"a": 1}], """give a list, as in -e '{"x_y": ["one", "two"]}'"""),
        ("dict", ["a", "{}", [], 3], """give a dictionary, as in -e '{"x_y": {"key": "value"}}'"""),
    ],
)
def test_other_values_are_named_with_what_would_do(kind: str, values: list[Any], hint: str) -> None:
    for value in values:
        assert check(value, kind) == f"x_y: got {_settings.shown(value)}; {hint}"


def test_the_hint_can_be_pasted() -> None:
    line = check("a", "dict")
    assert yaml.safe_load(re.findall(r"-e '(.*)'", line)[0]) == {"x_y": {"key": "value"}}


@pytest.mark.parametrize("kind", ["int", "bool", "str", "list", "dict"])
def test_what_is_not_set_will_do_unless_it_is_required(kind: str) -> None:
    assert check(None, kind, {"min": 1, "pattern": "x"}) == ""
    assert check(None, kind, {"expected": "give one"}, required=True) == "x_y: is not set; give one"


@pytest.mark.parametrize(
    ("value", "fits"), [(0, False), (1, True), ("9", True), (" 10", False), (10**30, False), (-5, False)]
)
def test_bounds(value: Any, fits: bool) -> None:
    line = f"x_y: got {_settings.shown(value)}; give 1 to 9"
    assert check(value, "int", {"min": 1, "max": 9, "expected": "give 1 to 9"}) == ("" if fits else line)


def test_bounds_on_one_side() -> None:
    assert [bool(check(value, "int", {"min": 2})) for value in (1, 2, 3)] == [True, False, False]
    assert [bool(check(value, "int", {"max": 2})) for value in (1, 2, 3)] == [False, False, True]


def test_choices() -> None:
    assert check("big", "str", choices=["big", "small"]) == ""
    assert check("large", "str", choices=["big", "small"]) == 'x_y: got "large"; give one of big, small'
    assert check("", "str", choices=["big", "small"]) == 'x_y: got ""; give one of big, small'
    assert [check(value, "int", choices=[8, 17]) for value in (8, "17")] == ["", ""]
    assert check("11", "int", choices=[8, 17]) == 'x_y: got "11"; give one of 8, 17'


def test_a_pattern_is_for_the_whole_text() -> None:
    assert [bool(check(value, "str", {"pattern": "[a-c]+"})) for value in ("abc", "abcd", "ab\n", "", 3)] == [
        False,
        *[True] * 4,
    ]
    assert check(4.2, "str", {"pattern": r"\d[.]\d"}) == ""


def test_elements_of_a_list() -> None:
    letters = {"pattern": "[a-c]", "expected": "give letters"}
    assert check(["a", "c"], "list", letters, elements="str") == ""
    assert check(["a", "d"], "list", letters, elements="str") == 'x_y: got ["a", "d"]; give letters'
    assert check([["a"]], "list", letters, elements="str") == 'x_y: got [["a"]]; give letters'
    assert check("a", "list", letters, elements="str") == 'x_y: got "a"; give letters'
    ports = {"min": 1, "max": 65535, "expected": "give ports"}
    assert check([1, "65535"], "list", ports, elements="int") == ""
    for wrong in ([0], [65536], ["http"], [True], [80, None]):
        assert check(wrong, "list", ports, elements="int").endswith("; give ports")
    assert check(["big", "huge"], "list", choices=["big"]).endswith("; give one of big")


@pytest.mark.parametrize("value", ["10.0.0.0/8", "203.0.113.7/32", "0.0.0.0/0"])
def test_networks(value: str) -> None:
    assert check([value], "list", {"network": True}, elements="str") == ""


@pytest.mark.parametrize(
    "value", ["10.0.0.5/24", "10.0.0.1", "10.0.0.0/33", "10.0.0.300/24", "2001:db8::/32", "10.0.0.0/255.0.0.0", "", "a"]
)
def test_what_is_no_network(value: str) -> None:
    assert check([value], "list", {"network": True, "expected": "give networks"}, elements="str").endswith(
        "; give networks"
    )


def test_the_name_that_users_know() -> None:
    assert check("x", "int", {"called": "workers"}) == 'workers: got "x"; give a whole number'


def test_a_secret_is_not_shown() -> None:
    line = check("hunter2", "str", {"pattern": ".{8,}", "expected": "give 8 characters"}, no_log=True)
    assert line == "x_y: got a value that is kept secret; give 8 characters"


def test_values_are_shown_in_one_short_line() -> None:
    assert check("a\nb", "int") == 'x_y: got "a\\nb"; give a whole number'
    assert check("ä" * 200, "int") == f'x_y: got "{"ä" * 96}...; give a whole number'
    assert _settings.shown({"a": Path("/b")}) == '{"a": "/b"}'


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("spark_verison", "spark_version"),
        ("spark_worker", "spark_workers"),
        ("spark_mirror", "spark_mirrors"),
        ("spark_javahome", "spark_java_home"),
        ("spark_submit_user", "spark_submit_users"),
        ("fleet_worker_instancetype", "fleet_worker_instance_type"),
        ("fleet_allowed_cidr", "fleet_allowed_cidrs"),
        ("common_node_rol", "common_node_role"),
        ("java_versoin", "java_version"),
    ],
)
def test_misspelt_settings_are_named(given: str, meant: str) -> None:
    known = SPECS[given.partition("_")[0]]
    assert _settings.misspelt(known, [given, *known]) == [f"{given}: no such setting; did you mean {meant}?"]


@pytest.mark.parametrize("role", SPECS)
def test_variables_of_ones_own_are_no_misspelt_settings(role: str) -> None:
    own = ["spark_jobs_dir", "spark_home", "spark_master_url", "spark_conf_dir", "spark_user", "spark_workers_count"]
    own += ["common_name", "common_packages", "common_cluster_owner", "java_home", "java_opts", "java_packages"]
    own += ["fleet_name", "fleet_owner", "fleet_image_name", "fleet_size", "workers", "cluster", "components", "item"]
    assert _settings.misspelt(SPECS[role], own) == []


@pytest.mark.parametrize("role", SPECS)
def test_settings_of_other_roles_are_no_misspelt_settings(role: str) -> None:
    everything = {name for options in SPECS.values() for name in options}
    assert _settings.misspelt(SPECS[role], everything) == []


def test_short_names() -> None:
    known = ["workers", "cluster"]
    given = ["worker", "clutser", "works_on", "workers_x", "region", "phase", "cluster_name", "components"]
    assert _settings.misspelt(known, given, 0.8) == [
        "clutser: no such setting; did you mean cluster?",
        "worker: no such setting; did you mean workers?",
    ]


@pytest.mark.parametrize("role", FORMATS)
def test_the_roles_formats_are_for_settings_that_there_are_and_say_what_would_do(role: str) -> None:
    for name, wanted in FORMATS[role].items():
        assert name in SPECS[role]
        assert set(wanted) <= {"pattern", "network", "min", "max", "expected", "called"}
        assert wanted["expected"].startswith("give ")
        re.compile(wanted.get("pattern", ""))


@pytest.mark.parametrize(("role", "name"), [(role, name) for role in SPECS for name in SPECS[role]])
def test_documented_defaults_will_do(role: str, name: str) -> None:
    option = SPECS[role][name]
    assert _settings.check_option(name, option.get("default"), option, FORMATS.get(role, {}).get(name, {})) == []
