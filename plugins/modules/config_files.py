#!/usr/bin/python
# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a set of directories, files and links in one task."""

from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: Write a set of directories, files and links in one task
version_added: 0.1.0
author: The sparkfleet authors (@sparkfleet)
description:
  - Brings a whole set of paths into the wanted state with one connection to the host, where a loop over
    M(ansible.builtin.copy) takes one per path.
  - Works in the order O(directories), O(files) and O(secret_files), O(links), O(absent). All of it is checked
    before the first path is touched, so a set that cannot be written is not written by half.
  - A file or link is put in place by rename and with its owner and mode from the first moment. No reader ever
    sees half a file, or a secret with open permissions.
  - Files and links replace each other and are never followed. Directories, devices and sockets are never
    replaced.
options:
  directories:
    description:
      - Directories that are to exist. Their contents are left alone.
      - Parents are not created by themselves. List them first.
    type: list
    elements: dict
    default: []
    suboptions:
      path: &path
        description: Absolute path.
        type: path
        required: true
      owner: &owner
        description: User name or number. Digits alone are a number.
        type: str
        default: root
      group: &group
        description: Group name or number. Digits alone are a number.
        type: str
        default: root
      mode:
        description: Permissions in octal, as a quoted string.
        type: raw
        default: "0755"
  files:
    description:
      - Files that are to exist with this content.
      - With C(--diff), the content of a file that is not readable by everybody is not shown.
    type: list
    elements: dict
    default: []
    suboptions:
      path: *path
      content: &content
        description: The whole content, written as UTF-8 and exactly as given.
        type: str
        required: true
      owner: *owner
      group: *group
      mode:
        description: Permissions in octal, as a quoted string.
        type: raw
        default: "0644"
  secret_files:
    description: As O(files), with content that appears in no result, no diff and no log, whatever the mode.
    type: list
    elements: dict
    default: []
    suboptions:
      path: *path
      content: *content
      owner: *owner
      group: *group
      mode:
        description: Permissions in octal, as a quoted string.
        type: raw
        default: "0600"
  links:
    description: Symbolic links that are to exist. The target need not exist.
    type: list
    elements: dict
    default: []
    suboptions:
      path: *path
      target:
        description: What the link says, absolute or relative to the link's directory.
        type: str
        required: true
  absent:
    description:
      - Files, links and empty directories that are not to exist.
      - A directory that holds anything is refused.
    type: list
    elements: path
    default: []
attributes:
  check_mode:
    support: full
    description: Owners, groups and parents that do not exist yet are taken as about to be created.
  diff_mode:
    support: full
    description: One entry for each path that changes.
  idempotent:
    support: full
    description: A path changes only when its kind, content, target, owner, group or mode differs.
"""

EXAMPLES = r"""
- name: Write Spark's configuration
  sparkfleet.ec2.config_files:
    directories:
      - path: /etc/spark
      - path: /var/log/spark
        owner: spark
        group: spark
        mode: "0750"
    files:
      - path: /etc/spark/spark-defaults.conf
        content: |
          spark.master spark://sparkfleet-master:7077
    secret_files:
      - path: /etc/spark/auth.conf
        content: "spark.authenticate.secret {{ spark_secret }}\n"
        group: spark
        mode: "0640"
    links:
      - path: /opt/spark/conf
        target: /etc/spark
    absent:
      - /etc/spark/old.conf
"""

RETURN = r"""
changed_paths:
  description: The paths that changed, or would change in check mode, sorted.
  returned: always
  type: list
  elements: str
  sample: [/etc/spark/spark-defaults.conf]
diff:
  description: One entry for each path of RV(changed_paths), in the order of work.
  returned: with C(--diff)
  type: list
  elements: dict
  contains:
    before:
      description: Old content; or the old kind, owner, group and mode where content is hidden or unchanged.
      type: str
    after:
      description: New content; or the new kind, owner, group and mode where content is hidden or unchanged.
      type: str
    before_header:
      description: Path with the old kind, owner, group and mode.
      type: str
    after_header:
      description: Path with the new kind, owner, group and mode.
      type: str
"""

import contextlib
import grp
import os
import pwd
import re
import stat
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule


class State(NamedTuple):
    """What is, or is to be, at a path. A field that means nothing for a kind keeps its default: states compare."""

    kind: str  # absent, file, directory, link or other
    owner: int | str = -1  # a name only in check mode, when there is no such user yet
    group: int | str = -1
    mode: int = 0
    content: bytes | None = None
    target: str = ""


class Item(NamedTuple):
    """One wanted path; hidden: its content must not be shown."""

    path: str
    wanted: State
    hidden: bool = False


class ConfigFilesError(Exception):
    """One line: what is wrong, and what would do."""


class ConfigFilesModule(AnsibleModule):
    """AnsibleModule, but what goes to the host's log is that it ran, not with which contents."""

    def _log_invocation(self) -> None:
        # AnsibleModule logs str(option): it escapes a secret's newline, and no_log no longer finds it.
        self.log("Invoked")


