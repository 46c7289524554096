# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of ec2_host_key_info against a scripted EC2."""

from __future__ import annotations

import base64
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.sparkfleet.ec2.plugins.module_utils._host_keys import host_keys, last_lines, panic
from ansible_collections.sparkfleet.ec2.plugins.modules import ec2_host_key_info
from botocore.exceptions import ClientError

Run = Callable[..., dict[str, Any]]


def a_key(kind: str, *fields: bytes) -> str:
    """A public key of the wire format's shape."""
    blob = b"".join(struct.pack(">I", len(part)) + part for part in (kind.encode(), *fields))
    return f"{kind} {base64.b64encode(blob).decode()}"


ED25519 = a_key("ssh-ed25519", b"e" * 32)
ECDSA = a_key("ecdsa-sha2-nistp256", b"nistp256", b"c" * 65)
RSA = a_key("ssh-rsa", b"\1\0\1", b"r" * 257)
BEGIN, END = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"


def console(*lines: str) -> str:
    return "\n".join(("boot", BEGIN, *lines, END, "login:"))


PLAIN = console(f"{ECDSA} root@ip-10-0-0-1", f"{ED25519} root@ip-10-0-0-1", f"{RSA} root@ip-10-0-0-1")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "boot\n[    1.8] Kernel panic - not syncing: no root\r\n---[ end Kernel panic - not syncing: x ]---\n",
            "Kernel panic - not syncing: no root",
        ),
        ("a text on kernel panics\nlogin:", ""),
        ("", ""),
    ],
)
def test_panic(text: str, line: str) -> None:
    assert panic(text) == line


def test_last_lines_are_few_short_and_printable() -> None:
    lines = last_lines(
        "".join(f"\x1b[0;32mline {number}\x1b[0m\r\n\n" for number in range(50)) + "bell\x07" + "x" * 999
    )
    assert lines[:2] == ["line 31", "line 32"]
    assert len(lines) == 20
    assert lines[-1] == "bell " + "x" * 195
    assert last_lines("\n \n") == []


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (PLAIN, [ED25519, ECDSA, RSA]),
        (PLAIN.replace("\n", "\r\n"), [ED25519, ECDSA, RSA]),
        ("\n".join(f"[   12.345678] cloud-init[812]: {line}" for line in PLAIN.split("\n")), [ED25519, ECDSA, RSA]),
        (console(f"ci-info: {ED25519}"), [ED25519]),
        (console(f"<14>Nov 21 10:12:00 cloud-init: \x1b[0;32m{ED25519}\x1b[0m"), [ED25519]),
        (console(f"{ED25519[:40]}[   20.1] random: crng init done{ED25519[40:]}", RSA), [RSA]),
        (console(ED25519[:-8], f"{RSA}AAAA", f"ssh-dss {RSA[8:]}"), []),
        (console(f"ssh-ed25519 {RSA.split()[1]}"), []),
        (PLAIN.replace(END, ""), []),
        (console(RSA) + console(ED25519), [ED25519]),
        (console(RSA) + console("damaged"), [RSA]),
        (console(RSA, RSA), [RSA]),
        (f"{ED25519}\n{BEGIN}\n{END}\n{ED25519}", []),
        ("", []),
    ],
)
def test_host_keys(text: str, keys: list[str]) -> None:
    assert host_keys(text) == keys


def an_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "GetConsoleOutput")


class FakeEC2:
    """Answers by the next of consoles[id], the last one for ever; an exception is raised.

    states: state and reason of instances that do not run.
    """

    def __init__(self) -> None:
        self.consoles: dict[str, list[Any]] = {}
        self.states: dict[str, tuple[str, str]] = {}
        self.asked: list[tuple[str, bool]] = []
        self.lock = threading.Lock()

    def get_console_output(self, InstanceId: str, Latest: bool, aws_retry: bool) -> dict[str, str]:  # noqa: N803
        with self.lock:
            self.asked.append((InstanceId, Latest))
            answers = self.consoles[InstanceId]
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if callable(answer):
            answer = answer(Latest)
        if isinstance(answer, Exception):
            raise answer
        return {"Output": answer} if answer else {}

    def describe_instances(self, Filters: list[dict[str, Any]], aws_retry: bool) -> dict[str, Any]:  # noqa: N803
        ids, states = (entry["Values"] for entry in Filters)
        assert len(ids) <= 200
        instances = [
            {"InstanceId": name, "State": {"Name": state}, "StateReason": {"Message": reason}}
            for name, (state, reason) in self.states.items()
            if name in ids and state in states
        ]
        return {"Reservations": [{"Instances": instances}]}


