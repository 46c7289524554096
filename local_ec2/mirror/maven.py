# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Part of a Maven repository: the jars that nodes download one by one, below maven2/ as in Maven Central."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from local_ec2.mirror.archives import TIMEOUT_SECONDS, Say
from local_ec2.settings import LocalEC2Error

CENTRAL = "https://repo1.maven.org/maven2"
# Paths and checksums as the role has them.
LISTS = (Path(__file__).parents[2] / "roles/s3fs/files/s3a.sha512",)

POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>sparkfleet</groupId><artifactId>jars</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
{dependencies}  </dependencies>
</project>
"""
# The jar alone: the list names what it stands on.
DEPENDENCY = """\
    <dependency>
      <groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>
      <exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>
    </dependency>
"""


def wanted(lists: Iterable[Path] = LISTS) -> dict[str, str]:
    """Return the SHA-512 of each jar by its path in a repository."""
    lines = (line.split() for path in lists for line in path.read_text(encoding="ascii").splitlines())
    return {path: digest for digest, path in lines}


def provide(jars: dict[str, str], repository: Path, downloads: Path, say: Say) -> None:
    """Have the jars in a repository; those that are there and whole are left alone."""
    missing = [path for path in jars if not is_whole(repository / path, jars[path])]
    if not missing:
        return
    say(f"fetching {len(missing)} jar(s) of Hadoop's way to S3")
    if not from_central(missing, repository):
        by_maven(missing, repository, downloads)
    for path in missing:
        if not is_whole(repository / path, jars[path]):
            raise LocalEC2Error(f"{path} is not what its checksum says: run `up` again")


def is_whole(file: Path, digest: str) -> bool:
    """Tell whether a jar is there, as it should be."""
    return file.exists() and hashlib.sha512(file.read_bytes()).hexdigest() == digest


def from_central(paths: list[str], repository: Path) -> bool:
    """Fetch jars from Maven Central; False if it cannot be reached."""
    for path in paths:
        try:
            # CENTRAL is https, and what comes is compared with its checksum by who asked for it.
            with urllib.request.urlopen(f"{CENTRAL}/{path}", timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                content = answer.read()
        except OSError:
            return False
        (repository / path).parent.mkdir(parents=True, exist_ok=True)
        (repository / path).write_bytes(content)
    return True


def pom(paths: Iterable[str]) -> str:
    """Return the project whose dependencies are the jars."""
    dependencies = []
    for path in paths:
        *group, artifact, version, _jar = path.split("/")
        dependencies.append(DEPENDENCY.format(group=".".join(group), artifact=artifact, version=version))
    return POM.format(dependencies="".join(dependencies))


def by_maven(paths: list[str], repository: Path, downloads: Path) -> None:
    """Have Maven fetch jars, from where it is set up to."""
    project = downloads / "jars" / "pom.xml"
    project.parent.mkdir(parents=True, exist_ok=True)
    project.write_text(pom(paths), encoding="utf-8")
    copy_dependencies(project, "jars", "-Dmdep.useRepositoryLayout=true", f"-DoutputDirectory={repository}")


def copy_dependencies(project: Path, what: str, *options: str) -> None:
    """Have Maven fetch what a project depends on."""
    if not shutil.which("mvn"):
        raise LocalEC2Error(f"mvn is missing, which fetches {what} where their own site is out of reach: install maven")
    command = ["mvn", "--batch-mode", "--quiet", "--file", str(project), "dependency:copy-dependencies"]
    ran = subprocess.run([*command, *options], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if ran.returncode:
        why = (ran.stdout + ran.stderr).strip()[-400:]
        raise LocalEC2Error(f"Maven cannot fetch {what} (go without the mirror by --no-mirror): {why}")
