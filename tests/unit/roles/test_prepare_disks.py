# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of prepare-disks on files that stand for disks, and a mount that only notes how it is called.

Real disks are those of molecule/storage and tests/integration/test_storage.py.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

MIB = 2**20
SIZE = 32 * MIB
NAME = "nvme-Amazon_EC2_NVMe_Instance_Storage_AWS{}"


@dataclass
class Node:
    """The program, on files below a folder of the test's own."""

    program: ModuleType
    folder: Path
    capsys: pytest.CaptureFixture[str]

    def plug(self, serial: str, size: int = SIZE) -> Path:
        """Add a blank disk; return the file that stands for the device."""
        device = self.folder / f"device-{serial}"
        with device.open("wb") as file:
            file.truncate(size)
        self.link(NAME.format(serial), serial)
        return device

    def link(self, name: str, serial: str) -> None:
        """Give a device another name."""
        (self.folder / "by-id" / name).symlink_to(f"../device-{serial}")

    def mount(self, folder: Path | str) -> None:
        """Have the kernel say that something is mounted; files have no number, as devices do."""
        (self.folder / "mounts").write_text(f"30 1 0:0 / {folder} rw shared:1 - ext4 /dev/x rw\n")

    def boot(self) -> tuple[dict[str, str], list[str]]:
        """Run the hook; return what it prints and the problems that it tells."""
        self.program.boot()
        printed = self.capsys.readouterr()
        problems = self.program.PROBLEMS.read_text().splitlines()
        assert not problems or printed.err.splitlines()[-len(problems) :] == problems
        return dict(line.split("=", 1) for line in printed.out.splitlines()), problems


