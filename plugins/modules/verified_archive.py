#!/usr/bin/python
# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install an archive of known checksum into a directory of its own."""

from __future__ import annotations

DOCUMENTATION = r"""
module: verified_archive
short_description: Download, verify and unpack an archive in one pass
version_added: 0.1.0
author: The sparkfleet authors (@sparkfleet)
description:
  - Downloads an archive from the first URL that has it, and hashes and unpacks it while it arrives. The
    archive itself is never stored.
  - It is unpacked beside O(dest) and renamed to O(dest) only when its SHA-512 is the wanted one. Otherwise
    nothing remains.
  - The leading directory of all names in the archive is dropped. What is unpacked belongs to the user who
    runs the module and is writable for nobody else. Device files and links out of the archive are refused.
  - A second run at the same time waits for the first.
options:
  urls:
    description:
      - Where the archive may be, tried in order. All must end in the same file name.
      - The name says the format, one of C(.tar.gz), C(.tgz), C(.tar.xz) and C(.tar.zst).
      - A URL without the archive, and one that does not answer, are passed over. So is one whose archive has
        another checksum.
    type: list
    elements: str
    required: true
  sha512:
    description: The SHA-512 that the archive must have, 128 hexadecimal digits. If unset, it is read from
      O(checksum_urls).
    type: str
  checksum_urls:
    description:
      - Where the archive's SHA-512 is published, tried in order. Not used with O(sha512).
      - Understood are the formats of C(sha512sum), with and without C(--tag), of C(gpg --print-md SHA512),
        and a bare checksum.
      - If unset, each of O(urls) with C(.sha512) appended.
    type: list
    elements: str
  dest:
    description:
      - Absolute path of the directory that is to hold what the archive holds. Its parent must exist.
      - An archive that this module installed there before is replaced. Anything else there is refused.
    type: path
    required: true
  owner:
    description: User name or number that owns O(dest) itself.
    type: str
    default: root
  group:
    description: Group name or number of O(dest) itself.
    type: str
    default: root
  mode:
    description: Permissions of O(dest) itself in octal, as a quoted string.
    type: raw
    default: "0755"
  timeout:
    description: How many seconds may pass without a byte from a server.
    type: int
    default: 30
  retries:
    description: How often a broken transfer, or a server's temporary error, is tried again at the same URL,
      after 1 s, 2 s, 4 s and so on.
    type: int
    default: 2
  hint:
    description: Which settings a user can change when none of the URLs will do. Appended to the message, after C(Set).
    type: str
attributes:
  check_mode:
    support: full
    description: Nothing is requested from any server.
  diff_mode:
    support: none
    description: What is in an archive does not show as text.
  idempotent:
    support: full
    description: C(.sparkfleet-archive.json) in O(dest) says what is installed. If that has the wanted
      O(sha512), or without O(sha512) the wanted file name, nothing is requested from any server.
"""

EXAMPLES = r"""
- name: Install Spark
  sparkfleet.ec2.verified_archive:
    urls:
      - https://downloads.apache.org/spark/spark-4.2.1/spark-4.2.1-bin-hadoop3.tgz
      - https://archive.apache.org/dist/spark/spark-4.2.1/spark-4.2.1-bin-hadoop3.tgz
    checksum_urls:
      - https://archive.apache.org/dist/spark/spark-4.2.1/spark-4.2.1-bin-hadoop3.tgz.sha512
    dest: /opt/spark-4.2.1
    hint: spark_mirrors
"""

