# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a run that launches a cluster fails or is interrupted: what runs and costs now, and the two ways on."""

from __future__ import annotations

DOCUMENTATION = r"""
name: what_runs
type: notification
short_description: Say what runs and costs when the launch of a cluster fails or is interrupted
version_added: 0.2.0
author: The sparkfleet authors (@sparkfleet)
description:
  - When a run that has begun to launch a cluster ends with a failure, or by Ctrl-C, prints which instances of the
    cluster there are, by role, type and state, and how to go on or to remove them. EC2 is asked once for that, with the
    credentials and the region of the environment.
  - Nothing can be printed by a run that is killed outright.
requirements:
  - Listed in C(callbacks_enabled) of the configuration.
"""

EXAMPLES = r"""
ansible.cfg: |
  [defaults]
  callbacks_enabled = sparkfleet.ec2.what_runs
"""

import atexit
import os
from typing import TYPE_CHECKING, Any

from ansible import constants as C  # noqa: N812  the name that all of Ansible uses
from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible_collections.sparkfleet.ec2.plugins.plugin_utils._what_runs import what_runs

if TYPE_CHECKING:
    from ansible.executor.task_result import CallbackTaskResult

# A fact that the role `fleet` sets before it creates anything.
FACT = "__fleet_launching"


class CallbackModule(CallbackBase):
    """Learns which cluster is launched, and speaks up at a bad end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "sparkfleet.ec2.what_runs"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._cluster = ""
        self._over = False
        self._process = os.getpid()
        # On Ctrl-C no callback is told, but Python ends in order.
        atexit.register(self._at_exit)

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        self._cluster = result.result.get("ansible_facts", {}).get(FACT, self._cluster)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._over = True
        if stats.failures or stats.dark:
            self._tell()

    def _at_exit(self) -> None:
        if not self._over and os.getpid() == self._process:
            self._tell()

    def _tell(self) -> None:
        if self._cluster:
            for line in what_runs(self._cluster, self._destroy()):
                self._display.display(line, color=C.COLOR_WARN)

    @staticmethod
    def _destroy() -> str:
        """The command that removes a cluster, with the inventory that this run uses."""
        source = (context.CLIARGS.get("inventory") or C.DEFAULT_HOST_LIST)[0]
        return f"ansible-playbook -i {os.path.relpath(source)} sparkfleet.ec2.destroy"