@pytest.fixture
def node(
    load: Callable[[str], ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Node:
    """A node without disks, where to mount is but to note it: what is mounted is a folder that can be written to."""
    module = load("storage/files/prepare-disks")
    places = {"BY_ID": "by-id", "MNT": "mnt", "SCRATCH": "scratch", "ROOT_SCRATCH": "var/lib/scratch"}
    for name, place in {**places, "PROBLEMS": "run/problems/storage", "MOUNTS": "mounts", "UDEV": "none"}.items():
        monkeypatch.setattr(module, name, tmp_path / place)
    for folder in ("by-id", "mnt", "bin"):
        (tmp_path / folder).mkdir()
    (tmp_path / "mounts").write_text("")
    program(tmp_path, f'echo "$*" >> {tmp_path}/calls')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return Node(module, tmp_path, capsys)


def program(folder: Path, text: str) -> None:
    """Write the mount that is used instead of the real one."""
    path = folder / "bin/mount"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def write(device: Path, offset: int, data: bytes) -> None:
    with device.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def format_ext4(device: Path, label: str) -> None:
    subprocess.run(["mkfs.ext4", "-q", "-L", label, device], check=True)


def label(device: Path) -> str:
    return subprocess.run(["e2label", device], check=True, text=True, stdout=-1).stdout.strip()


def uuid(device: Path) -> list[str]:
    """Return what tells a file system from all others."""
    shown = subprocess.run(["dumpe2fs", "-h", device], check=True, text=True, stdout=-1, stderr=-1).stdout
    return [line for line in shown.splitlines() if "UUID" in line]


def content(device: Path) -> dict[int, bytes]:
    """Return all that a disk holds but for zeros, by offset, in time that depends on that only."""
    found, end = {}, 0
    with device.open("rb") as file:
        while True:
            try:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:
                return found
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            data = os.pread(file.fileno(), end - start, start)
            found |= {start: data} if data.strip(b"\0") else {}


def test_disks_are_numbered_by_id_and_twins_and_partitions_are_none(node: Node) -> None:
    second, first = node.plug("2B"), node.plug("1A")
    for other in (NAME.format("1A_1"), NAME.format("1A-part1"), NAME.format("1A") + "-ns-1", "nvme-nvme.1d0f-4157"):
        node.link(other, "1A")
    node.link("nvme-Amazon_Elastic_Block_Store_vol0123", "2B")
    found = [(one.number, one.id.name, one.device, one.folder.name) for one in node.program.find_disks()]
    assert found == [(1, NAME.format("1A"), first, "disk1"), (2, NAME.format("2B"), second, "disk2")]


def test_a_disk_of_two_names_is_one_disk(node: Node) -> None:
    node.plug("1A")
    node.link(NAME.format("0Z"), "1A")
    assert [one.id.name for one in node.program.find_disks()] == [NAME.format("0Z")]


def test_blank_disks_get_a_file_system_of_ours_and_are_mounted(node: Node) -> None:
    devices = [node.plug("1A"), node.plug("2B", 2 * SIZE)]
    printed, problems = node.boot()
    assert problems == []
    assert [label(device) for device in devices] == ["sparkfleet"] * 2
    mnt = node.folder / "mnt"
    assert printed["SPARKFLEET_DISKS"] == f"{mnt}/disk1,{mnt}/disk2"
    options = "-t ext4 -o noatime,nodev,nosuid,errors=remount-ro"
    calls = sorted((node.folder / "calls").read_text().splitlines())
    assert calls == [f"{options} {device} {mnt}/disk{number}" for number, device in enumerate(devices, 1)]
    # The largest, for everybody.
    assert (node.folder / "scratch").readlink() == mnt / "disk2/scratch"
    assert [(mnt / f"disk{number}/scratch").stat().st_mode & 0o7777 for number in (1, 2)] == [0o1777] * 2
    assert node.program.PROBLEMS.stat().st_mode & 0o777 == 0o644


def test_a_file_system_of_ours_is_mounted_as_it_is(node: Node) -> None:
    device = node.plug("1A")
    node.boot()
    (node.folder / "mnt/disk1/scratch").rmdir()  # nothing was really mounted
    (before,) = uuid(device)
    assert node.boot()[1] == []
    assert uuid(device) == [before]
    assert len((node.folder / "calls").read_text().splitlines()) == 2


def test_a_disk_that_is_mounted_already_is_left_so(node: Node) -> None:
    format_ext4(node.plug("1A"), "sparkfleet")
    (node.folder / "mnt/disk1").mkdir()
    node.mount(node.folder / "mnt/disk1")
    printed, problems = node.boot()
    assert (printed["SPARKFLEET_DISKS"], problems) == (str(node.folder / "mnt/disk1"), [])
    assert not (node.folder / "calls").exists()


def foreign_file_system(device: Path) -> None:
    format_ext4(device, "mine")


def partition_table(device: Path) -> None:
    entry = bytes([0x80, 0, 2, 0, 0x83, 0, 0, 0]) + (2048).to_bytes(4, "little") + (4096).to_bytes(4, "little")
    write(device, 446, entry)
    write(device, 510, b"\x55\xaa")


def swap(device: Path) -> None:
    subprocess.run(["mkswap", "-q", device], check=True, stderr=subprocess.DEVNULL)


def ours_with_something_else(device: Path) -> None:
    format_ext4(device, "sparkfleet")
    write(device, 510, b"\x55\xaa")
    partition_table(device)


def label_of_ours_on_swap(device: Path) -> None:
    subprocess.run(["mkswap", "-q", "-L", "sparkfleet", device], check=True, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (foreign_file_system, "(ext4 'mine')"),
        (partition_table, "(dos)"),
        (swap, "(swap)"),
        (ours_with_something_else, "ext4 'sparkfleet'"),
        (label_of_ours_on_swap, "(swap 'sparkfleet')"),
        (lambda device: write(device, 0, b"x"), "(data of no known kind at byte 0)"),
    ],
)
def test_what_we_did_not_make_is_left_alone_and_told(node: Node, spoil: Callable[[Path], None], told: str) -> None:
    device, other = node.plug("1A"), node.plug("2B")
    spoil(device)
    before = content(device)
    printed, (problem,) = node.boot()
    assert content(device) == before
    assert told in problem
    name = f"{node.folder}/by-id/{NAME.format('1A')}"
    assert problem.startswith(f"{name} (0 GB) holds something that this cluster did not make")
    assert f"sudo /usr/local/lib/sparkfleet/prepare-disks --erase {name} && sudo systemctl restart" in problem
    # The other one is used, under its own number.
    assert label(other) == "sparkfleet"
    assert printed["SPARKFLEET_DISKS"] == f"{node.folder}/mnt/disk2"
    assert (node.folder / "scratch").readlink() == node.folder / "mnt/disk2/scratch"


@pytest.mark.parametrize("offset", [0, 130 * MIB + 7, 192 * MIB + 7, 256 * MIB - 1])
def test_a_single_byte_of_data_is_found_at_the_beginning_in_samples_and_at_the_end(node: Node, offset: int) -> None:
    device = node.plug("1A", 256 * MIB)
    assert node.program.first_data(node.program.find_disks()[0]) is None
    write(device, offset, b"x")
    assert node.program.first_data(node.program.find_disks()[0]) == offset


def test_our_file_system_without_its_first_blocks_is_not_blank(node: Node) -> None:
    device = node.plug("1A", 256 * MIB)
    format_ext4(device, "sparkfleet")
    write(device, 0, bytes(32 * MIB))
    _printed, (problem,) = node.boot()
    assert "data of no known kind" in problem


def test_a_damaged_file_system_of_ours_is_repaired(node: Node) -> None:
    device = node.plug("1A")
    format_ext4(device, "sparkfleet")
    debugfs(device, "set_super_value free_blocks_count 5", "set_super_value state 2")
    assert node.boot()[1] == []
    assert subprocess.run(["e2fsck", "-fn", device], stdout=-1, stderr=-1, check=False).returncode == 0


def test_a_file_system_of_ours_that_is_beyond_repair_is_left_alone_and_told(node: Node) -> None:
    device = node.plug("1A")
    format_ext4(device, "sparkfleet")
    debugfs(device, "set_inode_field <2> mode 0100644", "set_super_value state 2")
    printed, (problem,) = node.boot()
    assert "holds a file system of this cluster's that is damaged, and e2fsck -p could not repair it" in problem
    assert f"Try: sudo e2fsck {node.folder}/by-id/" in problem
    assert "--erase" in problem
    assert printed["SPARKFLEET_DISKS"] == ""
    assert not (node.folder / "calls").exists()


def debugfs(device: Path, *requests: str) -> None:
    """Change a file system behind its back."""
    done = subprocess.run(
        ["debugfs", "-w", "-f", "-", device], input="\n".join(requests), text=True, stdout=-1, check=True
    )
    assert "set_" in done.stdout


def holds_files(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis").touch()


@pytest.mark.parametrize(
    ("occupy", "told"),
    [
        (holds_files, "disk1 holds files, which that would hide. Move them away, then sudo systemctl restart"),
        (Path.touch, "disk1 is no folder. Move it away, then"),
        (lambda folder: folder.symlink_to("/tmp"), "disk1 is no folder. Move it away, then"),
    ],
)
def test_a_mount_hides_nothing_and_the_disk_is_not_touched(
    node: Node, occupy: Callable[[Path], None], told: str
) -> None:
    device = node.plug("1A")
    occupy(node.folder / "mnt/disk1")
    before = content(device)
    printed, (problem,) = node.boot()
    assert told in problem
    assert (content(device), printed["SPARKFLEET_DISKS"]) == (before, "")


def test_a_disk_of_ours_that_is_mounted_elsewhere_is_not_ours_to_use(node: Node) -> None:
    format_ext4(node.plug("1A"), "sparkfleet")
    node.mount("/data")
    _printed, (problem,) = node.boot()
    assert f"is mounted at /data, not at {node.folder}/mnt/disk1. Unmount it, then sudo systemctl restart" in problem


def test_a_command_that_fails_costs_its_disk_only(node: Node) -> None:
    node.plug("1A")
    node.plug("2B")
    fails = 'case "$*" in *device-1A*) echo one >&2; echo "mount: bad sector" >&2; exit 32 ;; esac'
    program(node.folder, fails)
    printed, (problem,) = node.boot()
    assert problem.endswith(f"{NAME.format('1A')} (0 GB) cannot be used: mount failed: mount: bad sector")
    assert printed["SPARKFLEET_DISKS"] == f"{node.folder}/mnt/disk2"


def test_a_command_that_hangs_costs_its_disk_only(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.plug("1A")
    monkeypatch.setattr(node.program, "PATIENCE", 0.5)
    program(node.folder, "exec sleep 60\n")
    printed, (problem,) = node.boot()
    assert problem.endswith("cannot be used: mount has not ended after 0.5 s")
    assert printed["SPARKFLEET_DISKS"] == ""


def test_a_disk_that_cannot_be_written_to_costs_nothing_else(node: Node) -> None:
    node.plug("1A")
    program(node.folder, 'for last; do :; done\nrmdir "$last"; ln -s /proc/self "$last"\n')
    printed, (problem,) = node.boot()
    assert "cannot be used: [Errno" in problem
    assert printed["SPARKFLEET_DISKS"] == ""


def test_without_disks_scratch_is_on_the_root_volume(node: Node) -> None:
    printed, problems = node.boot()
    assert printed == {"SPARKFLEET_DISKS": "", "SPARKFLEET_SCRATCH": str(node.folder / "scratch")}
    assert problems == []
    assert (node.folder / "scratch").readlink() == node.folder / "var/lib/scratch"
    assert (node.folder / "scratch").stat().st_mode & 0o7777 == 0o1777


def test_what_scratch_held_before_the_first_disk_is_not_lost(node: Node) -> None:
    node.boot()
    (node.folder / "scratch/old").write_text("kept")
    node.plug("1A")
    node.program.boot()
    assert f"what it held before is in {node.folder}/var/lib/scratch" in node.capsys.readouterr().err
    assert (node.folder / "scratch").readlink() == node.folder / "mnt/disk1/scratch"
    assert (node.folder / "var/lib/scratch/old").read_text() == "kept"


def test_an_empty_scratch_folder_gives_way(node: Node) -> None:
    (node.folder / "scratch").mkdir()
    assert node.program.provide_scratch([]) == (node.folder / "scratch", None)
    assert (node.folder / "scratch").is_symlink()


@pytest.mark.parametrize(
    ("occupy", "told"),
    [
        (holds_files, "scratch was there before and is in use (Directory not empty), so scratch space is in"),
        (Path.touch, "scratch was there before and is in use (Not a directory), so scratch space is in"),
        (lambda path: path.symlink_to("/nfs/x"), "scratch is somebody else's link to /nfs/x, so scratch space is in"),
    ],
)
def test_somebody_elses_scratch_stays(node: Node, occupy: Callable[[Path], None], told: str) -> None:
    occupy(node.folder / "scratch")
    home, problem = node.program.provide_scratch([])
    assert home == node.folder / "var/lib/scratch"
    assert told in problem
    assert (node.folder / "scratch/thesis").exists() or not (node.folder / "scratch").is_dir()


def test_equal_disks_give_scratch_to_the_first(node: Node) -> None:
    for serial in "312":
        node.plug(serial)
    node.boot()
    assert (node.folder / "scratch").readlink() == node.folder / "mnt/disk1/scratch"


@pytest.mark.parametrize("size", [MIB, 8 * MIB, 200 * MIB + 512, 118 * 10**9, 14 * 10**12])
def test_samples_lie_within_the_disk_and_reach_its_end(node: Node, size: int) -> None:
    places = list(node.program.places(size))
    assert places[0][0] == 0
    assert max(start + length for start, length in places) == size
    assert all(start % 512 == 0 and 0 < length <= size - start for start, length in places)
    assert sum(length for _start, length in places) < 300 * MIB


def test_erase_takes_only_instance_store_disks(node: Node) -> None:
    device = node.plug("1A")
    with pytest.raises(node.program.RefusedError, match=r"/dev/null is no instance-store disk of this node; .*1A"):
        node.program.erase(Path("/dev/null"))
    node.mount("/data")
    with pytest.raises(node.program.RefusedError, match="is mounted; first: sudo umount /data"):
        node.program.erase(device)


def test_only_root_may(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node.program.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(node.program.sys, "argv", ["prepare-disks"])
    with pytest.raises(SystemExit, match="only root may do that; use sudo"):
        node.program.main()
