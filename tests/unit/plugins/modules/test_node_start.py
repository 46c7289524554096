# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of node_start and node_state_info against a systemd by script."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkfleet.ec2.plugins.module_utils import _node
from ansible_collections.sparkfleet.ec2.plugins.modules import node_start, node_state_info

BOOT = "sparkfleet-node.service"
TARGET = "sparkfleet-worker.target"
WORKER = "spark-worker.service"
OTHER = "hdfs-datanode.service"
Run = Callable[..., dict[str, Any]]


class Systemd:
    """Units and their states. A unit is started at `now`, seconds of the epoch, and active `delay` polls later."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: dict[str, float] = {}
        self.wants = {TARGET: [WORKER, OTHER], "sparkfleet-master.target": ["spark-master.service"]}
        self.delay: dict[str, int] = {}
        self.calls: list[str] = []
        self.journal: dict[str, str] = {}
        self.boots: Callable[[], Any] = lambda: None
        self.broken: set[str] = set()
        self.packages = ""
        for name in (BOOT, WORKER, OTHER):
            (folder / name).write_text(f"[X-Sparkfleet]\nWatch={folder}/conf-{name} {folder}/none\n[Unit]\n")
            (folder / f"conf-{name}").mkdir()
        self.age()

    def age(self) -> None:
        """Let all files be an hour old."""
        for path in [self.folder, *self.folder.rglob("*")]:
            os.utime(path, (time.time() - 3600,) * 2, follow_symlinks=False)

    def run(self, *names: str) -> None:
        """Have units run since half an hour."""
        self.started |= dict.fromkeys(names, time.time() - 1800)

    def __call__(self, command: list[str], check_rc: bool = False) -> tuple[int, str, str]:
        """Stand in for AnsibleModule.run_command."""
        if command[0] == "journalctl":
            kind = "error " if "--priority=err" in command else ""
            return 0, self.journal.get(kind + command[-1], ""), ""
        if command[0] == "dpkg-query":
            return 0, self.packages, ""
        assert command[0] == "systemctl"
        options = [word for word in command[2:] if word.startswith("-")]
        verb, names = command[1], [word for word in command[2:] if not word.startswith("-")]
        if verb == "show":
            return 0, self.wanted(names) if "--value" in options else self.show(names), ""
        self.calls.append(" ".join(command[1:]))
        if self.broken & set(names):
            return 1, "", "Job failed."
        for name in names:
            self.act(verb, name)
        return 0, "", ""

    def wanted(self, targets: list[str]) -> str:
        """Return what `show --property=Wants --value` prints: a paragraph for each."""
        return "\n\n".join(" ".join(self.wants[target]) for target in targets) + "\n"

    def show(self, names: list[str]) -> str:
        """Return what `show` prints of units."""
        return "\n\n".join(self.block(name) for name in names) + "\n"

    def block(self, name: str) -> str:
        since = self.started.get(name)
        active = since is not None and self.delay.setdefault(name, 0) <= 0
        self.delay[name] = self.delay.get(name, 0) - 1
        monotonic = int((time.monotonic() - (time.time() - since)) * 1e6) if since else 0
        path = self.folder / name
        found = {"Id": name, "ActiveState": "active" if active else "inactive"}
        found["FragmentPath"] = str(path) if path.exists() else ""
        return "\n".join(
            f"{key}={value}" for key, value in {**found, "InactiveExitTimestampMonotonic": monotonic}.items()
        )

    def act(self, verb: str, name: str) -> None:
        """Start or restart a unit, and what it wants."""
        if verb == "try-restart" and name not in self.started:
            return
        if "restart" in verb or name not in self.started:
            self.started[name] = time.time()
            if name == BOOT:
                self.boots()
        for wanted in self.wants.get(name, []):
            self.act("start", wanted)


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    """A node on which nothing runs and nothing was applied."""
    (tmp_path / "units").mkdir()
    stand_in = Systemd(tmp_path / "units")
    monkeypatch.setattr(AnsibleModule, "run_command", stand_in)
    monkeypatch.setattr(_node, "UNITS", tmp_path / "units")
    for module in (node_start, node_state_info):
        monkeypatch.setattr(module, "APPLIED", tmp_path / "applied.json")
    monkeypatch.setattr(node_state_info, "VALIDATED", tmp_path / "validated")
    monkeypatch.setattr(node_state_info, "PROBLEMS", tmp_path / "problems")
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": "debian", "VERSION_ID": "12"})
    return stand_in


@pytest.fixture
def start(systemd: Systemd, run_module: Run) -> Run:
    """Run node_start for a worker."""
    return lambda **options: run_module(node_start, **{"roles": ["worker"], "hash": "abc", **options})


@pytest.fixture
def info(systemd: Systemd, run_module: Run) -> Run:
    """Run node_state_info."""
    return lambda **options: run_module(node_state_info, **options)


def change(systemd: Systemd, unit: str) -> None:
    """Change a file that the unit reads."""
    (systemd.folder / f"conf-{unit}" / "file").write_text("new")


def test_everything_is_started_and_the_second_run_changes_nothing(start: Run, systemd: Systemd, tmp_path: Path) -> None:
    first = start()
    assert (first["changed"], first["started"]) == (True, sorted([BOOT, TARGET, WORKER, OTHER]))
    assert systemd.calls == ["daemon-reload", f"start {BOOT}", f"start --no-block {TARGET}"]
    assert json.loads((tmp_path / "applied.json").read_text()) == {"hash": "abc", "roles": ["worker"]}
    assert not (tmp_path / "applied.part").exists()
    systemd.calls.clear()
    second = start()
    assert (second["changed"], second["started"], systemd.calls) == (False, [], [])


def test_check_mode_says_the_same_and_does_nothing(start: Run, systemd: Systemd, tmp_path: Path) -> None:
    result = start(check=True)
    assert (result["changed"], len(result["started"])) == (True, 4)
    assert systemd.calls == []
    assert not (tmp_path / "applied.json").exists()
    start()
    assert not start(check=True)["changed"]
    assert start(check=True, hash="new")["changed"]
    assert "abc" in (tmp_path / "applied.json").read_text()


def test_it_waits_until_every_unit_is_active(start: Run, systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(node_start, "time", SimpleNamespace(sleep=slept.append, monotonic=time.monotonic))
    systemd.delay[WORKER] = 5
    start()
    assert len(slept) >= 2


def test_another_hash_is_noted_without_starting_anything(start: Run, systemd: Systemd, tmp_path: Path) -> None:
    start()
    systemd.calls.clear()
    assert start(hash="new")["changed"]
    assert systemd.calls == []
    assert "new" in (tmp_path / "applied.json").read_text()


def test_a_master_alone_runs_both_targets(start: Run, systemd: Systemd) -> None:
    result = start(roles=["master", "worker"])
    assert {"sparkfleet-master.target", "spark-master.service", TARGET, WORKER} < set(result["started"])
    assert systemd.calls[-1] == f"start --no-block sparkfleet-master.target {TARGET}"


def test_only_daemons_whose_files_changed_are_restarted(start: Run, systemd: Systemd) -> None:
    start()
    systemd.run(BOOT, TARGET, WORKER, OTHER)
    systemd.calls.clear()
    change(systemd, WORKER)
    result = start()
    assert (result["changed"], result["started"]) == (True, [WORKER])
    # The boot unit puts the settings together that the daemon reads.
    assert systemd.calls[1:3] == [f"restart {BOOT}", f"try-restart --no-block {WORKER}"]
    assert not start()["changed"]


@pytest.mark.parametrize("kind", ["unit file", "link", "deep"])
def test_what_counts_as_a_change(start: Run, systemd: Systemd, kind: str) -> None:
    folder = systemd.folder / f"conf-{WORKER}"
    (folder / "deep").mkdir()
    (folder / "deep/file").write_text("old")
    (folder / "link").symlink_to("/nowhere")
    systemd.age()
    start()
    systemd.run(BOOT, TARGET, WORKER, OTHER)
    assert not start()["changed"]
    changed = {"unit file": systemd.folder / WORKER, "link": folder / "link", "deep": folder / "deep/file"}[kind]
    os.utime(changed, follow_symlinks=False)
    assert start()["started"] == [WORKER]


def test_what_a_link_leads_to_does_not_count(start: Run, systemd: Systemd, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (systemd.folder / f"conf-{WORKER}" / "link").symlink_to(tmp_path / "run")
    (systemd.folder / f"conf-{OTHER}").rmdir()
    (systemd.folder / f"conf-{OTHER}").symlink_to(tmp_path / "run")
    systemd.age()
    start()
    systemd.run(BOOT, TARGET, WORKER, OTHER)
    (tmp_path / "run/file").write_text("new")
    assert not start()["changed"]


def test_a_daemon_is_restarted_for_what_the_boot_unit_wrote(start: Run, systemd: Systemd) -> None:
    start()
    systemd.run(BOOT, TARGET, WORKER, OTHER)
    change(systemd, BOOT)
    systemd.boots = lambda: change(systemd, WORKER)
    systemd.calls.clear()
    start()
    assert systemd.calls[:3] == ["daemon-reload", f"restart {BOOT}", f"try-restart --no-block {WORKER}"]
    assert not start()["changed"]


def test_a_unit_that_stays_down_is_named_with_its_last_words(start: Run, systemd: Systemd, tmp_path: Path) -> None:
    systemd.delay = {WORKER: 1000, OTHER: 1000}
    systemd.journal = {f"_SYSTEMD_UNIT={WORKER}": "Address already in use\n", f"UNIT={OTHER}": "Failed to start.\n"}
    assert start(timeout=0)["msg"] == (
        f"{OTHER} does not run: Failed to start.; {WORKER} does not run: Address already in use"
    )
    assert not (tmp_path / "applied.json").exists()


def test_an_error_counts_more_than_what_was_said_after_it(start: Run, systemd: Systemd) -> None:
    systemd.delay = {WORKER: 1000}
    journal = {f"_SYSTEMD_UNIT={WORKER}": "starting\n", f"error _SYSTEMD_UNIT={WORKER}": "There is no such bucket\n"}
    systemd.journal = journal
    assert start(timeout=0)["msg"] == f"{WORKER} does not run: There is no such bucket"


def test_a_unit_that_was_linked_since_systemd_was_loaded_is_started(start: Run, info: Run, systemd: Systemd) -> None:
    start()
    systemd.run(BOOT, TARGET, WORKER, OTHER)
    systemd.calls.clear()
    (systemd.folder / f"{TARGET}.wants").mkdir()
    (systemd.folder / f"{TARGET}.wants/new.service").symlink_to("../new.service")
    assert info()["inactive"] == ["new.service"]
    assert start(check=True)["started"] == ["new.service"]
    # As a reload does.
    systemd.wants[TARGET].append("new.service")
    assert start()["started"] == ["new.service"]
    assert systemd.calls[-1] == f"start --no-block {TARGET}"
    assert not start()["changed"]


def test_a_unit_without_a_journal(start: Run, systemd: Systemd) -> None:
    systemd.delay = {WORKER: 1000}
    assert start(timeout=0)["msg"] == (f"{WORKER} does not run: its journal is empty; see systemctl status {WORKER}")


def test_a_boot_unit_that_fails_is_named_with_its_last_words(start: Run, systemd: Systemd, tmp_path: Path) -> None:
    systemd.broken = {BOOT}
    systemd.journal = {f"_SYSTEMD_UNIT={BOOT}": "node.env: SPARKFLEET_MASTER=x cannot be resolved\n"}
    assert start()["msg"] == f"{BOOT} does not start: node.env: SPARKFLEET_MASTER=x cannot be resolved"
    assert not (tmp_path / "applied.json").exists()


def test_a_node_that_was_never_set_up(info: Run) -> None:
    result = info()
    assert (result["changed"], result["applied"], result["inactive"], result["validated"]) == (False, {}, [], "")
    assert result["distribution"] == "debian 12"


def test_packages_are_those_that_are_installed(info: Run, systemd: Systemd) -> None:
    # Removed but for its settings, half unpacked, to be removed, and two that are there.
    systemd.packages = "rc  apache2\niU  gmetad\nri  nfs-common\nii  rclone\nii  fuse3\n"
    assert info()["packages"] == ["fuse3", "rclone"]


def test_a_distribution_without_versions(info: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": "arch"})
    assert info()["distribution"] == "arch"


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '"text"'])
def test_a_damaged_note_is_as_none(info: Run, start: Run, tmp_path: Path, content: str) -> None:
    (tmp_path / "applied.json").write_text(content)
    assert info()["applied"] == {}
    assert start()["changed"]
    assert info()["applied"] == {"hash": "abc", "roles": ["worker"]}


def test_what_components_found_wrong(info: Run, tmp_path: Path) -> None:
    assert info()["problems"] == []
    (tmp_path / "problems").mkdir()
    for name, text in {"storage": "a disk\nanother\n", "hdfs": "a block\n", "quiet": ""}.items():
        (tmp_path / "problems" / name).write_text(text)
    assert info()["problems"] == ["a block", "a disk", "another"]


def test_what_runs_and_what_does_not(info: Run, start: Run, systemd: Systemd, tmp_path: Path) -> None:
    start()
    (tmp_path / "validated").write_text("proof\n")
    result = info(check=True)
    assert (result["applied"]["hash"], result["inactive"], result["validated"]) == ("abc", [], "proof")
    del systemd.started[OTHER]
    assert info()["inactive"] == [OTHER]
    systemd.run(BOOT, TARGET, WORKER, OTHER)
    change(systemd, BOOT)
    change(systemd, WORKER)
    assert info()["inactive"] == [BOOT, WORKER]


def test_a_unit_that_systemd_does_not_know_is_inactive(systemd: Systemd) -> None:
    unit = _node.parse("Id=gone.service\nActiveState=inactive\nFragmentPath=\nInactiveExitTimestampMonotonic=0")
    assert (unit.active, unit.since, unit.stale()) == (False, 0.0, False)


def test_no_systemd_is_said_so(run_module: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "systemctl").write_text("#!/bin/sh\necho 'System has not been booted with systemd' >&2; exit 1\n")
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert run_module(node_start, roles=["worker"])["msg"] == "System has not been booted with systemd"
