"""What nodes of local EC2 cannot show, for want of a kernel of their own: HDFS mounted by NFS, disks by NVMe and udev.

A virtual machine with Debian's kernel joins a cluster as a worker would that was started from an image: with the very
files that the roles have written on the master, which are the same on all nodes, and a node.env of its own.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

import pytest
from cluster_user import local_ec2_at
from place import place
from spark_cluster import SparkCluster, until
from vm import Machine, machine

PLACE = place(6, "kernel")
# Beside all subnets of the VPC's zones.
ADDRESS = IPv4Interface(f"{PLACE.vpc[-2]}/{PLACE.vpc.prefixlen}")
LAUNCH = ("site.yml", "-e", "cluster=kernel", "-e", "workers=0", "-e", "components=storage,java,hdfs,nfs_gateway")
# All that such a node has of storage and nfs_gateway, and what both stand on.
FILES = """
    etc/systemd/system/hdfs-nfs-mount.service
    etc/systemd/system/multi-user.target.wants/sparkfleet-node.service
    etc/systemd/system/sparkfleet-master.target
    etc/systemd/system/sparkfleet-node.service
    etc/systemd/system/sparkfleet-worker.target
    etc/systemd/system/sparkfleet-worker.target.wants/hdfs-nfs-mount.service
    usr/local/lib/sparkfleet/boot.d/10-storage
    usr/local/lib/sparkfleet/boot.d/30-nfs-gateway
    usr/local/lib/sparkfleet/hdfs-nfs-mount
    usr/local/lib/sparkfleet/node-boot
    usr/local/lib/sparkfleet/prepare-disks
    usr/local/lib/sparkfleet/validate-disks
    usr/local/lib/sparkfleet/wait-port
"""
NFS_PORTS = (2049, 4242)
MIB = 2**20
BY_ID = "/dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_"
BLANK = {"AWS1A0F0C5D0B1E4A6E2": 1024 * MIB, "AWS3C0F0C5D0B1E4A6E2": 1536 * MIB}
THEIRS, PARTED = "AWS2B0F0C5D0B1E4A6E2", "AWS4D0F0C5D0B1E4A6E2"
WROTE = 200_000_000
HOME = "/hdfs_nfs/user/admin"
MOUNTED = "findmnt --noheadings --output OPTIONS --types nfs --mountpoint /hdfs_nfs"
LIFE = "systemctl show --property=InvocationID --value nfs-gateway"


def digest(file: Path) -> str:
    """Return the checksum of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@dataclass
class Node:
    """The machine, the cluster that it joins, and the files that are its disks."""

    vm: Machine
    cluster: SparkCluster
    disks: dict[str, Path]

    def admin(self, command: str) -> str:
        """Run a command in the machine as the login user of nodes."""
        return self.vm.ssh(f"runuser -u admin -- bash -eo pipefail -c {shlex.quote(command)}")

    def hdfs(self, command: str) -> str:
        """Run a command on the master as the same user."""
        return self.cluster.ssh("master", command)

    def scratch(self) -> list[str]:
        """Return what is mounted of scratch disks: where, size, UUID and options."""
        find = "findmnt --noheadings --list --output TARGET,SIZE,UUID,OPTIONS --types ext4 | grep ^/mnt/ | sort"
        return self.vm.ssh(find).splitlines()

    def join(self) -> None:
        """Have the machine join the cluster, as an instance does that was started from an image."""
        master = self.cluster.instances()["master"]["PrivateIpAddress"]
        env = f"SPARKFLEET_CLUSTER=kernel\nSPARKFLEET_ROLE=worker\nSPARKFLEET_MASTER={master}\n"
        self.vm.ssh("mkdir -p /etc/sparkfleet && cat > /etc/sparkfleet/node.env", env.encode())
        self.vm.ssh("systemctl daemon-reload && systemctl start sparkfleet-node")

    def let_in(self) -> None:
        """Open the gateway's ports to the machine, which is no member of the cluster's security group."""
        (group,) = self.cluster.instances()["master"]["SecurityGroups"]
        rules = [
            {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": f"{ADDRESS.ip}/32"}]}
            for port in NFS_PORTS
        ]
        ec2 = self.cluster.user.client("ec2")
        ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=rules)


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Make four disks: two blank ones, a file system of somebody's, and a disk with a partition."""
    folder = tmp_path_factory.mktemp("disks")
    files = {serial: folder / serial for serial in sorted([*BLANK, THEIRS, PARTED])}
    for serial, file in files.items():
        with file.open("wb") as content:
            content.truncate(BLANK.get(serial, 256 * MIB))
    subprocess.run(["mkfs.ext4", "-q", "-F", "-L", "theirs", files[THEIRS]], check=True)
    with files[PARTED].open("r+b") as content:
        # One partition of Linux, from 1 MiB on.
        entry = bytes([0, 0, 2, 0, 0x83, 0, 0, 0]) + (2048).to_bytes(4, "little") + (300_000).to_bytes(4, "little")
        content.seek(446)
        content.write(entry)
        content.seek(510)
        content.write(b"\x55\xaa")
    return files


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, disks: dict[str, Path]) -> Iterator[Node]:
    """Launch a master, while the machine boots."""
    folder = tmp_path_factory.mktemp("kernel")
    with local_ec2_at(PLACE, folder / "home") as user:
        cluster = SparkCluster(user, "kernel", folder)
        with machine(f"sf-{PLACE.name}", ADDRESS, list(disks.items()), folder) as vm:
            user.play(*LAUNCH)
            vm.wait()
            files = cluster.ssh("master", f"sudo tar --create --directory / {' '.join(FILES.split())} | base64")
            vm.ssh("tar --extract --directory /", base64.b64decode(files))
            yield Node(vm, cluster, disks)


