# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipe: what HDFS needs of Hadoop's binary archive, out of Hadoop's Maven artifacts."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from local_ec2.mirror.archives import Archive, Member, Say, text_member
from local_ec2.mirror.maven import copy_dependencies

# The line of Spark's own client jars.
VERSION = "3.5.0"
# The newest whose NFS gateway is published; that of one version does not run on the jars of another.
NFS_VERSION = "3.4.2"
# The servers' poms take for granted what these name: it does not arrive on its own.
SERVERS = ("hadoop-common", "hadoop-auth", "hadoop-hdfs", "hadoop-hdfs-client")
NFS = ("hadoop-nfs", "hadoop-hdfs-nfs")

# Where Apache's archive has them; the first that fits counts, all others are in share/hadoop/common/lib.
PLACES = (
    (r"hadoop-(common|nfs|kms)-.*", "common"),
    (r"hadoop-hdfs.*", "hdfs"),
)

POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>sparkfleet</groupId><artifactId>hadoop-{version}</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
{dependencies}  </dependencies>
</project>
"""
DEPENDENCY = """\
    <dependency>
      <groupId>org.apache.hadoop</groupId><artifactId>{artifact}</artifactId><version>{version}</version>{more}
    </dependency>
"""
# The jar alone, without what the tests stand on.
PAGES = """
      <classifier>tests</classifier>
      <exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"""

RELEASE = """\
Hadoop {version} put together from its Maven artifacts ({artifacts}), because Apache's own archive could not be
reached. In it: common and hdfs with what they stand on, and the daemons' pages. Not in it: the scripts of bin and sbin,
native libraries, MapReduce, YARN and the tools.
"""


def pom(version: str, artifacts: Sequence[str]) -> str:
    """Return the project whose dependencies are the artifacts; the pages are in the jar of HDFS's tests only."""
    wanted = [(artifact, "") for artifact in artifacts] + [("hadoop-hdfs", PAGES)]
    dependencies = (DEPENDENCY.format(artifact=artifact, version=version, more=more) for artifact, more in wanted)
    return POM.format(version=version, dependencies="".join(dependencies))


def place(jar: str) -> str:
    """Return the folder of a jar in the archive, below share/hadoop."""
    return next((folder for pattern, folder in PLACES if re.fullmatch(pattern, jar)), "common/lib")


def download(version: str, artifacts: Sequence[str], downloads: Path, say: Say) -> Path:
    """Return the folder with all jars, fetched by Maven unless they are there."""
    folder = downloads / f"hadoop-{version}"
    project = pom(version, artifacts)
    # Written last: what was cut off is begun anew.
    done = folder / "pom.xml"
    if done.exists() and done.read_text(encoding="utf-8") == project:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    part = folder / "part.xml"
    part.write_text(project, encoding="utf-8")
    say(f"fetching Hadoop {version} with Maven (75 MB)")
    copy_dependencies(part, f"Hadoop's jars {version}", "-DincludeScope=runtime", f"-DoutputDirectory={folder}")
    part.rename(done)
    return folder


@contextmanager
def members(version: str, artifacts: Sequence[str], downloads: Path, say: Say) -> Iterator[list[Member]]:
    """Give the archive's files."""
    jars = sorted(download(version, artifacts, downloads, say).glob("*.jar"))
    tests = [jar for jar in jars if jar.name.endswith("-tests.jar")]
    share = f"hadoop-{version}/share/hadoop"
    release = RELEASE.format(version=version, artifacts=", ".join(artifacts))
    yield [
        text_member(f"hadoop-{version}/RELEASE", release),
        *(_jar(f"{share}/{place(jar.name)}", jar) for jar in jars if jar not in tests),
        *(page for jar in tests for page in _pages(f"{share}/hdfs", jar)),
    ]


def _jar(folder: str, jar: Path) -> Member:
    return Member(f"{folder}/{jar.name}", 0o644, jar.stat().st_size, partial(_open, jar))


def _pages(folder: str, tests: Path) -> Iterator[Member]:
    with zipfile.ZipFile(tests) as jar:
        for info in jar.infolist():
            if info.filename.startswith("webapps/") and not info.is_dir():
                yield Member(f"{folder}/{info.filename}", 0o644, info.file_size, partial(_page, tests, info.filename))


def _open(jar: Path) -> IO[bytes]:
    return jar.open("rb")


def _page(tests: Path, name: str) -> IO[bytes]:
    return zipfile.Path(tests, name).open("rb")


def _archive(version: str, artifacts: Sequence[str]) -> Archive:
    path = f"hadoop/common/hadoop-{version}/hadoop-{version}.tar.gz"
    return Archive(path, partial(members, version, artifacts))


ARCHIVE = _archive(VERSION, SERVERS)
NFS_ARCHIVE = _archive(NFS_VERSION, SERVERS + NFS)
