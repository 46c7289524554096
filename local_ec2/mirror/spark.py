# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipe: Spark's binary archive out of PyPI's pyspark source package, which carries the same jars and scripts."""

from __future__ import annotations

import gzip
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from local_ec2.mirror.archives import Archive, Member, Say, text_member
from local_ec2.settings import LocalEC2Error

VERSION = "4.2.1"
NAME = f"spark-{VERSION}-bin-hadoop3"

# Where the package has what Apache's archive has elsewhere; the first that fits counts, None leaves out.
PLACES = (
    (r"deps/examples/(.*)", "examples/src/main/python/{}"),
    (r"deps/((?:bin|sbin|jars|data|licenses)/.*)", "{}"),
    (r"pyspark/python/(.*)", None),
    (r"(pyspark/.*)", "python/{}"),
    (r"(lib/.*\.zip)", "python/{}"),
    (r"(LICENSE|NOTICE)", "{}"),
    (r"(README\.md|setup\.py|setup\.cfg)", "python/{}"),
)

RELEASE = """\
Spark {version} put together from PyPI's pyspark {version} source package (SHA-256 {digest}),
because Apache's own archive could not be reached. Not in it: the examples' jar, SparkR, the Kubernetes
files, the templates of conf and the scripts of sbin that start-all.sh needs.
"""


def place(path: str) -> str | None:
    """Return where a file of the package (path without its top folder) goes in the archive, None for nowhere."""
    for pattern, target in PLACES:
        if found := re.fullmatch(pattern, path):
            return target and target.format(found[1])
    return None


def download(downloads: Path, say: Say) -> Path:
    """Return pyspark's source package, fetched by pip unless it is there."""
    package = downloads / f"pyspark-{VERSION}.tar.gz"
    if not package.exists():
        say(f"fetching pyspark {VERSION} with pip (450 MB)")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "pyspark"]
        done = subprocess.run(
            [*command, "--dest", str(downloads), f"pyspark=={VERSION}"], capture_output=True, text=True, check=False
        )
        if done.returncode or not package.exists():
            why = done.stderr.strip()[-400:]
            raise LocalEC2Error(f"pip cannot fetch pyspark {VERSION} (go without the mirror by --no-mirror): {why}")
    return package


@contextmanager
def members(downloads: Path, say: Say) -> Iterator[list[Member]]:
    """Give the archive's files while the package is open."""
    package = download(downloads, say)
    with package.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").hexdigest()
    release = text_member(f"{NAME}/RELEASE", RELEASE.format(version=VERSION, digest=digest))
    with unpacked(package) as files:
        yield [release, *files]


@contextmanager
def unpacked(package: Path) -> Iterator[list[Member]]:
    """Give the package's files at their places, out of an uncompressed copy, which can be read in any order."""
    with tempfile.TemporaryFile(dir=package.parent) as plain:
        with gzip.open(package) as zipped:
            shutil.copyfileobj(zipped, plain, 1 << 20)
        plain.seek(0)
        with tarfile.open(fileobj=plain) as tar:
            placed = ((place(info.name.partition("/")[2]), info) for info in tar if info.isfile())
            yield [_member(tar, info, target) for target, info in placed if target]


def _member(tar: tarfile.TarFile, info: tarfile.TarInfo, target: str) -> Member:
    mode = 0o755 if info.mode & 0o100 else 0o644
    return Member(f"{NAME}/{target}", mode, info.size, partial(_open, tar, info))


def _open(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(info)
    if content is None:
        raise LocalEC2Error(f"{info.name} is no file")
    return content


ARCHIVE = Archive(path=f"spark/spark-{VERSION}/{NAME}.tgz", members=members)