def look(path: str, with_content: bool) -> State:
    """What is at PATH now, a link itself and not what it points to. Raises OSError."""
    try:
        info = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return State("absent")
    if stat.S_ISLNK(info.st_mode):
        return State("link", target=os.readlink(path))
    kind = "directory" if stat.S_ISDIR(info.st_mode) else "file" if stat.S_ISREG(info.st_mode) else "other"
    content = None
    if kind == "file" and with_content:
        with open(path, "rb") as file:
            content = file.read()
    return State(kind, info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode), content)


def user_number(name: str) -> int:
    """Raises KeyError when there is no such user."""
    return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid


def group_number(name: str) -> int:
    """Raises KeyError when there is no such group."""
    return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid


def numbers(entry: dict[str, Any], check_mode: bool) -> tuple[int | str, int | str]:
    """Uid and gid of ENTRY; a name that does not exist stays a name in check mode, else ConfigFilesError."""
    found: list[int | str] = []
    for key, number_of in (("owner", user_number), ("group", group_number)):
        try:
            found.append(number_of(entry[key]))
        except KeyError:
            if not check_mode:
                raise ConfigFilesError(
                    f'{entry["path"]}: {key} "{entry[key]}" does not exist on this host; create it first'
                ) from None
            found.append(entry[key])
    return found[0], found[1]


def octal(entry: dict[str, Any]) -> int:
    """The mode of ENTRY as a number. Raises ConfigFilesError."""
    mode = entry["mode"]
    if not isinstance(mode, str) or not re.fullmatch(r"[0-7]{3,4}", mode):
        raise ConfigFilesError(f'{entry["path"]}: mode is {mode!r}; give it in octal and quoted, as "0644"')
    return int(mode, 8)


def wanted_items(params: dict[str, Any], check_mode: bool) -> list[Item]:
    """The options as one list in the order of work. Raises ConfigFilesError."""
    items = []
    for option, kind in (("directories", "directory"), ("files", "file"), ("secret_files", "file")):
        for entry in params[option]:
            mode = octal(entry)
            content = entry["content"].encode() if kind == "file" else None
            hidden = option == "secret_files" or not mode & stat.S_IROTH
            items.append(Item(entry["path"], State(kind, *numbers(entry, check_mode), mode, content), hidden))
    items += [Item(entry["path"], State("link", target=entry["target"])) for entry in params["links"]]
    items += [Item(path, State("absent")) for path in params["absent"]]
    return [item._replace(path=os.path.normpath(item.path)) for item in items]


def check_paths(items: list[Item]) -> None:
    """Raises ConfigFilesError for a path that is relative or listed twice."""
    seen = set()
    for path, *_rest in items:
        if not os.path.isabs(path):
            raise ConfigFilesError(f"{path}: the path is relative; give it from / on")
        if path in seen:
            raise ConfigFilesError(f"{path}: listed twice; list it once")
        seen.add(path)


def check_replaceable(path: str, now: State, wanted: State) -> None:
    """Raises ConfigFilesError when what is at PATH is not ours to replace."""
    if now.kind in {"absent", wanted.kind}:
        return
    if now.kind == "directory" and wanted.kind == "absent" and not os.listdir(path):
        return
    if now.kind in ("directory", "other") or wanted.kind == "directory":
        holds = " that is not empty" if wanted.kind == "absent" and now.kind == "directory" else ""
        is_now = "a device, pipe or socket" if now.kind == "other" else f"a {now.kind}{holds}"
        raise ConfigFilesError(f"{path}: is {is_now}, wanted is {wanted.kind}; move it away or remove it")


def check_parent(item: Item, made: set[str]) -> None:
    """Raises ConfigFilesError when the directory that ITEM goes into neither exists nor is in MADE."""
    parent = os.path.dirname(item.path)
    if item.wanted.kind != "absent" and parent not in made and not os.path.isdir(parent):
        raise ConfigFilesError(f"{item.path}: there is no directory {parent}; list it under directories")


def plan(items: list[Item], check_mode: bool) -> list[tuple[Item, State]]:
    """Those of ITEMS that differ from what is there, each with its present state. Raises ConfigFilesError."""
    check_paths(items)
    todo = []
    made: set[str] = set()
    for item in items:
        with naming(item.path):
            now = look(item.path, with_content=item.wanted.kind == "file")
            check_replaceable(item.path, now, item.wanted)
        if not check_mode:
            check_parent(item, made)
        if item.wanted.kind == "directory":
            made.add(item.path)
        if now != item.wanted:
            todo.append((item, now))
    return todo


