# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Screen output in which a task is one line, however many hosts it runs on."""

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: stdout
short_description: One line for each task, one for each failure
version_added: 0.1.0
author: The sparkfleet authors (@sparkfleet)
description:
  - Prints a heading for each play and a line for each task when all hosts are done with it, with the time since the
    start and the number of hosts by result. Tasks that are skipped everywhere are not shown.
  - A failure is one line that names host, task and reason. Hosts that fail for the same reason share it. The last
    lines that a failing command printed follow, indented.
  - A task named C(Begin phase NAME) is a heading of its own.
  - On a terminal, a status line at the bottom shows how many hosts are done, and which are still at it. Elsewhere,
    so in the log of a CI job, a line says so when nothing else was printed for O(heartbeat) seconds.
  - Hosts are called by their variable C(sparkfleet_name) where they have one.
  - The usual C(PLAY RECAP) and one line with the totals end the output.
  - With C(-v) and more, the output is that of P(ansible.builtin.default#callback), with all its detail.
options:
  heartbeat:
    description:
      - How many seconds may pass without a line, where there is no status line. V(0) means any number.
    type: float
    default: 30
    env:
      - name: SPARKFLEET_HEARTBEAT
    ini:
      - section: callback_progress
        key: heartbeat
requirements:
  - Set as C(stdout_callback) in the configuration.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
"""

EXAMPLES = r"""
ansible.cfg: |
  [defaults]
  stdout_callback = sparkfleet.ec2.progress
"""

import atexit
import os
import re
import shutil
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ansible import constants as C  # noqa: N812  the name that all of Ansible uses
from ansible.executor.task_result import CallbackTaskResult
from ansible.inventory.host import Host
from ansible.playbook.play import Play
from ansible.playbook.task import Task
from ansible.playbook.task_include import TaskInclude
from ansible.plugins.callback.default import CallbackModule as DefaultCallback
from ansible.utils.display import Display

NAME_VARIABLE = "sparkfleet_name"
OUTPUT_LINES = 10
NAMED_HOSTS = 10
NAME_WIDTH = 56
MOST_COLUMNS = 1000
ERASE_LINE = "\r\033[K"
PHASE = re.compile(r"\bBegin phase (\w+)$")
PREFIXES = re.compile(r"^(Task failed: |Action failed: |Module failed: )+")
COLORS = {"FAILED": C.COLOR_ERROR, "UNREACHABLE": C.COLOR_UNREACHABLE, "ignored": C.COLOR_SKIP, "rescued": C.COLOR_SKIP}


def label(host: Host) -> str:
    """The name that users know the host by."""
    return str(host.vars.get(NAME_VARIABLE, host.name))


def by_label(host: Host) -> tuple[int, str]:
    """Sorting key: worker-2 comes before worker-10."""
    return len(label(host)), label(host)


def labels(hosts: list[Host]) -> str:
    """Hosts in a list."""
    names = [label(host) for host in sorted(hosts, key=by_label)]
    more = f" and {len(names) - NAMED_HOSTS} more" if len(names) > NAMED_HOSTS else ""
    return ", ".join(names[:NAMED_HOSTS]) + more


def named(hosts: list[Host]) -> str:
    """Hosts in a sentence: one with its inventory name, several after "on"."""
    if len(hosts) > 1:
        return f"on {labels(hosts)}"
    name = label(hosts[0])
    return name if name == hosts[0].name else f"{name} ({hosts[0].name})"


def task_name(task: Task) -> str:
    """The task's name, preceded by the last part of its role's."""
    role, colon, name = task.get_name().strip().rpartition(" : ")
    return f"{role.rpartition('.')[2]}: {name}" if colon else name


def last_output(result: dict[str, Any]) -> list[str]:
    """The last lines that a command, or a module that crashed, left on its standard error, else output."""
    if "cmd" not in result and "module_stderr" not in result:
        return []
    streams = ("stderr", "module_stderr", "stdout", "module_stdout")
    text = next((str(result[name]) for name in streams if str(result.get(name, "")).strip()), "")
    return [f"    {line}" for line in text.strip().splitlines()[-OUTPUT_LINES:]]


def failure_text(result: dict[str, Any]) -> str:
    """Why a task failed: one line, then indented what there is more."""
    message = result.get("msg") or result.get("censored") or result.get("reason") or "failed without a message"
    first, *rest = PREFIXES.sub("", str(message).strip()).splitlines()
    if "cmd" in result and first == "non-zero return code":
        first = f"exit status {result['rc']}"
    if result.get("attempts", 1) > 1:
        first += f", after {result['attempts']} attempts"
    return "\n".join([first, *(f"    {line}" for line in rest), *last_output(result)])


@dataclass
class Progress:
    """What has come of one task so far.

    at_work: hosts that have begun and not ended, by name. said: what there is to print once for all hosts that it is
    true of, by what it is (FAILED, UNREACHABLE, ignored, rescued, text, diff) and wording. items: for each host what
    there is to say of the items of its loop.
    """

    name: str
    total: int
    quiet: bool
    counts: Counter[str] = field(default_factory=Counter)
    at_work: dict[str, Host] = field(default_factory=dict)
    said: dict[tuple[str, str], list[Host]] = field(default_factory=dict)
    items: dict[str, list[str]] = field(default_factory=dict)
    attempt: str = ""

    def say(self, kind: str, text: str, host: Host) -> None:
        """Note something to print."""
        self.said.setdefault((kind, text), []).append(host)

    def done(self, host: Host, *outcomes: str) -> None:
        """Note that HOST has ended, with these outcomes."""
        self.at_work.pop(host.name, None)
        self.counts.update(("hosts", *outcomes))

    @property
    def summary(self) -> str:
        """The number of hosts by outcome."""
        outcomes = ("ok", "changed", "skipped", "failed", "unreachable", "rescued", "ignored")
        return ", ".join(f"{self.counts[name]} {name}" for name in outcomes if self.counts[name])

    @property
    def color(self) -> str:
        """That of the worst outcome."""
        if self.counts["failed"] or self.counts["unreachable"]:
            return C.COLOR_ERROR
        return C.COLOR_CHANGED if self.counts["changed"] else C.COLOR_OK


def shortened(text: str, width: int) -> str:
    """TEXT in at most WIDTH characters."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


class StatusLine:
    """What hosts are at now: the last line of a terminal, overwritten in place and out of the way of what is printed.

    Elsewhere it is printed when there was nothing else to read for a while. In both cases the time goes on by itself.
    """

    def __init__(self, display: Display) -> None:
        """A line is never overwritten where it would end up in a file or could not be overwritten."""
        terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.enabled = terminal and not os.environ.get("CI")
        self._lock = threading.RLock()
        self._text = ""
        self._shown = False
        self._begun = self._printed = time.monotonic()
        self._print = display.display
        self._watch(display)

    def _watch(self, display: Display) -> None:
        # Warnings and prompts go straight to the display. In a worker it only passes on to this process.
        process = os.getpid()

        def display_alone(*args: Any, **kwargs: Any) -> None:
            if os.getpid() != process:
                self._print(*args, **kwargs)
                return
            with self._lock:
                self.erase()
                self._printed = time.monotonic()
                self._print(*args, **kwargs)

        display.display = display_alone

    def run(self, heartbeat: float) -> None:
        """Let the time go on. HEARTBEAT: seconds until it says something where it cannot be overwritten."""
        every = 1.0 if self.enabled else heartbeat / 10

        def go_on() -> None:
            while True:
                time.sleep(every)
                with self._lock:
                    if self._shown:
                        self._draw()
                    elif self._text and not self.enabled and time.monotonic() - self._printed >= heartbeat:
                        self._printed = time.monotonic()
                        self._print(f"{self.elapsed} ... {self._text}")

        if every > 0:
            threading.Thread(target=go_on, name="status line", daemon=True).start()

    @property
    def columns(self) -> int:
        """How much fits into a line."""
        return shutil.get_terminal_size().columns - 1 if self.enabled else MOST_COLUMNS

    @property
    def elapsed(self) -> str:
        """The time since the start, as every line begins."""
        return f"[{time.monotonic() - self._begun:6.1f}s]"

    def _draw(self) -> None:
        sys.stdout.write(ERASE_LINE + shortened(f"{self.elapsed} {self._text}", self.columns))
        sys.stdout.flush()

    def show(self, text: str) -> None:
        """Put TEXT, as much as fits, in place of what is there."""
        with self._lock:
            self._text = text
            if self.enabled:
                self._shown = True
                self._draw()

    def erase(self) -> None:
        """Leave an empty line."""
        with self._lock:
            if self._shown:
                sys.stdout.write(ERASE_LINE)
                self._shown = False

    def clear(self) -> None:
        """Nobody is at anything."""
        with self._lock:
            self.erase()
            self._text = ""


class ProgressCallback(DefaultCallback):
    """The default callback, but collecting by task what it would print by host."""

    def __init__(self) -> None:
        super().__init__()
        self._tasks: dict[str, Progress] = {}
        self._hosts: dict[str, Host] = {}
        self._alive: set[str] = set()
        self._failures: dict[str, str] = {}
        self._status = StatusLine(self._display)
        # An interrupted run still tells what has come of the task that it was at.
        atexit.register(self._close_tasks)

    # Plays and tasks

    def v2_playbook_on_start(self, playbook: Any) -> None:
        super().v2_playbook_on_start(playbook)
        self._status.run(self.get_option("heartbeat"))

    def v2_playbook_on_play_start(self, play: Play) -> None:
        self._close_tasks()
        self._play = play
        self._alive = self._hosts_of(play) - set(self._failures)
        count = len(self._alive)
        where = "" if self._alive == {"localhost"} else f" on {count} node{'s' * (count != 1)}"
        mode = " (check mode)" if play.check_mode else ""
        if count:
            self._print(f"== {play.get_name().strip()}{where}{mode} ==")

    @staticmethod
    def _hosts_of(play: Play) -> set[str]:
        """Names of the hosts that this run of PLAY is for."""
        found = play.get_variable_manager().get_vars(play=play)
        hosts = set(found["ansible_play_hosts_all"])
        # The batch is what serial and limits leave; it lacks localhost where no inventory has it.
        return hosts & set(found["ansible_play_batch"]) or hosts

    def v2_playbook_on_no_hosts_matched(self) -> None:
        self._print(f"== {self._play.get_name().strip()}: no host matches ==", C.COLOR_SKIP)

    def v2_playbook_on_no_hosts_remaining(self) -> None:
        self._close_tasks()
        self._display.display("No host is left to go on with.", color=C.COLOR_ERROR)

    def _task_start(self, task: Task, prefix: str | None = None) -> None:
        if task._uuid not in self._tasks and self._play.strategy.rpartition(".")[2] not in ("free", "host_pinned"):
            self._close_tasks()
        self._show_status(task)

    def _progress(self, task: Task) -> Progress:
        """What is known of TASK. Its name is taken the first time, when it is templated."""
        if task._uuid not in self._tasks:
            total = 1 if task.run_once else len(self._alive)
            self._tasks[task._uuid] = Progress(task_name(task), total, task.action in C._ACTION_DEBUG)
        return self._tasks[task._uuid]

    def v2_runner_on_start(self, host: Host, task: Task) -> None:
        progress = self._progress(task)
        progress.at_work[host.name] = self._hosts[host.name] = host
        progress.total = max(progress.total, progress.counts["hosts"] + len(progress.at_work))
        self._show_status(task)

    # Results

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        if isinstance(result.task, TaskInclude):
            return
        self._handle_warnings(result.result)
        progress = self._progress(result.task)
        if progress.quiet:
            texts = progress.items.pop(result.host.name, None) or [self._debug_text(result)]
            progress.say("text", "\n".join(texts), result.host)
        self._end(result, "ok", *(["changed"] if result.result.get("changed") else []))

    def v2_runner_on_skipped(self, result: CallbackTaskResult) -> None:
        self._handle_warnings(result.result)
        self._end(result, "skipped")

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:
        self._handle_warnings(result.result)
        # Ansible takes a host that is being rescued off this list again before it reports the failure.
        rescued = result.host.name not in self._play._removed_hosts and not isinstance(result.task, TaskInclude)
        outcome = "ignored" if ignore_errors else "rescued" if rescued else "failed"
        texts = self._progress(result.task).items.pop(result.host.name, None) or [failure_text(result.result)]
        self._end_badly(result, outcome, texts)

    def v2_runner_on_unreachable(self, result: CallbackTaskResult) -> None:
        outcome = "ignored" if result.task.ignore_unreachable else "unreachable"
        self._end_badly(result, outcome, [failure_text(result.result)])

    def _end_badly(self, result: CallbackTaskResult, outcome: str, texts: list[str]) -> None:
        bad = outcome in ("failed", "unreachable")
        for text in texts:
            self._progress(result.task).say(outcome.upper() if bad else outcome, text, result.host)
        if bad:
            self._alive.discard(result.host.name)
            self._failures[result.host.name] = self._progress(result.task).name
        self._end(result, outcome)

    def _end(self, result: CallbackTaskResult, *outcomes: str) -> None:
        self._progress(result.task).done(result.host, *outcomes)
        self._show_status(result.task)

    def v2_runner_item_on_ok(self, result: CallbackTaskResult) -> None:
        self._handle_warnings(result.result)
        progress = self._progress(result.task)
        if progress.quiet:
            progress.items.setdefault(result.host.name, []).append(self._debug_text(result))

    def v2_runner_item_on_failed(self, result: CallbackTaskResult) -> None:
        self._handle_warnings(result.result)
        text = f"[{self._get_item_label(result.result)}] {failure_text(result.result)}"
        self._progress(result.task).items.setdefault(result.host.name, []).append(text)

    def v2_runner_item_on_skipped(self, result: CallbackTaskResult) -> None:
        """Only what comes of the whole loop is shown."""

    def v2_runner_retry(self, result: CallbackTaskResult) -> None:
        progress = self._progress(result.task)
        progress.attempt = f", attempt {result.result['attempts'] + 1} of {result.result['retries']}"
        self._show_status(result.task)

    def v2_on_file_diff(self, result: CallbackTaskResult) -> None:
        for part in result.result.get("results", [result.result]):
            if part.get("changed") and part.get("diff") and (text := self._get_diff(part["diff"])):
                self._progress(result.task).say("diff", text.rstrip("\n"), result.host)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        """Inclusions are not shown."""

    def v2_runner_on_async_poll(self, result: CallbackTaskResult) -> None:
        """Nor are polls."""

    v2_runner_on_async_ok = v2_runner_on_async_failed = v2_runner_on_async_poll

    def _debug_text(self, result: CallbackTaskResult) -> str:
        """What a debug task is to print, as plain as it goes."""
        self._clean_results(result.result, result.task.action)
        shown = {key: value for key, value in result.result.items() if not key.startswith(("_", "ansible_"))}
        text = shown.get("msg", None if len(shown) != 1 else next(iter(shown.values())))
        if isinstance(text, list) and all(isinstance(line, (str, int, float)) for line in text):
            return "\n".join(str(line) for line in text)
        return text if isinstance(text, str) else self._dump_results(shown, indent=2).strip()

    # Printing

    def _print(self, text: str, color: str | None = None) -> None:
        """Print TEXT after the time since the start."""
        self._display.display(f"{self._status.elapsed} {text}", color=color)

    def _show_status(self, task: Task) -> None:
        """Let the status line tell about TASK, or print what has come of it if all hosts are done."""
        progress = self._progress(task)
        if progress.counts["hosts"] >= progress.total:
            self._close(task._uuid)
            return
        busy = labels(list(progress.at_work.values()))
        name = shortened(progress.name, self._status.columns // 2)
        done = f"{progress.counts['hosts']}/{progress.total} {name}{progress.attempt}"
        self._status.show(f"{done} | {busy}" if busy else done)

    def _close_tasks(self) -> None:
        """Print what has come of all tasks that are open."""
        for uuid in list(self._tasks):
            self._close(uuid)

    def _close(self, uuid: str) -> None:
        """Print what has come of a task."""
        self._status.clear()
        progress = self._tasks.pop(uuid)
        outcomes = {name for name, count in progress.counts.items() if count} - {"hosts"}
        hidden = {"skipped"} if self.get_option("display_ok_hosts") else {"skipped", "ok"}
        if outcomes - hidden and not (progress.quiet and outcomes <= {"ok", "skipped"}):
            if phase := PHASE.search(progress.name):
                self._print(f"-- {phase[1]} --")
            else:
                self._print(self._outcome(progress), progress.color)
        for (kind, text), hosts in sorted(progress.said.items(), key=lambda said: min(map(by_label, said[1]))):
            self._print_said(progress, kind, text, hosts)

    def _outcome(self, progress: Progress) -> str:
        """A task as a line that fits."""
        room = self._status.columns - len(self._status.elapsed) - len(progress.summary) - len("  ... ")
        name = shortened(progress.name, max(room, 20))
        dots = "." * max(3, min(NAME_WIDTH, room + 3) - len(name))
        return f"{name} {dots} {progress.summary}"

    def _print_said(self, progress: Progress, kind: str, text: str, hosts: list[Host]) -> None:
        if kind in COLORS:
            mark = kind if kind.isupper() else f"{kind}:"
            stderr = kind.isupper() and self.get_option("display_failed_stderr")
            line = f"{mark} {named(hosts)}: {progress.name}: {text}"
            self._display.display(line, color=COLORS[kind], stderr=stderr)
        elif kind == "diff":
            self._display.display(f"{labels(hosts)}:\n{text}")
        else:
            self._display.display(f"{labels(hosts)}: {text}" if len(progress.said) > 1 else text)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._close_tasks()
        super().v2_playbook_on_stats(stats)
        hosts = {name: stats.summarize(name) for name in sorted(stats.processed)}
        bad = {name: each for name, each in hosts.items() if each["failures"] or each["unreachable"]}
        for name, each in bad.items():
            how = "UNREACHABLE" if each["unreachable"] else "FAILED"
            who = named([self._hosts[name]]) if name in self._hosts else name
            self._display.display(f"{how} {who}: {self._failures.get(name, '')}", color=COLORS[how])
        changed, failed = (sum(each[key] for each in hosts.values()) for key in ("changed", "failures"))
        count = f"{len(hosts)} host{'s' * (len(hosts) != 1)}"
        which = f"failed: {len(bad)} of {count}" if bad else f"ok: {count}"
        total = f"{which}, {changed} changed, {failed} failed, {self._status.elapsed.strip('[ s]')} s"
        self._display.display(total, color=C.COLOR_ERROR if bad else C.COLOR_OK)


class CallbackModule(DefaultCallback if Display().verbosity else ProgressCallback):  # type: ignore[misc]  # chosen as it loads
    """With -v the default callback as it is: whoever asks for detail gets all of it."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "sparkfleet.ec2.progress"
