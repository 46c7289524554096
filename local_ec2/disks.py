# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks of nodes: sparse files of the host behind loop devices, called in the node what NVMe disks are called on EC2.

A node has neither udev nor CAP_MKNOD. What it finds in /dev is put there from the host, before its init runs or when a
volume is attached.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from local_ec2.run import CommandError, attempt, run
from local_ec2.settings import LocalEC2Error

EBS = "Amazon Elastic Block Store"
INSTANCE_STORE = "Amazon EC2 NVMe Instance Storage"
LOOPS = Path("/sys/block")
# Debian's group `disk`.
DISK_GROUP = 6
DISCONNECT_SECONDS = 10


@dataclass(frozen=True)
class Disk:
    """What a node sees as an NVMe disk. The file is made when it is first connected."""

    model: str
    serial: str
    size: int
    file: Path

    @property
    def links(self) -> tuple[str, str, str]:
        """What udev of Debian 12 calls the disk in /dev/disk/by-id (60-persistent-storage.rules)."""
        name = f"nvme-{self.model.replace(' ', '_')}_{self.serial}"
        worldwide = f"nvme.1d0f-{self.serial.encode().hex()}-{self.model.encode().hex()}-00000001"
        return name, f"{name}_1", f"nvme-{worldwide}"


def blank_store(folder: Path, size: int) -> Disk:
    """Return an instance-store disk that nobody has had before: a stop gives up the hardware."""
    serial = f"AWS{secrets.token_hex(9)[1:].upper()}"
    return Disk(INSTANCE_STORE, serial, size, folder / serial)


class NodeDisks:
    """The disks of one node. Its root volume, nvme0, has no device: that is the container's file system."""

    def __init__(self, folder: Path, store_sizes: Sequence[int], volumes: Iterable[Disk] = ()) -> None:
        """Note what the instance type has and what is attached at launch; nothing is made yet."""
        self._folder = folder
        self._store_sizes = store_sizes
        self._volumes = list(volumes)
        self._store: list[Disk] = []
        self._loops: dict[Disk, Path] = {}

    def connect(self) -> None:
        """Connect all disks; after a reboot they are connected already."""
        self._store = self._store or [blank_store(self._folder, size) for size in self._store_sizes]
        for disk in (*self._store, *self._volumes):
            if disk not in self._loops:
                self._loops[disk] = connect(disk)

    def show(self, dev: Path) -> None:
        """Put all disks into a node's new /dev."""
        for disk, loop in self._loops.items():
            show(dev, disk, loop)

    def disconnect(self) -> None:
        """Disconnect all disks of a node that has ended; the data of instance store is lost."""
        for disk, loop in self._loops.items():
            disconnect(disk, loop)
        self._loops = {}
        for disk in self._store:
            disk.file.unlink(missing_ok=True)
        self._store = []

    def add(self, volume: Disk, dev: Path | None) -> None:
        """Attach a volume; ``dev`` is the node's /dev if it runs."""
        if dev:
            self._loops[volume] = connect(volume)
            # A node that has just ended shows it at its next start.
            with suppress(FileNotFoundError):
                show(dev, volume, self._loops[volume])
        self._volumes.append(volume)

    def remove(self, volume: Disk, dev: Path | None) -> bool:
        """Detach a volume, unless a file system of the node is on it; tell which."""
        if loop := self._loops.get(volume):
            if in_use(loop):
                return False
            if dev:
                hide(dev, loop)
            disconnect(volume, loop)
            del self._loops[volume]
        self._volumes.remove(volume)
        return True


def connect(disk: Disk) -> Path:
    """Return the loop device that the disk is connected to now."""
    disk.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with disk.file.open("ab") as file:
            file.truncate(disk.size)
    except OSError as error:
        raise LocalEC2Error(f"no disk of {disk.size} bytes: {disk.file.parent} refuses the file ({error})") from error
    try:
        return Path(run("losetup", "--find", "--show", str(disk.file)).strip())
    except CommandError as error:
        raise LocalEC2Error(f"no disk, for want of a loop device (try `modprobe loop`): {error}") from error


def disconnect(disk: Disk, loop: Path) -> None:
    """Give the loop device back; a file system that is still on it goes first, as it does soon after its node."""
    run("losetup", "--detach", str(loop))
    deadline = time.monotonic() + DISCONNECT_SECONDS
    while (loop, disk.file) in connected(disk.file.parent):
        if time.monotonic() > deadline:
            raise LocalEC2Error(f"{loop} is still in use after {DISCONNECT_SECONDS} s")
        time.sleep(0.02)


def connected(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each loop device that a file of the folder is connected to, with the file."""
    for entry in LOOPS.glob("loop*/loop/backing_file"):
        # It may be disconnected while we look.
        with suppress(OSError):
            file = Path(entry.read_text(encoding="utf-8").strip().removesuffix(" (deleted)"))
            if file.parent == folder:
                yield Path("/dev") / entry.parts[-3], file


def show(dev: Path, disk: Disk, loop: Path) -> None:
    """Make the device of a disk in a node's /dev, under the first free number as the kernel does, and its links."""
    device = next(path for path in (dev / f"nvme{number}n1" for number in count(1)) if not path.exists())
    os.mknod(device, stat.S_IFBLK, loop.stat().st_rdev)
    os.chown(device, 0, DISK_GROUP)
    device.chmod(0o660)
    by_id = dev / "disk" / "by-id"
    by_id.mkdir(parents=True, exist_ok=True)
    for link in disk.links:
        (by_id / link).symlink_to(f"../../{device.name}")


def hide(dev: Path, loop: Path) -> None:
    """Take a disk out of a node's /dev."""
    for device in dev.glob("nvme*n1"):
        if device.stat().st_rdev == loop.stat().st_rdev:
            device.unlink()
            for link in (dev / "disk" / "by-id").glob("*"):
                if link.readlink().name == device.name:
                    link.unlink()


def in_use(loop: Path) -> bool:
    """Tell whether a device is mounted, or claimed in another way, by anybody."""
    try:
        os.close(os.open(loop, os.O_RDONLY | os.O_EXCL))
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return True
    return False


def copy(source: Path, target: Path) -> None:
    """Copy a disk's data; holes stay holes."""
    run("cp", "--sparse=always", "--reflink=auto", str(source), str(target))


def remove_all(folder: Path) -> None:
    """Disconnect and remove all disks in the folder, whoever made them; their nodes are gone."""
    for loop, _file in connected(folder):
        attempt("losetup", "--detach", str(loop))
    shutil.rmtree(folder, ignore_errors=True)
