#!/usr/bin/python
# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a user that a service runs as, with a group of its own."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_user
short_description: Make a user that a service runs as, with a group of its own
version_added: 0.2.0
author: The sparkfleet authors (@sparkfleet)
description:
  - Makes a system user without a password and a group of the same name and number, and sees to who is in which group.
    With M(ansible.builtin.group) and M(ansible.builtin.user) that takes a task for each.
  - Users and groups that exist and differ are changed.
options:
  name:
    description: Name of the user and of the group.
    type: str
    required: true
  id:
    description: Number of the user and of the group, the same on all nodes.
    type: int
    required: true
  home:
    description: Home directory.
    type: path
    default: /nonexistent
  create_home:
    description: Whether to make the home directory of a new user.
    type: bool
    default: false
  shell:
    description: Login shell.
    type: path
    default: /usr/sbin/nologin
  groups:
    description: Groups that the user joins. A dry run takes those that are missing for ones that it would have made.
    type: list
    elements: str
    default: []
  members:
    description: Users that join the group. They have to exist; a dry run takes those that are missing as for O(groups).
    type: list
    elements: str
    default: []
  members_setting:
    description: The setting that named the members. An error about one begins with it.
    type: str
    default: members
attributes:
  check_mode:
    support: full
    description: Users and groups that do not exist yet are taken as about to be made.
  diff_mode:
    support: full
    description: Shows what is run.
  idempotent:
    support: full
    description: What is as wanted is left alone.
"""

EXAMPLES = r"""
- name: Make the user spark
  sparkfleet.ec2.service_user:
    name: spark
    id: 6100
    home: /var/lib/spark
    members: [admin]
"""

RETURN = r""" # """

import grp
import pwd
from typing import Any

from ansible.module_utils.basic import AnsibleModule


def of_name(find: Any, name: str) -> Any:
    """The entry of a user or group, None if there is none. find: of the module pwd or grp."""
    try:
        return find(name)
    except KeyError:
        return None


def is_member(user: str, group: str) -> bool:
    """Whether a user is in a group, by the list of members or as the user's own group."""
    there, who = of_name(grp.getgrnam, group), of_name(pwd.getpwnam, user)
    return there is not None and (user in there.gr_mem or (who is not None and who.pw_gid == there.gr_gid))


def user_options(params: dict[str, Any], user: Any) -> list[str]:
    """What of useradd and usermod has to be said. user: the entry there is, None for a new user."""
    wanted = {
        "--uid": (str(params["id"]), user and str(user.pw_uid)),
        "--gid": (str(params["id"]), user and str(user.pw_gid)),
        "--home": (params["home"], user and user.pw_dir),
        "--shell": (params["shell"], user and user.pw_shell),
    }
    return [word for option, (value, now) in wanted.items() if value != now for word in (option, value)]


def commands(params: dict[str, Any]) -> list[list[str]]:
    """What has to be run, in this order, so that all is as wanted."""
    name, number = params["name"], str(params["id"])
    found = []
    group, user = of_name(grp.getgrnam, name), of_name(pwd.getpwnam, name)
    if group is None:
        found.append(["groupadd", "--system", "--gid", number, name])
    elif group.gr_gid != params["id"]:
        found.append(["groupmod", "--gid", number, name])
    options = user_options(params, user)
    if user is None:
        home = "--create-home" if params["create_home"] else "--no-create-home"
        found.append(["useradd", "--system", home, *options, name])
    elif options:
        found.append(["usermod", *options, name])
    joins = [(name, other) for other in params["groups"]] + [(other, name) for other in params["members"]]
    found += [["usermod", "--append", "--groups", to, who] for who, to in joins if not is_member(who, to)]
    return found


def main() -> None:
    """Make what is missing."""
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "id": {"type": "int", "required": True},
            "home": {"type": "path", "default": "/nonexistent"},
            "create_home": {"type": "bool", "default": False},
            "shell": {"type": "path", "default": "/usr/sbin/nologin"},
            "groups": names,
            "members": names,
            "members_setting": {"type": "str", "default": "members"},
        },
        supports_check_mode=True,
    )
    params = module.params
    strangers = [name for name in params["members"] if of_name(pwd.getpwnam, name) is None and name != params["name"]]
    if strangers and not module.check_mode:
        module.fail_json(
            msg=f"{params['members_setting']}: the node has no user {', '.join(strangers)}; give users that it has, "
            "or make them first"
        )
    todo = commands(params)
    for command in [] if module.check_mode else todo:
        code, _out, said = module.run_command(command)
        if code:
            module.fail_json(msg=(said.strip() or f"{command[0]}: exit code {code}").splitlines()[-1])
    text = "".join(f"{' '.join(command)}\n" for command in todo)
    module.exit_json(changed=bool(todo), diff={"before": "", "after": text})


if __name__ == "__main__":
    main()
