# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node image: Debian 12 by mmdebstrap, as near to Debian's EC2 image as is cheap, kept by podman."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from local_ec2.podman import command, podman
from local_ec2.run import attempt, run
from local_ec2.settings import LocalEC2Error

SUITE = "bookworm"
REPOSITORY = "localhost/sparkfleet-node"
RECIPE = Path(__file__).parent / "image"
HOST_CA = Path("/usr/local/share/ca-certificates")
DEBIAN_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
PACKAGES = [
    "bzip2",
    "ca-certificates",
    "cloud-init",
    "curl",
    "dbus",
    "iproute2",
    "iputils-ping",
    "less",
    "libpam-systemd",
    "netbase",
    "openssh-server",
    "openssh-sftp-server",
    "procps",
    "python3",
    "python3-apt",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tzdata",
    "vim-tiny",
    "xz-utils",
]


def apt_sources() -> str:
    """Return apt source lines for Debian 12 from where the host has it; "" where mmdebstrap has to know a place."""
    fields = "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
    lines = run("apt-get", "indextargets", "--format", fields, "Created-By: Packages").splitlines()
    found = [line.split("|") for line in lines]
    suites = (SUITE, f"{SUITE}-updates", f"{SUITE}-security")
    ours = [f"{uri} {suite} {part}" for origin, uri, suite, part in found if origin == "Debian" and suite in suites]
    if not any(f" {SUITE} main" in line for line in ours):
        return ""
    return "".join(f"deb [signed-by={DEBIAN_KEYRING}] {line}\n" for line in ours)


def apt_configuration() -> str:
    """Return how the host's apt gets at its sources: proxies, TLS, retries."""
    wanted = re.compile(r"Acquire::(https?|Retries|ForceIPv4|Check-Valid-Until)\b")
    return "".join(f"{line}\n" for line in run("apt-config", "dump").splitlines() if wanted.match(line))


def overlay_files() -> Iterator[tuple[str, bytes]]:
    """Yield path and content of every file that the image has beyond Debian's packages."""
    rootfs = RECIPE / "rootfs"
    for path in sorted(rootfs.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(rootfs)), path.read_bytes()
    for path in sorted(HOST_CA.glob("*.crt")):
        yield str(HOST_CA.relative_to("/") / path.name), path.read_bytes()
    if configuration := apt_configuration():
        yield "etc/apt/apt.conf.d/50host", configuration.encode()


def image_name() -> str:
    """Return the name of the image with its recipe's hash as the tag."""
    recipe = hashlib.sha256(" ".join(PACKAGES).encode() + apt_sources().encode())
    recipe.update((RECIPE / "customize.sh").read_bytes())
    for path, content in overlay_files():
        recipe.update(path.encode() + b"\0" + content)
    return f"{REPOSITORY}:{recipe.hexdigest()[:12]}"


def exists(name: str) -> bool:
    """Tell whether podman holds the image."""
    return attempt(*command("image", "exists", name))


def build(name: str, log_file: Path) -> None:
    """Build the image and drop those of older recipes; raise LocalEC2Error with the log's end when it fails."""
    with tempfile.TemporaryDirectory(prefix="sparkfleet-image-") as scratch, log_file.open("wb") as log:
        overlay, sources = Path(scratch) / "overlay", Path(scratch) / "debian.list"
        for path, content in overlay_files():
            (overlay / path).parent.mkdir(parents=True, exist_ok=True)
            (overlay / path).write_bytes(content)
        sources.write_text(apt_sources(), encoding="utf-8")
        _bootstrap(name, overlay, sources, log)
    if not exists(name):
        end = log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
        raise LocalEC2Error("the node image could not be built, see " + "\n  ".join([str(log_file), *end]))
    for old in podman("image", "list", "--format", "{{.Repository}}:{{.Tag}}", REPOSITORY).split():
        if old != name:
            attempt(*command("image", "rm", old))


def _bootstrap(name: str, overlay: Path, sources: Path, log: object) -> None:
    mmdebstrap = [
        "mmdebstrap",
        "--variant=minbase",
        "--skip=cleanup/apt/lists",
        f"--include={','.join(PACKAGES)}",
        f"--customize-hook={RECIPE / 'customize.sh'}",
        SUITE,
        "-",
        *([str(sources)] if sources.stat().st_size else []),
    ]
    environment = {**os.environ, "SPARKFLEET_OVERLAY": str(overlay)}
    with subprocess.Popen(mmdebstrap, stdout=subprocess.PIPE, stderr=log, env=environment) as tar:  # type: ignore[call-overload]
        imported = subprocess.run(command("import", "-", name), stdin=tar.stdout, stdout=log, stderr=log, check=False)  # type: ignore[call-overload]
    # podman takes a truncated archive for a small one.
    if tar.returncode or imported.returncode:
        attempt(*command("image", "rm", name))


def purge() -> None:
    """Drop all node images."""
    for name in podman("image", "list", "--quiet", REPOSITORY).split():
        attempt(*command("image", "rm", "--force", name))
