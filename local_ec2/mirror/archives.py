# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of the mirror: fetched from Apache where it can be reached, else put together by a recipe. Made once."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from local_ec2.settings import LocalEC2Error

APACHE = ("https://dlcdn.apache.org", "https://archive.apache.org/dist")
TIMEOUT_SECONDS = 10
CHUNK_BYTES = 1 << 20
# Of every file in an archive that we put together, so that the same input gives the same archive.
MTIME = 1_767_225_600

Say = Callable[[str], None]


@dataclass(frozen=True)
class Member:
    """A file of an archive. ``size`` in bytes; ``open`` gives its content from the start."""

    path: str
    mode: int
    size: int
    open: Callable[[], IO[bytes]]


def text_member(path: str, text: str) -> Member:
    """Return a small file."""
    content = text.encode()
    return Member(path, 0o644, len(content), lambda: io.BytesIO(content))


@dataclass(frozen=True)
class Archive:
    """A .tgz of the mirror: its path under Apache's root, and what it is made of where Apache is out of reach.

    ``members`` may download into the folder it is given, and closes what it has opened when its context ends.
    """

    path: str
    members: Callable[[Path, Say], AbstractContextManager[list[Member]]]


def provide(archive: Archive, root: Path, downloads: Path, say: Say) -> None:
    """Have the archive and its .sha512 below ``root``; a file that is there and whole is left alone."""
    target = root / archive.path
    if is_whole(target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    digest = from_apache(archive.path, part, say)
    if not digest:
        downloads.mkdir(parents=True, exist_ok=True)
        say(f"{target.name}: putting it together")
        with archive.members(downloads, say) as members:
            digest = pack(members, part)
    part.replace(target)
    checksum_file(target).write_text(f"{digest}  {target.name}\n", encoding="ascii")
    _remember(target)
    say(f"{target.name} is in the mirror")


def checksum_file(target: Path) -> Path:
    """Return where Apache keeps a file's checksum."""
    return target.with_name(f"{target.name}.sha512")


def parse_checksum(text: str, name: str) -> str:
    """Return the hash in a .sha512 file of Apache's, old style (NAME: groups of hex) or new (hash  NAME)."""
    found = re.fullmatch(r"[0-9a-f]{128}", re.sub(r"[\s:*]", "", text.replace(name, "")).lower())
    if not found:
        raise LocalEC2Error(f"{name}.sha512 holds no SHA-512 hash: {text[:80]!r}")
    return found[0]


def is_whole(target: Path) -> bool:
    """Tell whether the file is what its checksum says; hashed only when it has changed since the last look."""
    if not target.exists() or not checksum_file(target).exists():
        return False
    if _record(target).exists() and _record(target).read_text(encoding="ascii") == _state(target):
        return True
    with target.open("rb") as file:
        actual = hashlib.file_digest(file, "sha512").hexdigest()
    if actual != parse_checksum(checksum_file(target).read_text(encoding="ascii"), target.name):
        return False
    _remember(target)
    return True


def _record(target: Path) -> Path:
    return target.with_name(f".{target.name}.checked")


def _state(target: Path) -> str:
    files = (target.stat(), checksum_file(target).stat())
    return " ".join(f"{file.st_size} {file.st_mtime_ns}" for file in files)


def _remember(target: Path) -> None:
    _record(target).write_text(_state(target), encoding="ascii")


def from_apache(path: str, part: Path, say: Say) -> str | None:
    """Fetch a file into ``part``, return its verified hash; None when no host of Apache's can be reached."""
    name = PurePosixPath(path).name
    for base in APACHE:
        try:
            with urllib.request.urlopen(f"{base}/{path}.sha512", timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                wanted = parse_checksum(answer.read().decode("ascii"), name)
            say(f"fetching {base}/{path}")
            with urllib.request.urlopen(f"{base}/{path}", timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                actual = copy_and_hash(answer, part)
        except OSError as error:
            say(f"{name}: {base} cannot be had ({error})")
            continue
        if actual != wanted:
            raise LocalEC2Error(f"{base}/{path} is not what its .sha512 says: run `up` again")
        return actual
    return None


def copy_and_hash(source: IO[bytes], part: Path) -> str:
    """Write a stream into a file, return its SHA-512 in hex."""
    digest = hashlib.sha512()
    with part.open("wb") as file:
        while chunk := source.read(CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def pack(members: Iterable[Member], part: Path) -> str:
    """Write a .tgz with sorted names, fixed times and root as owner; return its SHA-512 in hex."""
    # Not compressed: nearly all of it is jars, which are, and the nodes that unpack it share this machine's CPU.
    with (
        part.open("wb") as out,
        gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=0, mtime=MTIME) as zipped,
        tarfile.open(fileobj=zipped, mode="w|") as tar,
    ):
        _write(members, tar)
    with part.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()


def _write(members: Iterable[Member], tar: tarfile.TarFile) -> None:
    done: set[PurePosixPath] = set()
    for member in sorted(members, key=lambda member: member.path):
        for folder in reversed(PurePosixPath(member.path).parents[:-1]):
            if folder not in done:
                done.add(folder)
                tar.addfile(_info(str(folder), 0o755, 0, tarfile.DIRTYPE))
        with member.open() as content:
            tar.addfile(_info(member.path, member.mode, member.size, tarfile.REGTYPE), content)


def _info(path: str, mode: int, size: int, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.mode, info.size, info.type, info.mtime = mode, size, kind, MTIME
    info.uname = info.gname = "root"
    return info
