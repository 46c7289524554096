# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notes when each phase of the site playbook begins, and how much CPU this process and its children used until then."""

from __future__ import annotations

DOCUMENTATION = r"""
name: phases
type: aggregate
short_description: Time and CPU of the phases of the site playbook
author: The sparkfleet authors (@sparkfleet)
description:
  - Appends a line of JSON to the file that E(SPARKFLEET_BENCH_PHASES) names, for each phase and for the end.
"""

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

MARK = "mark | Begin phase "


class CallbackModule(CallbackBase):
    """Listens for the tasks of playbooks/tasks/mark.yml."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "phases"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Begin."""
        self._note("start")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Note a phase."""
        _role, mark, phase = task.get_name().partition(MARK)
        if mark:
            self._note(phase)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """End."""
        self._note("end")

    @staticmethod
    def _note(phase: str) -> None:
        # Workers have ended, and been waited for, when the next task starts: their CPU is in the children's.
        cpu = sum(os.times()[:4])
        with open(os.environ["SPARKFLEET_BENCH_PHASES"], "a", encoding="utf-8") as notes:
            notes.write(json.dumps([phase, time.time(), cpu]) + "\n")
