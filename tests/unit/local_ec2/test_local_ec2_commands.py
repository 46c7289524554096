# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings, route conflicts, what ``env`` prints and what the command line refuses."""

from __future__ import annotations

import subprocess
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from local_ec2 import cli, daemon, host, settings
from local_ec2.credentials import Credentials
from local_ec2.network import conflict
from local_ec2.settings import LocalEC2Error, Settings

ROUTES = [
    {"dst": "default", "gateway": "192.0.2.1", "dev": "eth0"},
    {"dst": "192.0.2.0/24", "dev": "eth0"},
    {"dst": "10.8.0.0/14", "dev": "tun0"},
    {"dst": "203.0.113.7", "dev": "wg0"},
    {"dst": "10.231.0.0/16", "dev": "sf-sparkfleet"},
    {"type": "unreachable", "dst": "198.18.77.0/24"},
]
KEY = Credentials("AKIAEXAMPLE", "secret")


@pytest.mark.parametrize(
    ("cidr", "found"),
    [
        ("10.9.0.0/16", "10.8.0.0/14 dev tun0"),
        ("10.0.0.0/8", "10.8.0.0/14 dev tun0"),
        ("203.0.113.0/28", "203.0.113.7 dev wg0"),
        ("10.231.0.0/16", None),
        ("198.18.77.0/24", None),
        ("10.77.0.0/16", None),
    ],
)
def test_conflicting_route_is_named(cidr: str, found: str | None) -> None:
    assert conflict(IPv4Network(cidr), ROUTES, "sf-sparkfleet") == found


def test_the_route_of_another_local_ec2_conflicts() -> None:
    assert conflict(IPv4Network("10.231.0.0/16"), ROUTES, "sf-other") == "10.231.0.0/16 dev sf-sparkfleet"


@pytest.mark.parametrize(
    ("fields", "option"),
    [
        ({"name": "Too_Much"}, "--name"),
        ({"name": "x" * 13}, "--name"),
        ({"vpc_cidr": IPv4Network("10.231.0.0/20")}, "--vpc-cidr"),
        ({"public_cidr": IPv4Network("198.18.77.0/30")}, "--public-cidr"),
        ({"public_cidr": IPv4Network("10.231.5.0/24")}, "--public-cidr"),
        ({"port": 80}, "--port"),
        ({"port": 65535}, "--port"),
    ],
)
def test_settings_that_cannot_work_name_their_option(fields: dict[str, Any], option: str) -> None:
    with pytest.raises(LocalEC2Error, match=option):
        Settings(**fields)


def test_settings_survive_saving(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "RUN_DIR", tmp_path)
    saved = Settings("other", 5000, IPv4Network("10.9.0.0/16"), IPv4Network("198.18.9.0/24"), mirror=False)
    saved.save()
    assert Settings.load("other") == saved
    assert Settings.load("absent") is None


def test_the_key_is_for_its_user_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "RUN_DIR", tmp_path)
    monkeypatch.setenv("SUDO_UID", "1234")
    here = Settings("here")
    here.save()
    KEY.save(here)
    assert Credentials.load(here) == KEY
    status = here.credentials_file.stat()
    assert (status.st_mode & 0o777, status.st_uid) == (0o600, 1234)


def test_exports_can_be_evaluated() -> None:
    script = daemon.exports(Settings(), KEY) + "\nenv"
    before = {"PATH": "/usr/bin:/bin", "AWS_PROFILE": "mine", "AWS_SESSION_TOKEN": "old", "AWS_REGION": "eu-west-1"}
    done = subprocess.run(["bash", "-euc", script], env=before, capture_output=True, text=True, check=True)
    after = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert after["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4580"
    assert (after["AWS_ACCESS_KEY_ID"], after["AWS_SECRET_ACCESS_KEY"]) == KEY
    assert after["AWS_REGION"] == after["AWS_DEFAULT_REGION"] == "us-east-1"
    assert after["AWS_EC2_METADATA_DISABLED"] == "true"
    assert after["SPARKFLEET_MIRROR"] == "http://10.231.0.1:4581"
    assert after["SPARKFLEET_ALLOWED_CIDRS"] == "10.231.0.1/32"
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN"} & set(after)


def test_without_the_mirror_none_is_exported() -> None:
    assert "SPARKFLEET_MIRROR" not in daemon.exports(Settings(mirror=False), KEY)


@pytest.fixture
def run_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A host on which nothing is up."""
    monkeypatch.setattr(settings, "RUN_DIR", tmp_path)
    monkeypatch.setattr(cli, "check_root", lambda: None)
    return tmp_path


@pytest.mark.parametrize(("command", "code"), [("status", 3), ("env", 1), ("logs", 1)])
def test_commands_when_down(run_dir: Path, capsys: pytest.CaptureFixture[str], command: str, code: int) -> None:
    assert cli.main([command, "--name", "absent"]) == code
    shown = capsys.readouterr()
    assert "absent" in shown.out + shown.err
    assert len((shown.out + shown.err).splitlines()) == 1


def test_a_dead_server_counts_as_down(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dead = Settings("dead")
    dead.save()
    dead.ready_file.touch()
    dead.lock_file.write_text("1", encoding="ascii")
    assert cli.main(["status", "--name", "dead"]) == 3
    assert "is down" in capsys.readouterr().out


def test_bad_network_is_refused_by_the_parser(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["up", "--vpc-cidr", "10.231.0.1/16"])
    assert "--vpc-cidr" in capsys.readouterr().err


def test_options_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARKFLEET_LOCAL_EC2_PORT", "5001")
    monkeypatch.setenv("SPARKFLEET_LOCAL_EC2_VPC_CIDR", "10.5.0.0/16")
    monkeypatch.setenv("SPARKFLEET_LOCAL_EC2_MIRROR", "0")
    options = cli.parser().parse_args(["up"])
    assert (options.port, options.vpc_cidr, options.mirror) == (5001, IPv4Network("10.5.0.0/16"), False)


def test_missing_tools_name_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "cgroup_v1", lambda: True)
    monkeypatch.setattr(host.shutil, "which", lambda command: None if command in ("nft", "runc") else "/usr/bin/x")
    with pytest.raises(LocalEC2Error, match="apt-get install --yes nftables runc"):
        host.check_tools()


@pytest.mark.parametrize(("version", "fits"), [("podman version 3.4.4", False), ("podman version 5.0.0", True)])
def test_podman_must_be_new_enough(monkeypatch: pytest.MonkeyPatch, version: str, fits: bool) -> None:
    monkeypatch.setattr(host.shutil, "which", lambda command: command)
    monkeypatch.setattr(host, "run", lambda *command: version)
    if fits:
        host.check_tools()
    else:
        with pytest.raises(LocalEC2Error, match="too old"):
            host.check_tools()


def test_everybody_else_is_sent_to_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.os, "geteuid", lambda: 1000)
    with pytest.raises(LocalEC2Error, match="sudo"):
        host.check_root()
