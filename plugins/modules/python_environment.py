#!/usr/bin/python
# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have a Python environment that holds certain packages, whole or not at all."""

from __future__ import annotations

DOCUMENTATION = r"""
module: python_environment
short_description: Install a Python environment that holds certain packages, whole or not at all
version_added: 0.2.0
author: The sparkfleet authors (@sparkfleet)
description:
  - Makes a virtual environment of the wheels that meet O(packages) and compiles them. Nothing is built from source.
  - Each set of requirements gets a directory of its own beside O(path), named after a hash of them, and O(path) is a
    link to it. The link is switched when all is there, so what O(path) leads to is never half done, and what runs in
    the former environment goes on. That is removed when the one after the next is installed.
  - The work is done by C(uv), which is downloaded from the same index, compared with a checksum and not kept.
  - A second run at the same time waits for the first.
options:
  path:
    description: Absolute path of the environment. Its parent must exist.
    type: path
    required: true
  packages:
    description:
      - Lists of what is to be installed, as C(name), C(name==1.2) or the like. The keys name the settings that hold
        the lists; messages begin with the name of the one that will not do.
    type: dict
    required: true
  constraints:
    description: Versions to take where others of the packages want these, as C(name==1.2).
    type: list
    elements: str
    default: []
  constraints_setting:
    description: Name of the setting that holds O(constraints), for messages.
    type: str
    default: constraints
  index:
    description: Base URL of the package index, which serves the simple repository API.
    type: str
    default: https://pypi.org/simple
  index_setting:
    description: Name of the setting that holds O(index), for messages.
    type: str
    default: index
  python:
    description: The Python that the environment is for.
    type: path
    default: /usr/bin/python3
attributes:
  check_mode:
    support: full
    description: Nothing is requested from any server.
  diff_mode:
    support: none
    description: What is in packages does not show as text.
  idempotent:
    support: full
    description: Where an environment for the same O(packages), O(constraints) and version of O(python) is in place,
      nothing is requested from any server.
"""

EXAMPLES = r"""
- name: Install what our jobs import
  sparkfleet.ec2.python_environment:
    path: /opt/ours
    packages:
      our_packages: [numpy==2.4.6, pandas]
"""

RETURN = r"""
path:
  description: The directory that the environment is in.
  returned: success
  type: str
  sample: /opt/ours-0123456789ab
installed:
  description: What is installed, with versions.
  returned: when an environment is in place
  type: list
  elements: str
  sample: [numpy==2.4.6]
seconds:
  description: How long it took, 0 if nothing had to be done.
  returned: success
  type: float
"""

import contextlib
import fcntl
import hashlib
import html
import io
import json
import os
import platform
import re
import shutil
import subprocess
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urljoin

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkfleet.ec2.plugins.module_utils._download import (
    UnavailableError,
    chunks,
    first_that_works,
    opened,
)

MARKER = ".sparkfleet-environment.json"
UV_VERSION = "0.13.9"
# Of its wheels, by machine.
UV_SHA256 = {
    "aarch64": "5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe",
    "x86_64": "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19",
}
TIMEOUT = 30
RETRIES = 2


class UnfitError(Exception):
    """One line: which setting will not do, and what would."""


