# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the progress callback: what ansible-playbook prints with it."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.sparkfleet.ec2.plugins.callback import progress

COLLECTIONS = Path(progress.__file__).parents[5]
Play = Callable[..., str]

INVENTORY = f"""
[nodes]
i-0aaa sparkfleet_name=master
i-0ccc sparkfleet_name=worker-10
i-0bbb sparkfleet_name=worker-2
[nodes:vars]
ansible_connection=local
[gone]
i-0ddd sparkfleet_name=worker-3 ansible_host=127.0.0.1 ansible_port=1
[all:vars]
ansible_python_interpreter={sys.executable}
"""

INCLUDED = """
- name: Included
  ansible.builtin.set_fact: {a: 1}
"""

PLAYBOOK = """
- name: Talk
  hosts: localhost
  gather_facts: false
  tasks:
    - name: One text
      ansible.builtin.debug: {msg: hello}
    - name: A list
      ansible.builtin.debug: {msg: [one, 2]}
    - name: A variable
      ansible.builtin.debug: {var: number}
      vars: {number: {a: [1]}}
    - name: A loop
      ansible.builtin.debug: {msg: "say {{ item }}"}
      loop: [a, b]
- name: Nowhere
  hosts: none_such
  tasks: []
- name: Install
  hosts: nodes:gone
  gather_facts: false
  tasks:
    - name: Reach
      ansible.builtin.ping:
    - name: Change
      ansible.builtin.set_fact: {a: 1}
      changed_when: inventory_hostname == 'i-0aaa'
    - name: Skip everywhere
      ansible.builtin.fail:
      when: false
    - name: Skip somewhere
      ansible.builtin.set_fact: {a: 1}
      when: sparkfleet_name != 'master'
    - ansible.builtin.include_tasks: included.yml
    - name: Speak
      ansible.builtin.debug: {msg: "I am {{ sparkfleet_name }}"}
    - name: Speak with one voice
      ansible.builtin.debug: {msg: We are}
    - name: Ignore
      ansible.builtin.fail: {msg: not so bad}
      ignore_errors: true
    - name: Items
      ansible.builtin.assert: {that: "item.n != 2", fail_msg: "not {{ item.n }}", quiet: true}
      loop: [{n: 1}, {n: 2}]
      loop_control: {label: "item-{{ item.n }}"}
      ignore_errors: true
    - name: Rescue
      block:
        - name: Broken
          ansible.builtin.fail: {msg: broken on purpose}
      rescue:
        - name: Mended
          ansible.builtin.set_fact: {a: 1}
    - name: Once
      ansible.builtin.set_fact: {a: 1}
      run_once: true
    - name: Secret
      ansible.builtin.fail: {msg: hunter2}
      no_log: true
      ignore_errors: true
      run_once: true
    - name: Assert
      ansible.builtin.assert:
        that: workers >= 0
        fail_msg: |-
          workers is -1
          give 0 or more
      vars: {workers: -1}
      when: sparkfleet_name == 'master'
    - name: Command
      ansible.builtin.shell: "for i in $(seq 12); do echo line $i >&2; done; exit 3"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("progress")
    (folder / "ansible.cfg").write_text("[defaults]\n")
    (folder / "hosts").write_text(INVENTORY)
    (folder / "play.yml").write_text(PLAYBOOK)
    (folder / "included.yml").write_text(INCLUDED)
    return folder


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment without what would change the output, then MORE."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE") and name != "CI"}
    ours = {
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_STDOUT_CALLBACK": "sparkfleet.ec2.progress",
        "ANSIBLE_NOCOLOR": "1",
        "TERM": "xterm",
    }
    return {**kept, **ours, **more}


def command(folder: Path, *arguments: str) -> list[str]:
    """ansible-playbook of the Python that runs the tests."""
    playbook = str(Path(sys.executable).with_name("ansible-playbook"))
    return [sys.executable, playbook, "-i", str(folder / "hosts"), *arguments]


def play(folder: Path, *arguments: str, **more: str) -> str:
    """What ansible-playbook prints into a pipe, times replaced."""
    done = subprocess.run(
        command(folder, *arguments), env=environment(folder, **more), capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    return re.sub(r"\[ *[0-9.]+s\]", "[T]", done.stdout)


@pytest.fixture(scope="module")
def output(folder: Path) -> str:
    """Of the whole playbook."""
    return play(folder, str(folder / "play.yml"))


def line(name: str, counts: str) -> str:
    return f"[T] {name} {'.' * (progress.NAME_WIDTH - len(name))} {counts}\n"


def test_debug_texts_are_plain(output: str) -> None:
    assert output.startswith('[T] == Talk ==\nhello\none\n2\n{\n  "number": {')
    assert "\nsay a\nsay b\n[T] == Nowhere: no host matches ==\n[T] == Install on 4 nodes ==\n" in output


def test_tasks_in_order(output: str) -> None:
    start = output.index("== Install")
    tasks = re.findall(r"^(\[T\].*|[a-zA-Z].*)$", output[start : output.index("PLAY RECAP")], re.MULTILINE)
    unreachable = tasks.pop(1)
    assert unreachable.startswith("UNREACHABLE worker-3 (i-0ddd): Reach: ")
    assert "Connection refused" in unreachable
    expected = (
        line("Reach", "3 ok, 1 unreachable"),
        line("Change", "3 ok, 1 changed"),
        line("Skip somewhere", "2 ok, 1 skipped"),
        line("Included", "3 ok"),
        "master: I am master\nworker-2: I am worker-2\nworker-10: I am worker-10\n",
        "We are\n",
        line("Ignore", "3 ignored"),
        "ignored: on master, worker-2, worker-10: Ignore: not so bad\n",
        line("Items", "3 ignored"),
        "ignored: on master, worker-2, worker-10: Items: [item-2] not 2\n",
        line("Broken", "3 rescued"),
        "rescued: on master, worker-2, worker-10: Broken: broken on purpose\n",
        line("Mended", "3 ok"),
        line("Once", "1 ok"),
        line("Secret", "1 ignored"),
        "ignored: master (i-0aaa): Secret: the output has been hidden due to the fact that 'no_log: true' was "
        "specified for this result\n",
        line("Assert", "2 skipped, 1 failed"),
        "FAILED master (i-0aaa): Assert: workers is -1\n",
        line("Command", "2 failed"),
        "FAILED on worker-2, worker-10: Command: exit status 3\n",
    )
    assert "".join(f"{task}\n" for task in tasks) == "".join(expected)


def test_what_a_failure_prints_is_whole_and_short(output: str) -> None:
    assert "Assert: workers is -1\n    give 0 or more\n[T]" in output
    tail = "".join(f"    line {number}\n" for number in range(3, 13))
    assert f"exit status 3\n{tail}\nPLAY RECAP" in output
    for noise in ("Origin", "[ERROR]", "evaluated_to", "fatal", "hunter2", "\r", "\033"):
        assert noise not in output


def test_recap(output: str) -> None:
    recap = output[output.index("PLAY RECAP") :]
    assert re.search(r"^i-0aaa +: ok=\d+ +changed=1 +unreachable=0 +failed=1 +skipped=\d+ +rescued=1", recap, re.M)
    totals = recap.strip().splitlines()[-5:]
    assert totals[:4] == [
        "FAILED master (i-0aaa): Assert",
        "FAILED worker-2 (i-0bbb): Command",
        "FAILED worker-10 (i-0ccc): Command",
        "UNREACHABLE worker-3 (i-0ddd): Reach",
    ]
    assert re.fullmatch(r"failed: 4 of 5 hosts, 1 changed, 3 failed, [0-9.]+ s", totals[4])


FINE = """
- name: Write
  hosts: nodes
  gather_facts: false
  tasks:
    - name: Write a file
      ansible.builtin.copy:
        content: "new\\n"
        dest: "{{ playbook_dir }}/written"
        mode: "0644"
    - name: Look
      ansible.builtin.set_fact: {a: 1}