RETURN = r"""
url:
  description: Where the archive came from, without credentials and query.
  returned: when an archive is installed
  type: str
  sample: https://downloads.apache.org/spark/spark-4.2.1/spark-4.2.1-bin-hadoop3.tgz
sha512:
  description: SHA-512 of the archive, 128 hexadecimal digits.
  returned: when an archive is installed
  type: str
bytes:
  description: Size of the packed archive.
  returned: when an archive is installed
  type: int
  sample: 446153289
seconds:
  description: How long download and unpacking took, 0 if it was installed already.
  returned: when an archive is installed
  type: float
  sample: 17.1
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit, urlunsplit

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkfleet.ec2.plugins.module_utils._download import (
    UnavailableError,
    chunks,
    first_that_works,
    opened,
    reason,
)
from ansible_collections.sparkfleet.ec2.plugins.module_utils._unpacker import TAR_OPTIONS, ArchiveError, Unpacker

MARKER = ".sparkfleet-archive.json"
CHUNK = 1 << 20
CHECKSUM_LIMIT = 1 << 20


class NoSourceError(ArchiveError):
    """No URL will do; other URLs might."""


class MismatchError(UnavailableError):
    """This URL has the archive, but not with the wanted checksum."""


class Installed(NamedTuple):
    """What the marker in dest says; bytes is the packed size."""

    url: str
    sha512: str
    bytes: int

    @property
    def name(self) -> str:
        """The archive's file name."""
        return file_name(self.url)


def file_name(url: str) -> str:
    """The last part of the path of URL."""
    return urlsplit(url).path.rpartition("/")[2]


def shown(url: str) -> str:
    """URL without what may be secret: user, password, query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def short(sha512: str) -> str:
    """As much of a checksum as fits in a message."""
    return f"{sha512[:16]}…"


# Checksums


def parse_checksums(text: str) -> dict[str, str]:
    """Checksums by file name, "" for a bare one. The formats are those in the docs of checksum_urls."""
    found = {}
    for name, sha512 in re.findall(r"^SHA512 \((.+)\) = ([0-9a-fA-F]{128})\s*$", text, re.MULTILINE):
        found[name] = sha512
    for sha512, name in re.findall(r"^([0-9a-fA-F]{128})(?:[ \t]+\*?(\S.*?))?\s*$", text, re.MULTILINE):
        found[name] = sha512
    for name, groups in re.findall(r"^(\S.*?):((?:\s+[0-9A-Fa-f]+)+)\s*$", text, re.MULTILINE):
        found[name] = re.sub(r"\s", "", groups)
    return {name.rpartition("/")[2]: sha512.lower() for name, sha512 in found.items() if len(sha512) == 128}


def published_checksum(url: str, name: str, timeout: int) -> str:
    """The checksum of NAME in the checksum file at URL. Raises UnavailableError."""
    with opened(url, timeout) as response:
        body = b""
        for chunk in chunks(response, timeout):
            body += chunk
            if len(body) > CHECKSUM_LIMIT:
                raise UnavailableError("is not a checksum file")
    found = parse_checksums(body.decode(errors="replace"))
    if name not in found and "" not in found:
        raise UnavailableError(f"has no SHA-512 of {name}")
    return found.get(name, found.get("", ""))


def wanted_checksum(params: dict[str, Any], name: str) -> str:
    """The pinned or published checksum. Raises ArchiveError."""
    if params["sha512"]:
        return params["sha512"].lower()
    urls = params["checksum_urls"] or [f"{url}.sha512" for url in params["urls"]]
    failures: dict[str, UnavailableError] = {}
    found = first_that_works(
        urls, params["retries"], lambda url: published_checksum(url, name, params["timeout"]), failures
    )
    if found is None:
        raise NoSourceError(f"no checksum at any of: {listed(failures)}")
    return found


# Unpacking


def empty(directory: str) -> None:
    """Remove all that DIRECTORY holds."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)