class Wanted:
    """What the environment is to be."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params
        self.link = Path(params["path"])
        names = (name for names in params["packages"].values() for name in names)
        # Each text as it is given: `a` and `A` may be the same package, but another hash does no harm.
        parts = [sorted(set(names)), sorted(set(params["constraints"])), self.version()]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        self.path = self.link.with_name(f"{self.link.name}-{digest[:12]}")

    def version(self) -> str:
        """Return the version of Python: an environment is of no use to another minor one."""
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        ran = subprocess.run([self.params["python"], "-c", code], check=True, stdout=subprocess.PIPE, text=True)
        return ran.stdout.strip()

    def installed(self) -> list[str] | None:
        """Return what is in the environment; None unless it is whole."""
        return installed_in(self.path)

    def in_place(self) -> bool:
        """Tell whether the environment is whole, and the one in use."""
        return self.link.is_symlink() and self.link.resolve() == self.path.resolve() and self.installed() is not None


def installed_in(path: Path) -> list[str] | None:
    """Return what is in an environment of ours; None unless it is whole, and nobody has changed it by hand."""
    try:
        noted = json.loads((path / MARKER).read_text(encoding="utf-8"))
        return noted["installed"] if noted["records"] == records(path) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def records(path: Path) -> list[str]:
    """Return the names of the records of what is installed, with versions."""
    return sorted(entry.name for entry in path.glob("lib/python*/site-packages/*.dist-info"))


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Hold the lock on a folder; the descriptor that does."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


# The installer


def get(url: str, accept: str = "*/*") -> tuple[bytes, str]:
    """Return the content of a URL, and where it came from in the end. Raises OSError."""

    def content_of(url: str) -> tuple[bytes, str]:
        with opened(url, TIMEOUT, accept) as answer:
            return b"".join(chunks(answer, TIMEOUT)), answer.geturl()

    failures: dict[str, UnavailableError] = {}
    found = first_that_works([url], RETRIES, content_of, failures)
    if found is None:
        raise OSError(f"{url} cannot be had ({failures[url]})")
    return found


def wheel_url(page: str, base: str, version: str, sha256: str) -> str | None:
    """Return where a page of the index has the wheel with a checksum.

    Old indexes do not say checksums: there the name decides, and what comes is compared in any case.
    """
    found = [urljoin(base, html.unescape(href)) for href in re.findall(r"""<a\s[^>]*href=["']([^"']+)""", page)]
    wheels = [url for url in found if f"/uv-{version}-" in url and urldefrag(url)[0].endswith(".whl")]
    by_sum = [url for url in wheels if sha256 in url]
    by_name = [url for url in wheels if "manylinux_2_17" in url and platform.machine() in url]
    return next((urldefrag(url)[0] for url in by_sum + by_name), None)


def fetch_uv(params: dict[str, Any], folder: Path) -> Path:
    """Download the installer into a folder; its path. Raises UnfitError."""
    machine, setting = platform.machine(), params["index_setting"]
    wanted = UV_SHA256.get(machine)
    if not wanted:
        raise UnfitError(f"no uv for {machine} is known; take nodes of {' or '.join(UV_SHA256)}")
    try:
        page, base = get(f"{params['index'].rstrip('/')}/uv/", "text/html")
        url = wheel_url(page.decode(errors="replace"), base, UV_VERSION, wanted)
        if not url:
            raise UnfitError(
                f"{setting}: {params['index']} has no uv {UV_VERSION}; give the URL of an index with all that PyPI has"
            )
        content, _url = get(url)
    except (OSError, ValueError) as error:
        raise UnfitError(f"{setting}: {error}; give the URL of an index that the nodes can reach") from error
    found = hashlib.sha256(content).hexdigest()
    if found != wanted:
        raise UnfitError(f"{setting}: sha256 of {url} is {found[:16]}…, expected {wanted[:16]}…; give another index")
    target = folder / "uv"
    with zipfile.ZipFile(io.BytesIO(content)) as wheel:
        target.write_bytes(wheel.read(f"uv-{UV_VERSION}.data/scripts/uv"))
    target.chmod(0o755)
    return target


# The environment


def explanation(said: str) -> str:
    """Return in one line why the installer could not do what it was to do."""
    first, *causes = " ".join(said.partition("\nhint:")[0].split()).removeprefix("error: ").split(" cause: ")
    if not (causes and first.startswith("No solution found")):
        return ": ".join([first, *causes])
    # What follows from its reasoning is no news.
    return re.sub(r"^Because |, we can conclude that your requirements are unsatisfiable\.?$", "", causes[-1])


def package_name(requirement: str) -> str:
    """Return the normalized name of the package in a requirement."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0]).lower()


def blamed(said: str, params: dict[str, Any]) -> str | None:
    """Return the name of the setting that the installer complains about, None where it is none."""
    if re.search(r"Failed to fetch|error sending request", said):
        return params["index_setting"]
    if not re.search(r"No solution found|parse requirement", said):
        return None
    words = set(re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)*", said.lower()))
    settings = {params["constraints_setting"]: params["constraints"], **params["packages"]}
    found = [name for name, listed in settings.items() if words & set(map(package_name, listed))]
    # The last with a package that is named: additions more likely than what was there before.
    return (found or list(settings))[-1]


def complaint(said: str, params: dict[str, Any]) -> str:
    """Return the line about what will not do: the setting, why, and what would."""
    setting = blamed(said, params)
    if setting is None:
        return f"{params['path']}: {explanation(said)}"
    if setting == params["index_setting"]:
        return f"{setting}: {explanation(said)}; give the URL of an index that the nodes can reach"
    return (
        f"{setting}: {explanation(said)}; give names and versions that {params['index']} has as wheels, for each other "
        "and for this Python"
    )


class Installer:
    """The installer in a folder beside the environment, which holds its cache too, so that files need no copy."""

    def __init__(self, wanted: Wanted, folder: Path, lock: int) -> None:
        self.wanted, self.folder, self.lock = wanted, folder, lock
        self.uv = fetch_uv(wanted.params, folder)

    def run(self, *arguments: str) -> str:
        """Run it; what it prints. Raises UnfitError."""
        given = {key: value for key, value in os.environ.items() if not key.startswith(("UV_", "PIP_", "VIRTUAL_ENV"))}
        fixed = ["--quiet", "--no-config", "--color=never", "--no-progress", "--system-certs", "--no-python-downloads"]
        ran = subprocess.run(
            [str(self.uv), *arguments, *fixed, f"--cache-dir={self.folder / 'cache'}"],
            env={**given, "UV_HTTP_TIMEOUT": str(TIMEOUT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            umask=0o022,
            # So that nobody else begins while it is still at it, where Ansible was killed.
            pass_fds=(self.lock,),
        )
        if ran.returncode:
            raise UnfitError(complaint(ran.stderr, self.wanted.params))
        return ran.stdout

    def build(self) -> list[str]:
        """Make the environment; what is installed in it."""
        params, path = self.wanted.params, str(self.wanted.path)
        requirements, constraints = self.folder / "requirements", self.folder / "constraints"
        requirements.write_text("\n".join(name for names in params["packages"].values() for name in names))
        constraints.write_text("\n".join(params["constraints"]))
        self.run("venv", f"--python={params['python']}", path)
        self.run(
            *["pip", "install", f"--python={path}/bin/python", f"--default-index={params['index']}"],
            *["--only-binary=:all:", f"--requirements={requirements}", f"--constraints={constraints}"],
        )
        compile_all(self.wanted.path, self.lock)
        return self.run("pip", "freeze", f"--python={path}/bin/python").split("\n")[:-1]


def compile_all(path: Path, lock: int) -> None:
    """Compile what is imported: jobs may not write there, and each would do it again for itself.

    Left out are the packages' own tests, which are as much as all the rest. Packages bring some files that no Python
    can compile, such as templates, so the exit code says nothing.
    """
    subprocess.run(
        [str(path / "bin/python"), "-m", "compileall", "-q", "-j", "0", "-x", r"/tests?/", str(path / "lib")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
        umask=0o022,
        pass_fds=(lock,),
    )


def siblings(wanted: Wanted) -> list[Path]:
    """Return all that this module has made for the same link, whole or not."""
    pattern = rf"{re.escape(wanted.link.name)}-[0-9a-f]{{12}}(\.part)?"
    folder = wanted.link.parent
    return [path for path in (folder.iterdir() if folder.is_dir() else ()) if re.fullmatch(pattern, path.name)]


def half_done(wanted: Wanted) -> list[Path]:
    """Return what an installation that was killed has left, and what was changed by hand."""
    return [path for path in siblings(wanted) if installed_in(path) is None]


def remove(paths: Iterable[Path]) -> None:
    """Remove environments, the sign that they are whole first."""
    for path in paths:
        (path / MARKER).unlink(missing_ok=True)
        shutil.rmtree(path)


def build(wanted: Wanted, lock: int) -> None:
    """Make the environment. Raises UnfitError and leaves nothing behind, OSError."""
    part = wanted.path.with_name(f"{wanted.path.name}.part")
    part.mkdir(mode=0o700)
    try:
        installed = Installer(wanted, part, lock).build()
        noted = {"installed": installed, "records": records(wanted.path)}
        (wanted.path / MARKER).write_text(json.dumps(noted), encoding="utf-8")
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if wanted.installed() is None:
            shutil.rmtree(wanted.path, ignore_errors=True)


def switch(wanted: Wanted) -> None:
    """Let the link lead to the environment; what it led to stays for those who use it, all others go."""
    former = wanted.link.resolve()
    part = wanted.link.with_name(f".{wanted.link.name}.part")
    part.unlink(missing_ok=True)
    part.symlink_to(wanted.path.name)
    part.replace(wanted.link)
    remove(path for path in siblings(wanted) if path not in (wanted.path, former))


def install(wanted: Wanted) -> None:
    """Bring about what is wanted. Raises UnfitError, OSError."""
    if not wanted.link.parent.is_dir():
        raise UnfitError(f"there is no directory {wanted.link.parent}; create it first")
    if wanted.link.exists() and not wanted.link.is_symlink():
        raise UnfitError(f"{wanted.link} is there and no link to an environment of ours; move it away")
    with locked(wanted.link.parent) as lock:
        if wanted.link.resolve() in half_done(wanted):
            # Rather none than half of one.
            wanted.link.unlink()
        remove(half_done(wanted))
        if wanted.installed() is None:
            build(wanted, lock)
        switch(wanted)


def main() -> None:
    """Compare, then install."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "packages": {"type": "dict", "required": True},
            "constraints": {"type": "list", "elements": "str", "default": []},
            "constraints_setting": {"type": "str", "default": "constraints"},
            "index": {"type": "str", "default": "https://pypi.org/simple"},
            "index_setting": {"type": "str", "default": "index"},
            "python": {"type": "path", "default": "/usr/bin/python3"},
        },
        supports_check_mode=True,
    )
    started = time.monotonic()
    try:
        wanted = Wanted(module.params)
        changed = not wanted.in_place() or bool(half_done(wanted))
        if changed and not module.check_mode:
            install(wanted)
    except (UnfitError, OSError, subprocess.CalledProcessError) as error:
        module.fail_json(msg=f"{error}. Nothing was changed")
    module.exit_json(
        changed=changed,
        path=str(wanted.path),
        installed=wanted.installed() or [],
        seconds=round(time.monotonic() - started, 1) if changed else 0.0,
    )


if __name__ == "__main__":
    main()