"""


def test_check_and_diff(folder: Path) -> None:
    (folder / "fine.yml").write_text(FINE)
    output = play(folder, "--check", "--diff", str(folder / "fine.yml"))
    assert output.startswith(
        "[T] == Write on 3 nodes (check mode) ==\n"
        + line("Write a file", "3 ok, 3 changed")
        + "master, worker-2, worker-10:\n--- before\n+++ after"
    )
    assert output.count("+new") == 1
    assert line("Look", "3 ok") in output
    assert re.search(r"^ok: 3 hosts, 3 changed, 0 failed, [0-9.]+ s$", output, re.M)
    quiet = play(folder, "--check", str(folder / "fine.yml"), ANSIBLE_DISPLAY_OK_HOSTS="no")
    assert "Write a file" in quiet
    assert "Look" not in quiet


def test_verbose_is_the_default_callback(folder: Path) -> None:
    (folder / "fine.yml").write_text(FINE)
    output = play(folder, "-v", "--check", str(folder / "fine.yml"))
    assert "TASK [Look] ***" in output
    assert "ok: [i-0aaa] => {" in output
    assert "[T]" not in output


@pytest.mark.parametrize("strategy", ["free", "host_pinned"])
def test_hosts_that_do_not_wait_for_each_other(folder: Path, strategy: str) -> None:
    (folder / "free.yml").write_text(FINE.replace("gather_facts", f"strategy: {strategy}\n  gather_facts"))
    output = play(folder, "--check", str(folder / "free.yml"))
    assert line("Write a file", "3 ok, 3 changed") in output
    assert line("Look", "3 ok") in output


def test_a_host_that_failed_counts_no_more(folder: Path) -> None:
    (folder / "two.yml").write_text("""
