#!/usr/bin/python
# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill a directory with files of known checksums."""

from __future__ import annotations

DOCUMENTATION = r"""
module: verified_files
short_description: Fill a directory with downloaded files of known checksums
version_added: 0.2.0
author: The sparkfleet authors (@sparkfleet)
description:
  - Downloads a set of files, some at a time, each from the first base URL that has it with the wanted SHA-512, into
    one directory that then holds these and no others.
  - Nothing in the directory changes before all files have arrived and are what they should be.
options:
  urls:
    description: Base URLs, tried in order for each file.
    type: list
    elements: str
    required: true
  files:
    description: The SHA-512 of each file, 128 hexadecimal digits, by its path below the base URLs.
    type: dict
    required: true
  dest:
    description:
      - Absolute path of the directory, whose parent must exist. The files are right in there, under the last part of
        their paths.
    type: path
    required: true
  timeout:
    description: How many seconds may pass without a byte from a server.
    type: int
    default: 30
  hint:
    description: Which settings a user can change when none of the URLs will do. Appended to the message, after C(Set).
    type: str
attributes:
  check_mode:
    support: full
    description: Nothing is requested from any server.
  diff_mode:
    support: none
    description: What is in the files does not show as text.
  idempotent:
    support: full
    description: Files that are there with the wanted checksum are not requested.
"""

EXAMPLES = r"""
- name: Install a library of Java's
  sparkfleet.ec2.verified_files:
    urls: [https://repo1.maven.org/maven2]
    files:
      org/reactivestreams/reactive-streams/1.0.4/reactive-streams-1.0.4.jar: "{{ the_sha512 }}"
    dest: /opt/streams
    hint: my_repositories
"""

RETURN = r"""
fetched:
  description: Names of the files that were downloaded.
  returned: always
  type: list
  elements: str
removed:
  description: Names of the files that had no business in the directory.
  returned: always
  type: list
  elements: str
"""

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkfleet.ec2.plugins.module_utils._download import (
    UnavailableError,
    chunks,
    first_that_works,
    opened,
)

AT_ONCE = 6
# Of one URL, where that may help.
RETRIES = 2


class NoSourceError(Exception):
    """No base URL has a file."""


def sha512(path: Path) -> str:
    """Return a file's checksum, "" if there is none."""
    return hashlib.sha512(path.read_bytes()).hexdigest() if path.is_file() else ""


def fetch(path: str, wanted: str, urls: list[str], folder: Path, timeout: int) -> None:
    """Download one file into a folder. Raises NoSourceError."""

    def content_of(url: str) -> bytes:
        with opened(url, timeout) as response:
            content = b"".join(chunks(response, timeout))
        found = hashlib.sha512(content).hexdigest()
        if found != wanted.lower():
            raise UnavailableError(f"its sha512 is {found[:16]}…, expected {wanted[:16].lower()}…")
        return content

    failures: dict[str, UnavailableError] = {}
    content = first_that_works([f"{base.rstrip('/')}/{path}" for base in urls], RETRIES, content_of, failures)
    if content is None:
        raise NoSourceError(f"cannot be had: {', '.join(f'{url} ({why})' for url, why in failures.items())}")
    (folder / PurePosixPath(path).name).write_bytes(content)


def fetch_all(missing: dict[str, str], params: dict[str, Any], folder: Path) -> None:
    """Download files, some at a time. Raises NoSourceError for the first that cannot be had."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [
            pool.submit(fetch, path, wanted, params["urls"], folder, params["timeout"])
            for path, wanted in missing.items()
        ]
        try:
            for job in jobs:
                job.result()
        finally:
            for job in jobs:
                job.cancel()


def install(missing: dict[str, str], removed: list[str], params: dict[str, Any]) -> None:
    """Bring the directory into the wanted state. Raises NoSourceError, OSError."""
    dest = Path(params["dest"])
    part = dest.with_name(f"{dest.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o755)
    try:
        fetch_all(missing, params, part)
        dest.mkdir(mode=0o755, exist_ok=True)
        for file in part.iterdir():
            file.chmod(0o644)
            file.replace(dest / file.name)
        for name in removed:
            (dest / name).unlink()
    finally:
        shutil.rmtree(part, ignore_errors=True)


def main() -> None:
    """Compare, then download."""
    module = AnsibleModule(
        argument_spec={
            "urls": {"type": "list", "elements": "str", "required": True},
            "files": {"type": "dict", "required": True},
            "dest": {"type": "path", "required": True},
            "timeout": {"type": "int", "default": 30},
            "hint": {"type": "str"},
        },
        supports_check_mode=True,
    )
    files, dest = module.params["files"], Path(module.params["dest"])
    names = {PurePosixPath(path).name: wanted.lower() for path, wanted in files.items()}
    missing = {
        path: wanted for path, wanted in files.items() if sha512(dest / PurePosixPath(path).name) != wanted.lower()
    }
    removed = sorted(file.name for file in dest.iterdir() if file.name not in names) if dest.is_dir() else []
    if (missing or removed) and not module.check_mode:
        try:
            install(missing, removed, module.params)
        except (NoSourceError, OSError) as error:
            hint = f". Set {module.params['hint']}" if module.params["hint"] else ""
            module.fail_json(msg=f"{error}. Nothing was installed{hint}")
    module.exit_json(
        changed=bool(missing or removed),
        fetched=sorted(PurePosixPath(path).name for path in missing),
        removed=removed,
    )


if __name__ == "__main__":
    main()