def replace(path: str, make: Callable[[str], None]) -> None:
    """Let MAKE make the new thing beside PATH, then put it in place in one step. Leaves nothing behind."""
    temporary = os.path.join(os.path.dirname(path), f".sparkfleet-{uuid.uuid4().hex}")
    try:
        make(temporary)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def put_file(path: str, wanted: State) -> None:
    """Write the file with its owner and mode, in one step. Raises OSError."""

    def make(temporary: str) -> None:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(wanted.content or b"")
            os.fchown(descriptor, int(wanted.owner), int(wanted.group))
            os.fchmod(descriptor, wanted.mode)

    replace(path, make)


def put_directory(path: str, wanted: State) -> None:
    """Make the directory if there is none, and give it its owner and mode. Raises OSError."""
    if not os.path.isdir(path):
        os.mkdir(path, 0o700)
    os.chown(path, int(wanted.owner), int(wanted.group))
    os.chmod(path, wanted.mode)


def put_link(path: str, wanted: State) -> None:
    """Point the link at its target, in one step. Raises OSError."""
    replace(path, lambda temporary: os.symlink(wanted.target, temporary))


def put_away(path: str, _wanted: State) -> None:
    """Remove a file, link or empty directory. Raises OSError."""
    if os.path.isdir(path) and not os.path.islink(path):
        os.rmdir(path)
    else:
        os.unlink(path)


PUT = {"file": put_file, "directory": put_directory, "link": put_link, "absent": put_away}


def name_of(number: int | str, names: Callable[[int], Any]) -> str:
    """The name of a uid or gid, or the number where it has none."""
    try:
        return names(int(number))[0]
    except (KeyError, ValueError):
        return str(number)


def describe(state: State) -> str:
    """As a line, such as C(file root:root 0644)."""
    if state.kind == "absent":
        return "absent"
    if state.kind == "link":
        return f"link to {state.target}"
    names = f"{name_of(state.owner, pwd.getpwuid)}:{name_of(state.group, grp.getgrgid)}"
    return f"{state.kind} {names} {state.mode:04o}"


def bodies(now: State, wanted: State, hidden: bool) -> tuple[str, str]:
    """What --diff compares: contents where they differ and may be seen, else descriptions."""
    old, new = ((state.content or b"").decode(errors="replace") for state in (now, wanted))
    if now.content == wanted.content or old == new:
        return f"{describe(now)}\n", f"{describe(wanted)}\n"
    if hidden:
        was = "absent" if now.content is None else f"{describe(now)} (content hidden)"
        return f"{was}\n", f"{describe(wanted)} (content hidden, changed)\n"
    return old, new


def diff_entry(item: Item, now: State) -> dict[str, str]:
    """One entry of the result's diff."""
    was_private = now.kind == "file" and not now.mode & stat.S_IROTH
    before, after = bodies(now, item.wanted, item.hidden or was_private)
    return {
        "before": before,
        "after": after,
        "before_header": f"{item.path} ({describe(now)})",
        "after_header": f"{item.path} ({describe(item.wanted)})",
    }


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Turn an OSError into a ConfigFilesError that names PATH, not a temporary file, and what would do."""
    try:
        yield
    except OSError as error:
        hint = "; the task needs become: true" if isinstance(error, PermissionError) and os.geteuid() else ""
        raise ConfigFilesError(f"{path}: {error.strerror}{hint}") from error


def bring_about(module: AnsibleModule) -> dict[str, Any]:
    """Plan, and unless in check mode do it; what to return. Raises ConfigFilesError."""
    todo = plan(wanted_items(module.params, module.check_mode), module.check_mode)
    result: dict[str, Any] = {"changed": bool(todo), "changed_paths": sorted(item.path for item, _now in todo)}
    if module._diff:
        result["diff"] = [diff_entry(item, now) for item, now in todo]
    if not module.check_mode:
        for item, _now in todo:
            with naming(item.path):
                PUT[item.wanted.kind](item.path, item.wanted)
    return result


def argument_spec() -> dict[str, Any]:
    """The options, as in DOCUMENTATION."""

    def entries(extra: dict[str, Any], mode: str | None = None, **more: Any) -> dict[str, Any]:
        options = {"path": {"type": "path", "required": True}, **extra}
        if mode:
            options["owner"] = {"type": "str", "default": "root"}
            options["group"] = {"type": "str", "default": "root"}
            options["mode"] = {"type": "raw", "default": mode}
        return {"type": "list", "elements": "dict", "default": [], "options": options, **more}

    content = {"type": "str", "required": True}
    return {
        "directories": entries({}, "0755"),
        "files": entries({"content": content}, "0644"),
        "secret_files": entries({"content": {**content, "no_log": True}}, "0600", no_log=False),
        "links": entries({"target": {"type": "str", "required": True}}),
        "absent": {"type": "list", "elements": "path", "default": []},
    }


def main() -> None:
    """Entry point of the module."""
    module = ConfigFilesModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = bring_about(module)
    except ConfigFilesError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
