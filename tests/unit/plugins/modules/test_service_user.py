# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of service_user against lists of users and groups of the tests' own; the scenarios run it on nodes."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.sparkfleet.ec2.plugins.modules import service_user

SPARK = {"name": "spark", "id": 6100, "home": "/var/lib/spark"}
NOLOGIN = "/usr/sbin/nologin"
OPTIONS = ["--uid", "6100", "--gid", "6100", "--home", "/var/lib/spark", "--shell", NOLOGIN]
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Have commands noted instead of run."""
    commands: list[list[str]] = []

    def run_command(_module: Any, command: list[str]) -> tuple[int, str, str]:
        commands.append(command)
        return 0, "", ""

    monkeypatch.setattr(service_user.AnsibleModule, "run_command", run_command)
    return commands


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function: be a node with users, as (name, number, home, shell), and groups, as (name, number, members)."""

    def be(users: list[tuple[str, int, str, str]], groups: list[tuple[str, int, list[str]]]) -> None:
        known = {
            name: pwd.struct_passwd((name, "x", number, number, "", home, shell)) for name, number, home, shell in users
        }
        monkeypatch.setattr(service_user.pwd, "getpwnam", known.__getitem__)
        there = {name: grp.struct_group((name, "x", number, members)) for name, number, members in groups}
        monkeypatch.setattr(service_user.grp, "getgrnam", there.__getitem__)

    be([("admin", 1000, "/home/admin", "/bin/bash")], [("admin", 1000, [])])
    return be


@pytest.mark.usefixtures("node")
def test_makes_both_and_lets_members_in(run_module: Run, ran: list[list[str]]) -> None:
    assert run_module(service_user, **SPARK, members=["admin"])["changed"]
    assert ran == [
        ["groupadd", "--system", "--gid", "6100", "spark"],
        ["useradd", "--system", "--no-create-home", *OPTIONS, "spark"],
        ["usermod", "--append", "--groups", "spark", "admin"],
    ]


def test_nothing_to_do_where_all_is_as_wanted(node: Callable[..., None], run_module: Run, ran: list[list[str]]) -> None:
    users = [("spark", 6100, "/var/lib/spark", NOLOGIN), ("admin", 1000, "/home/admin", "/bin/bash")]
    node(users, [("spark", 6100, ["admin"]), ("admin", 1000, []), ("hdfs", 6101, ["spark"])])
    assert not run_module(service_user, **SPARK, groups=["hdfs"], members=["admin", "spark"])["changed"]
    assert ran == []


def test_changes_what_differs_and_only_that(node: Callable[..., None], run_module: Run, ran: list[list[str]]) -> None:
    node([("spark", 999, "/var/lib/spark", "/bin/sh")], [("spark", 998, []), ("hdfs", 6101, [])])
    run_module(service_user, **SPARK, groups=["hdfs"])
    assert ran == [
        ["groupmod", "--gid", "6100", "spark"],
        ["usermod", "--uid", "6100", "--gid", "6100", "--shell", NOLOGIN, "spark"],
        ["usermod", "--append", "--groups", "hdfs", "spark"],
    ]


@pytest.mark.usefixtures("node")
def test_a_dry_run_shows_what_would_be_run(run_module: Run, ran: list[list[str]]) -> None:
    result = run_module(service_user, check=True, **SPARK, groups=["not-yet"], members=["not-yet"])
    assert result["changed"]
    shown = [line.split()[0] for line in result["diff"]["after"].splitlines()]
    assert shown == ["groupadd", "useradd", "usermod", "usermod"]
    assert ran == []


@pytest.mark.usefixtures("node")
def test_members_have_to_exist(run_module: Run, ran: list[list[str]]) -> None:
    result = run_module(service_user, **SPARK, members=["admin", "bob"], members_setting="spark_submit_users")
    line = "spark_submit_users: the node has no user bob; give users that it has, or make them first"
    assert (result["failed"], result["msg"]) == (True, line)
    assert ran == []


@pytest.mark.usefixtures("node")
def test_what_a_command_has_against_it_is_one_line(run_module: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = (4, "", "groupadd: first\ngroupadd: GID '6100' already exists\n")
    monkeypatch.setattr(service_user.AnsibleModule, "run_command", lambda _module, _command: answer)
    assert run_module(service_user, **SPARK)["msg"] == "groupadd: GID '6100' already exists"