def test_disks_have_the_names_of_ec2(node: Node) -> None:
    """What the other tests stand on: four disks by id, none of them the root volume's, and one with a partition."""
    links = node.vm.ssh(f"ls -d {BY_ID}*").split()
    disks = {f"{BY_ID}{serial}{end}" for serial in node.disks for end in ("", "_1")}
    assert set(links) == {*disks, f"{BY_ID}{PARTED}-part1"}


def test_boot_prepares_what_is_blank_and_leaves_the_rest_alone(node: Node) -> None:
    """Each disk of somebody else's is named, with what is on it, and keeps every byte; the others are mounted."""
    before = {serial: digest(node.disks[serial]) for serial in (THEIRS, PARTED)}
    node.join()
    first, second = node.scratch()
    assert re.match(r"/mnt/disk1 +9\d\d.*M .*noatime", first), first
    assert re.match(r"/mnt/disk3 +1\.\d+G .*noatime", second), second
    problems = node.vm.ssh("cat /run/sparkfleet/problems/storage").splitlines()
    alone = "holds something that this cluster did not make"
    assert len(problems) == 2
    assert problems[0].startswith(f"{BY_ID}{THEIRS} (0 GB) {alone} (ext4 'theirs') and is left alone")
    assert problems[1].startswith(f"{BY_ID}{PARTED} (0 GB) {alone} (dos) and is left alone")
    assert node.vm.ssh("df --output=target /scratch/").split()[-1] == "/mnt/disk3"
    node.admin("echo mine > /scratch/mine")
    node.vm.ssh("sync")
    assert {serial: digest(node.disks[serial]) for serial in before} == before


def test_security_group_decides_who_reaches_the_gateway(node: Node) -> None:
    """The machine is not a member, so it waits, in a directory where nobody can write; let in, it mounts by itself."""
    assert node.vm.attempt("timeout 3 /usr/local/lib/sparkfleet/wait-port sparkfleet-master 2049 1") == ""
    assert node.vm.ssh("stat --format=%a /hdfs_nfs").strip() == "700"
    node.let_in()
    until(lambda: node.vm.attempt(MOUNTED), 120)
    options = node.vm.ssh(MOUNTED)
    assert all(f",{option}," in f",{options.strip()}," for option in ("vers=3", "hard", "sync", "proto=tcp")), options


def test_what_the_machine_writes_hdfs_has(node: Node) -> None:
    """200 MB, which are two blocks; its owner is the user with the same number."""
    make = (
        f"head -c {WROTE} /dev/urandom > /scratch/large; cp /scratch/large {HOME}/written; sha256sum < /scratch/large"
    )
    wrote = node.admin(make)
    assert node.hdfs("hdfs dfs -cat written | sha256sum") == wrote
    assert node.hdfs("hdfs dfs -stat '%u %b %o' written") == f"admin {WROTE} 134217728\n"


def test_what_hdfs_has_the_machine_reads(node: Node) -> None:
    """Written by HDFS's own client."""
    wrote = node.hdfs(f"head -c {WROTE} /dev/urandom | tee >(hdfs dfs -put - put) | sha256sum")
    # What the kernel knows of a directory may be a minute old.
    until(lambda: node.vm.attempt(f"runuser -u admin -- ls {HOME}/put"), 90)
    assert node.admin(f"cat {HOME}/put | sha256sum") == wrote


def test_reading_goes_on_though_the_gateway_is_killed(node: Node) -> None:
    """A program in the midst of a file waits and then gets the rest of it, as does one that comes later."""
    wanted, was = node.hdfs("hdfs dfs -cat put | sha256sum"), node.hdfs(LIFE)
    node.vm.ssh("echo 3 > /proc/sys/vm/drop_caches; rm -f /tmp/begun")
    # In parts, of which some are read while the gateway is away.
    parts = f"for part in {{1..40}}; do head -c {WROTE // 40}; touch /tmp/begun; sleep 0.2; done"
    command = node.vm.shell(f"runuser -u admin -- bash -c '({parts}) < {HOME}/put | sha256sum'")
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as reader:
        until(lambda: reader.poll() is not None or node.vm.attempt("stat /tmp/begun"))
        node.hdfs("sudo systemctl kill --kill-whom=main --signal=KILL nfs-gateway")
        assert reader.poll() is None
        assert reader.communicate(timeout=300) == (wanted, None)
    assert node.hdfs(LIFE) not in {was, "\n"}
    node.vm.ssh("echo 3 > /proc/sys/vm/drop_caches")
    assert node.admin(f"cat {HOME}/put | sha256sum") == wanted


def test_reboot_without_the_gateway(node: Node) -> None:
    """Neither shutdown nor boot waits for it. What was on the disks is there, and HDFS as soon as the gateway is."""
    disks, problems = node.scratch(), node.vm.ssh("cat /run/sparkfleet/problems/storage")
    before = {serial: digest(node.disks[serial]) for serial in (THEIRS, PARTED)}
    node.hdfs("sudo systemctl stop nfs-gateway")
    node.vm.reboot()
    until(lambda: node.vm.attempt("systemctl is-active sparkfleet-node"), 60)
    assert node.scratch() == disks
    assert node.vm.ssh("cat /run/sparkfleet/problems/storage") == problems
    assert node.admin("cat /scratch/mine") == "mine\n"
    assert {serial: digest(node.disks[serial]) for serial in before} == before
    assert not node.vm.attempt(MOUNTED)
    node.hdfs("sudo systemctl start nfs-gateway")
    until(lambda: node.vm.attempt(MOUNTED), 60)
    assert node.admin(f"stat --format=%s {HOME}/put").split() == [str(WROTE)]