- name: First
  hosts: nodes
  gather_facts: false
  tasks:
    - name: Fail once
      ansible.builtin.fail: {msg: no}
      when: sparkfleet_name == 'master'
- name: Second
  hosts: nodes
  gather_facts: false
  tasks:
    - name: Go on
      ansible.builtin.set_fact: {a: 1}
""")
    output = play(folder, str(folder / "two.yml"))
    assert "== Second on 2 nodes ==" in output
    assert line("Go on", "2 ok") in output


def on_terminal(folder: Path, playbook: str, columns: int, **more: str) -> str:
    """What ansible-playbook writes to a terminal of that width."""
    parent, child = pty.openpty()
    with subprocess.Popen(
        command(folder, str(folder / playbook)),
        env=environment(folder, COLUMNS=str(columns), **more),
        stdin=subprocess.DEVNULL,
        stdout=child,
        stderr=child,
    ):
        os.close(child)
        written = b""
        try:
            while chunk := os.read(parent, 65536):
                written += chunk
        except OSError:
            os.close(parent)
    return written.decode().replace("\r\n", "\n")


def on_screen(written: str) -> list[str]:
    """The lines that remain."""
    return [text.rpartition(progress.ERASE_LINE)[2] for text in written.split("\n")]


SLOW = """
- name: Install
  hosts: nodes
  gather_facts: false
  tasks:
    - name: Wait for all
      slow: {seconds: "{{ 0 if sparkfleet_name == 'master' else 3 }}"}
    - name: Speak
      ansible.builtin.debug: {msg: done}