def check_tree(top: str) -> None:
    """Raises ArchiveError when TOP is empty, or holds devices or links that lead out of it."""
    inside = os.path.realpath(top) + os.sep
    if not os.listdir(top):
        raise ArchiveError("it holds no directory with files")
    for directory, directories, files in os.walk(top):
        for name in directories + files:
            path = os.path.join(directory, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode) and not (os.path.realpath(path) + os.sep).startswith(inside):
                raise ArchiveError(f"{path[len(top) + 1 :]} in it is a link out of it, to {os.readlink(path)}")
            if not (stat.S_ISLNK(mode) or stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise ArchiveError(f"{path[len(top) + 1 :]} in it is a device, pipe or socket")


def unpack_from(url: str, stage: Stage, wanted: str, timeout: int) -> Installed:
    """Download URL into STAGE. Raises UnavailableError, ArchiveError."""
    empty(stage.path)
    digest = hashlib.sha512()
    size = 0
    with (
        opened(url, timeout) as response,
        Unpacker(file_name(url), stage.path, stage.lock) as tar,
        ThreadPoolExecutor(max_workers=1) as hasher,
    ):
        for chunk in chunks(response, timeout):
            hashed = hasher.submit(digest.update, chunk)
            size += len(chunk)
            tar.feed(chunk)
            hashed.result()
    if digest.hexdigest() != wanted:
        raise MismatchError(f"sha512 of {shown(url)} is {short(digest.hexdigest())} ({size} bytes)")
    if tar.failed:
        raise ArchiveError(f"tar cannot unpack it: {' '.join(list(tar.complaints)[:2])}")
    check_tree(stage.path)
    return Installed(shown(url), wanted, size)


# The destination


class Stage(NamedTuple):
    """The directory beside dest in which the archive is unpacked, and a descriptor that holds its lock."""

    path: str
    lock: int

    def still_there(self) -> bool:
        """Whether the path still leads to the locked directory; another run may have moved or removed it."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self.lock))
        except FileNotFoundError:
            return False


def locked_stage(path: str) -> Stage:
    """Make or take over the directory at PATH and wait until no other run holds it. Raises OSError."""
    while True:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        try:
            stage = Stage(path, os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW))
        except FileNotFoundError:
            continue
        fcntl.flock(stage.lock, fcntl.LOCK_EX)
        if stage.still_there():
            return stage
        os.close(stage.lock)


@contextlib.contextmanager
def staging(dest: str) -> Iterator[Stage]:
    """A directory beside DEST that this run alone writes to. Gone afterwards, or renamed."""
    stage = locked_stage(f"{dest}.part")
    try:
        shutil.rmtree(f"{dest}.part-old", ignore_errors=True)
        yield stage
    finally:
        if stage.still_there():
            shutil.rmtree(stage.path, ignore_errors=True)
        os.close(stage.lock)


def put_in_place(stage: Stage, dest: str) -> None:
    """Rename the unpacked archive to DEST, in place of an older one if there is one. Raises OSError."""
    old = f"{dest}.part-old"
    if os.path.exists(dest):
        os.rename(dest, old)
    os.rename(stage.path, dest)
    shutil.rmtree(old, ignore_errors=True)


def installed_in(dest: str) -> Installed | None:
    """What is installed in DEST, or None if nothing is. Raises ArchiveError when something else is there."""
    try:
        with open(os.path.join(dest, MARKER), encoding="utf-8") as file:
            return Installed(**json.load(file))
    except (OSError, ValueError, TypeError):
        if os.path.lexists(dest) and (os.path.islink(dest) or not os.path.isdir(dest) or os.listdir(dest)):
            raise ArchiveError(
                f"{dest} holds something that was not installed from an archive; move it away or remove it"
            ) from None
        return None


def is_wanted(present: Installed | None, params: dict[str, Any], name: str) -> bool:
    """Whether what is installed is what the options ask for."""
    if present is None:
        return False
    if params["sha512"]:
        return present.sha512 == params["sha512"].lower()
    return present.name == name


# The module


def listed(failures: dict[str, UnavailableError]) -> str:
    """URLs with the reason against each."""
    return ", ".join(f"{shown(url)} ({error})" for url, error in failures.items())


def explain(wanted: str, failures: dict[str, UnavailableError]) -> str:
    """Why no URL would do, in one line."""
    other = {url: error for url, error in failures.items() if not isinstance(error, MismatchError)}
    mismatches = [str(error) for error in failures.values() if isinstance(error, MismatchError)]
    if not mismatches:
        return f"not found at any of: {listed(other)}"
    also = f"; not found at {listed(other)}" if other else ""
    return f"{', '.join(mismatches)}, expected {short(wanted)}{also}; the archive is corrupt or was replaced"


def check_options(params: dict[str, Any]) -> None:
    """Raises ArchiveError for options that make no sense."""
    names = sorted({file_name(url) for url in params["urls"]})
    if len(names) != 1:
        raise ArchiveError(f"urls must end in one file name, these end in {', '.join(names) or 'none'}")
    if not names[0].endswith(tuple(TAR_OPTIONS)):
        raise ArchiveError(f"the name must end in one of {', '.join(TAR_OPTIONS)}")
    if params["sha512"] and not re.fullmatch(r"[0-9a-fA-F]{128}", params["sha512"]):
        raise ArchiveError(f"sha512 must be 128 hexadecimal digits, given is {params['sha512']!r}")
    if not os.path.isabs(params["dest"]):
        raise ArchiveError(f"dest must be an absolute path, given is {params['dest']}")


def install(module: AnsibleModule, stage: Stage, name: str, dest: str) -> Installed:
    """Bring the archive from one of the URLs to DEST. Raises ArchiveError, OSError."""
    params = module.params
    wanted = wanted_checksum(params, name)
    failures: dict[str, UnavailableError] = {}
    done = first_that_works(
        params["urls"],
        params["retries"],
        lambda url: unpack_from(url, stage, wanted, params["timeout"]),
        failures,
    )
    if done is None:
        raise NoSourceError(explain(wanted, failures))
    with open(os.path.join(stage.path, MARKER), "w", encoding="utf-8") as file:
        json.dump(done._asdict(), file)
    set_attributes(module, stage.path)
    put_in_place(stage, dest)
    return done


def set_attributes(module: AnsibleModule, path: str) -> bool:
    """Give PATH the wanted owner, group and mode; whether that changed anything."""
    wanted = module.load_file_common_arguments(module.params, path=path)
    return module.set_fs_attributes_if_different(wanted, False)


def bring_about(module: AnsibleModule, name: str) -> dict[str, Any]:
    """Install what is not installed yet; the result. Raises ArchiveError, OSError."""
    dest = os.path.normpath(module.params["dest"])
    started = time.monotonic()
    present = installed_in(dest)
    if not is_wanted(present, module.params, name):
        if module.check_mode:
            return {"changed": True}
        if not os.path.isdir(os.path.dirname(dest)):
            raise ArchiveError(f"there is no directory {os.path.dirname(dest)}; create it first")
        with staging(dest) as stage:
            present = installed_in(dest)
            if not is_wanted(present, module.params, name):
                done = install(module, stage, name, dest)
                return {"changed": True, "seconds": round(time.monotonic() - started, 1), **done._asdict()}
    return {"changed": set_attributes(module, dest), "seconds": 0.0, **cast(Installed, present)._asdict()}


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "urls": {"type": "list", "elements": "str", "required": True},
            "sha512": {"type": "str"},
            "checksum_urls": {"type": "list", "elements": "str"},
            "dest": {"type": "path", "required": True},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
            "mode": {"type": "raw", "default": "0755"},
            "timeout": {"type": "int", "default": 30},
            "retries": {"type": "int", "default": 2},
            "hint": {"type": "str"},
        },
        supports_check_mode=True,
    )
    name = file_name((module.params["urls"] or ["urls"])[0])
    try:
        check_options(module.params)
        result = bring_about(module, name)
    except (ArchiveError, OSError) as error:
        where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
        hint = f" Set {module.params['hint']}." if module.params["hint"] and isinstance(error, NoSourceError) else ""
        module.fail_json(msg=f"{name}: {where}{reason(error)}. Nothing was installed.{hint}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
