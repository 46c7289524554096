# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of the `check_settings` module; its documentation is in plugins/modules/check_settings.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars
from ansible_collections.sparkfleet.ec2.plugins.plugin_utils._settings import Problems, check_option, misspelt


class ActionModule(ActionBase):
    """Compare the variables of the running role, or of a playbook, with what they take; connects to no host."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return an unchanged result, or fail with one line for each setting that will not do."""
        super().run(tmp, task_vars)
        _result, arguments = self.validate_argument_spec(argument_spec={"options": {"type": "dict"}})
        variables = task_vars or {}
        if arguments["options"] is not None:
            problems = self._playbook_problems(arguments["options"], variables)
        elif self._task._role is None:
            raise AnsibleActionFail("check_settings needs options where it is not in a role's tasks")
        else:
            # Rules over several variables make sense only where each of them is sound.
            problems = self._role_problems(variables) or self._broken_rules(variables)
        if problems:
            raise AnsibleActionFail("\n".join(problems))
        return {"changed": False}

    def _playbook_problems(self, options: dict[str, Any], variables: dict[str, Any]) -> Problems:
        """Return a line for each variable of the playbook that does not fit its specification."""
        # Short names are like others that a play has, but hardly on the command line.
        return misspelt(options, load_extra_vars(self._loader), 0.8) + self._option_problems(options, {}, variables)

    def _role_problems(self, variables: dict[str, Any]) -> Problems:
        """Return a line for each variable of the role that does not fit its specification."""
        options, formats = self._options(), self._internal(variables, "formats") or {}
        called = [wanted["called"] for wanted in formats.values() if "called" in wanted]
        names = misspelt(options, variables) + misspelt(called, load_extra_vars(self._loader), 0.8)
        return names + self._option_problems(options, formats, variables)

    def _option_problems(self, options: dict[str, Any], formats: dict[str, Any], variables: dict[str, Any]) -> Problems:
        """Return a line for each variable whose value does not fit."""
        found = []
        for name, option in options.items():
            try:
                value = self._templar.template(variables.get(name))
            except AnsibleError as error:
                found.append(f"{name}: cannot be worked out: {error.message}")
            else:
                # What somebody has set to null is not set, and no default stands behind it any more.
                required = option.get("required", False) or name in variables
                found += check_option(name, value, {**option, "required": required}, formats.get(name, {}))
        return found

    def _broken_rules(self, variables: dict[str, Any]) -> Problems:
        """Return the messages of the role's rules that do not hold."""
        return [rule["message"] for rule in self._internal(variables, "rules") or [] if not rule["ok"]]

    def _internal(self, variables: dict[str, Any], kind: str) -> Any:
        """Return the role's variable `__<role>_<kind>`, or None."""
        return self._templar.template(variables.get(f"__{self._task._role.get_name(False)}_{kind}"))

    def _options(self) -> dict[str, dict[str, Any]]:
        """Return the options of the main entry point of the role that this task belongs to."""
        path = Path(self._task._role._role_path) / "meta" / "argument_specs.yml"
        return yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]
