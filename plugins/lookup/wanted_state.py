# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: wanted_state
author: The sparkfleet authors (@sparkfleet)
version_added: 0.1.0
short_description: A hash of everything that decides what a node is set up to
description:
  - Hashes the files of roles, and those of their settings that differ from the defaults because the inventory, the
    playbook or the command line sets them. Equal hashes mean that walking the node again would change nothing, unless
    somebody edited it by hand.
  - The settings of a role are the options of the main entry point in its C(meta/argument_specs.yml). Other variables,
    and the READMEs of roles, do not count.
  - Of a setting of the type C(path) that names a file of this machine, what the file holds counts as well.
  - A setting that the role declares as C(no_log) counts whoever sets it, by a hash that is slow to compute. The result
    is kept where every user of a node may read it, and passwords could be guessed from it otherwise.
options:
  _terms:
    description: Full names of the roles, in the order in which they are applied.
    type: list
    elements: str
    required: true
  extra:
    description: Anything else that counts, such as the role of the node in the cluster.
    type: raw
"""

EXAMPLES = r"""
- name: Show the hash that this host should have
  ansible.builtin.debug:
    msg: "{{ lookup('sparkfleet.ec2.wanted_state', 'sparkfleet.ec2.common', 'sparkfleet.ec2.java', extra='worker') }}"
"""

RETURN = r"""
_raw:
  description: One sha256 in hex.
  type: list
  elements: str
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.sparkfleet.ec2.plugins.plugin_utils._components import role_path
from ansible_collections.sparkfleet.ec2.plugins.plugin_utils._digest import slow_digest, state_digest


class LookupModule(LookupBase):
    """Hash roles and the variables that their argument_specs name."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Return a list of one hash."""
        variables = variables or {}
        self.set_options(var_options=variables, direct=kwargs)
        paths = [self._role_path(name) for name in terms]
        settings = {name: value for path in paths for name, value in self._settings(path, variables)}
        return [state_digest(paths, {"settings": settings, "extra": self.get_option("extra")})]

    @staticmethod
    def _role_path(name: str) -> Path:
        """Return the folder of a role given by its full name."""
        found = role_path(name)
        if not found:
            raise AnsibleLookupError(f"sparkfleet.ec2.wanted_state: no role {name}; give its full name")
        return found

    def _settings(self, path: Path, variables: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield name and what counts of each setting of a role that differs from the default."""
        main = self._read(path / "meta" / "argument_specs.yml").get("argument_specs", {}).get("main", {})
        # Inside of a role its defaults are variables like others; the hash must be the same in there.
        defaults = self._read(path / "defaults" / "main.yml")
        for name, option in main.get("options", {}).items():
            if option.get("no_log"):
                if secret := self._templar.template(variables.get(name, defaults.get(name))):
                    yield name, slow_digest(name, str(secret))
            elif name in variables and variables[name] != defaults.get(name):
                value = self._templar.template(variables[name])
                yield name, value
                file = Path(str(value)).expanduser()
                if option.get("type") == "path" and file.is_file():
                    yield f"{name} holds", hashlib.sha256(file.read_bytes()).hexdigest()

    def _read(self, path: Path) -> dict[str, Any]:
        """Return what a YAML file of a role holds; {} if there is no such file or nothing in it."""
        if not path.exists():
            return {}
        # Unsafe, as Ansible calls it, means no copy: nothing is changed here.
        return self._loader.load_from_file(str(path), cache="all", unsafe=True, trusted_as_template=True) or {}