@pytest.fixture
def ec2(monkeypatch: pytest.MonkeyPatch) -> FakeEC2:
    fake = FakeEC2()
    monkeypatch.setattr(ec2_host_key_info.AnsibleAWSModule, "client", lambda *_args, **_more: fake)
    return fake


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses made; the clock goes on by them."""
    pauses: list[float] = []
    monkeypatch.setattr(ec2_host_key_info.time, "sleep", pauses.append)
    monkeypatch.setattr(ec2_host_key_info.time, "monotonic", lambda: sum(pauses))
    return pauses


@pytest.fixture
def run(run_module: Run, slept: list[float]) -> Run:
    """Run ec2_host_key_info on the given instances."""
    return lambda *ids, **options: run_module(ec2_host_key_info, instance_ids=list(ids), **options)


def test_waits_until_each_has_shown_its_keys(run: Run, ec2: FakeEC2, slept: list[float]) -> None:
    ec2.consoles = {"i-1": [console(ED25519)], "i-2": ["", an_error("InvalidInstanceID.NotFound"), console(RSA)]}
    result = run("i-1", "i-2", "i-1")
    assert result["host_keys"] == {"i-1": [ED25519], "i-2": [RSA]}
    assert (result["missing"], result["console_tail"], result["changed"]) == ([], {}, False)
    assert slept == [2, 2]
    assert ec2.asked.count(("i-1", True)) == 1


@pytest.mark.parametrize("code", ec2_host_key_info.NO_LATEST)
def test_falls_back_where_there_is_no_latest_output(run: Run, ec2: FakeEC2, code: str) -> None:
    ec2.consoles = {"i-1": [lambda latest: an_error(code) if latest else "", lambda latest: console(RSA)]}
    assert run("i-1")["host_keys"] == {"i-1": [RSA]}
    assert ec2.asked == [("i-1", True), ("i-1", False), ("i-1", False)][: len(ec2.asked)]
    assert ("i-1", False) in ec2.asked


def test_names_who_is_missing_when_the_time_is_up(run: Run, ec2: FakeEC2, slept: list[float]) -> None:
    log = "\n".join(f"line {number}" for number in range(30))
    ec2.consoles = {"i-1": [console(RSA)], "i-3": [""], "i-2": [log, ""]}
    result = run("i-3", "i-2", "i-1", wait_timeout=5)
    assert result["failed"]
    assert result["msg"].startswith("no SSH host keys on the console of i-2, i-3 within 5 s; see console_tail")
    assert (result["missing"], result["host_keys"]) == (["i-2", "i-3"], {"i-1": [RSA]})
    assert result["console_tail"] == {"i-2": log.split("\n")[-20:], "i-3": []}
    assert slept == [2, 2]


def test_missing_need_not_be_an_error(run: Run, ec2: FakeEC2, slept: list[float]) -> None:
    ec2.consoles = {"i-1": [""]}
    result = run("i-1", wait_timeout=0, fail_on_missing=False)
    assert ("failed" in result, result["missing"], slept) == (False, ["i-1"], [])


def test_an_instance_that_ends_is_reported_at_once(run: Run, ec2: FakeEC2, slept: list[float]) -> None:
    ec2.consoles = {"i-1": [""], "i-2": ["panic"]}
    ec2.states = {"i-2": ("terminated", "Client.VolumeLimitExceeded: Volume limit exceeded")}
    result = run("i-1", "i-2")
    assert result["msg"] == (
        "no SSH host keys: i-2 is terminated (Client.VolumeLimitExceeded: Volume limit exceeded); "
        "launch again, or start it, and see console_tail for why"
    )
    assert result["console_tail"]["i-2"] == ["panic"]
    assert slept == []


def test_the_others_are_waited_for_when_missing_is_no_error(run: Run, ec2: FakeEC2) -> None:
    ec2.consoles = {"i-1": ["", console(RSA)], "i-2": [""]}
    ec2.states = {"i-2": ("stopped", "")}
    result = run("i-1", "i-2", fail_on_missing=False)
    assert (result["host_keys"], result["missing"]) == ({"i-1": [RSA]}, ["i-2"])
    assert ec2.asked.count(("i-2", True)) == 1


def test_many_instances_in_filters_of_200(run: Run, ec2: FakeEC2) -> None:
    ids = [f"i-{number}" for number in range(450)]
    ec2.consoles = {name: ["", console(ED25519)] for name in ids}
    assert len(run(*ids)["host_keys"]) == 450


def test_an_api_error_is_one_line(run: Run, ec2: FakeEC2) -> None:
    ec2.consoles = {"i-1": [an_error("UnauthorizedOperation")]}
    result = run("i-1")
    assert result["msg"] == (
        "cannot read consoles: the AWS credentials do not allow ec2:GetConsoleOutput; ask for that permission"
    )
    assert "exception" not in result


def test_no_instances(run: Run, ec2: FakeEC2) -> None:
    assert run()["host_keys"] == {}