"""

SLOW_MODULE = """
import time
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({"seconds": {"type": "int"}})
time.sleep(module.params["seconds"])
module.warn("careful")
module.exit_json(changed=True)
"""


@pytest.fixture
def slow(folder: Path) -> str:
    """Name of a playbook in which two hosts take three seconds longer than the first, and each warns at its end."""
    (folder / "library").mkdir(exist_ok=True)
    (folder / "library/slow.py").write_text(SLOW_MODULE)
    (folder / "slow.yml").write_text(SLOW)
    return "slow.yml"


def test_status_line_on_a_terminal(folder: Path, slow: str) -> None:
    written = on_terminal(folder, slow, 200)
    statuses = [text for text in re.split(r"\r\033\[K|\n", written) if " | " in text]
    assert any(re.search(r"\] 0/3 Wait for all \| master, ", text) for text in statuses)
    two_left = [text for text in statuses if re.search(r"\] 1/3 Wait for all \| worker-2, worker-10$", text)]
    assert len(set(two_left)) > 1, "the time stands still"
    remains = on_screen(written)
    assert not [text for text in remains if " | " in text]
    assert any("Wait for all ......" in text for text in remains)
    assert "done" in remains
    assert any(text.startswith("[WARNING]: ") and "careful" in text for text in remains)


def test_all_fits_into_the_terminal(folder: Path, slow: str) -> None:
    (folder / slow).write_text(SLOW.replace("Wait for all", "Wait for all of those who are not there yet"))
    written = on_terminal(folder, slow, 60)
    statuses = [text for text in re.split(r"\r\033\[K|\n", written) if "/3 Wait" in text]
    assert max(len(text) for text in statuses) == 59
    assert any(re.search(r"\] 1/3 Wait .*… \| worker-2, w\S*…$", text) for text in statuses)
    (outcome,) = [text for text in on_screen(written) if "3 changed" in text and "Wait" in text]
    assert re.search(r"\] Wait for all of those .*… \.\.\. 3 ok, 3 changed$", outcome)
    assert len(outcome) == 59


def test_a_phase_is_a_heading(folder: Path) -> None:
    (folder / "phase.yml").write_text(FINE.replace("name: Look", "name: mark | Begin phase install"))
    assert "\n[T] -- install --\n" in play(folder, "--check", str(folder / "phase.yml"))


@pytest.mark.parametrize(("heartbeat", "beats"), [("0.5", True), ("0", False), ("60", False)])
def test_sign_of_life_where_there_is_no_terminal(folder: Path, slow: str, heartbeat: str, beats: bool) -> None:
    output = play(folder, str(folder / slow), SPARKFLEET_HEARTBEAT=heartbeat)
    assert ("\n[T] ... 1/3 Wait for all | worker-2, worker-10\n" in output) == beats
    assert "Wait for all ......" in output


@pytest.mark.parametrize(("more", "colored"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_color(folder: Path, more: dict[str, str], colored: bool) -> None:
    (folder / "fine.yml").write_text(FINE)
    assert ("\033[0;3" in on_terminal(folder, "fine.yml", 80, ANSIBLE_NOCOLOR="", **more)) == colored
    assert "\033" not in play(folder, "--check", str(folder / "fine.yml"), ANSIBLE_NOCOLOR="", **more)


@pytest.mark.parametrize("more", [{"TERM": "dumb"}, {"CI": "true"}])
def test_no_status_line_where_it_cannot_be_overwritten(folder: Path, more: dict[str, str]) -> None:
    (folder / "fine.yml").write_text(FINE)
    written = on_terminal(folder, "fine.yml", 80, **more)
    assert "Write a file" in written
    assert "\033[K" not in written
    assert " | " not in written


def test_an_interrupted_run_tells_what_it_was_at(folder: Path, slow: str) -> None:
    (folder / slow).write_text(SLOW.replace("else 3", "else 60"))
    with subprocess.Popen(
        command(folder, str(folder / slow)),
        env=environment(folder, SPARKFLEET_HEARTBEAT="0.2"),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        # Headings arrive at once, so that a log can be followed.
        assert "== Install on 3 nodes ==" in process.stdout.readline()
        while "1/3 Wait for all | worker-2" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=30)[0]
    assert "Wait for all" in output
    assert "1 ok, 1 changed" in output
