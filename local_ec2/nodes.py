# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes: podman containers with the life of an EC2 instance.

A stop, a reboot and a terminate are signals to the node's init; what happens next follows from its end, whoever asked
for it. So ``poweroff`` in a node and StopInstances take the same way.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import selectors
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Protocol

from local_ec2 import network
from local_ec2.disks import Disk, NodeDisks
from local_ec2.firewall import Firewalls
from local_ec2.podman import limit_options, podman, remove
from local_ec2.run import CommandError, attempt
from local_ec2.seed import write_seed
from local_ec2.settings import LocalEC2Error, Settings

log = logging.getLogger(__name__)

# systemd's signals for poweroff.target and reboot.target.
POWEROFF = signal.SIGRTMIN + 4
REBOOT = signal.SIGRTMIN + 5
# What a container ends with when its init called reboot(2) to restart (128 + SIGHUP).
REBOOTED = 129
INIT_SECONDS = 30
# A boot that ends in a kernel which no longer takes anything: signals are caught, and nothing follows.
PANIC = r"""trap : 38 39
printf '%s\n' '[    0.000000] Linux version 6.1.0-40-cloud-amd64 (debian-kernel@lists.debian.org)' \
    '[    1.873512] VFS: Cannot open root device "UUID=" or unknown-block(0,0): error -6' \
    '[    1.874911] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)' \
    '[    1.876020] CPU: 0 PID: 1 Comm: swapper/0 Not tainted 6.1.0-40-cloud-amd64 #1' \
    '[    1.877308] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0) ]---'
while :; do sleep 3600; done"""
# EC2 too pulls the plug of an operating system that does not shut down.
STOP_SECONDS = 60
CONSOLE_BYTES = 64 * 1024


class BootFault(Enum):
    """What goes wrong with a node, at each boot, because somebody wants to see what happens then."""

    NO_SSH = "no-ssh"
    DIES = "dies-at-boot"
    PANICS = "panics"


@dataclass(frozen=True)
class NodeSpec:
    """What a node is made of; fixed for its life."""

    instance_id: str
    image: str
    hostname: str
    private_ip: str
    memory_mib: int
    vcpus: int
    store_sizes: Sequence[int]
    public_keys: Sequence[str]
    user_data: bytes
    fault: BootFault | None = None


class Listener(Protocol):
    """The API's side of a node. Called from worker threads."""

    def firewall(self) -> str:
        """Return the ruleset that the node is to have now."""

    def node_running(self) -> None:
        """Init is up."""

    def node_stopped(self, *, asked: bool) -> None:
        """Init has ended; ``asked`` by StopInstances, else by the node itself."""

    def node_gone(self) -> None:
        """Container, addresses and files are away."""

    def node_failed(self, reason: str) -> None:
        """The node could not be started."""


class Intent(Enum):
    """What the API wants of a node."""

    RUN = "run"
    STOP = "stop"
    TERMINATE = "terminate"


@dataclass(frozen=True)
class Commit:
    """An image to be made of a node; ``made`` is told what went wrong, if anything, while the node rests."""

    image: str
    made: Callable[[str | None], None]


class Node:
    """One instance's container. ``lock`` is held while podman works on it."""

    def __init__(self, spec: NodeSpec, listener: Listener, disks: NodeDisks) -> None:
        """Note the node; nothing runs yet."""
        self.spec = spec
        self.listener = listener
        self.disks = disks
        self.public_ip: str | None = None
        self.intent = Intent.RUN
        self.boots = 0
        self.commits: queue.SimpleQueue[Commit] = queue.SimpleQueue()
        self.lock = threading.Lock()
        self._pidfd: int | None = None
        self._pidfd_lock = threading.Lock()

    def adopt(self, pid: int) -> int:
        """Note the process that is the node's init now, return a descriptor that becomes readable when it ends."""
        with self._pidfd_lock:
            self._pidfd = os.pidfd_open(pid)
            self.boots += 1
            return self._pidfd

    @property
    def alive(self) -> bool:
        """Whether init has been adopted and has not ended."""
        return self._pidfd is not None

    def send(self, number: int) -> None:
        """Send init a signal; one that has ended needs none."""
        with self._pidfd_lock:
            if self._pidfd is not None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, number)

    def drop(self) -> None:
        """Forget an init that has ended."""
        with self._pidfd_lock:
            if self._pidfd is not None:
                os.close(self._pidfd)
            self._pidfd = None


class Nodes:
    """All nodes of one local EC2."""

    def __init__(self, settings: Settings, metadata_port: int, workers: int = 4) -> None:
        """Start the worker threads and the one that watches for ends of init."""
        self._settings = settings
        self._metadata_port = metadata_port
        self.firewalls = Firewalls(partial(network.load_rules, settings))
        self._nodes: dict[str, Node] = {}
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="node")
        self._selector = selectors.DefaultSelector()
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def launch(self, spec: NodeSpec, public_ip: str | None, listener: Listener, volumes: Iterable[Disk] = ()) -> None:
        """Make a node and start it, in the background."""
        disks = NodeDisks(self._settings.disks_dir, spec.store_sizes, volumes)
        node = self._nodes[spec.instance_id] = Node(spec, listener, disks)
        node.public_ip = public_ip
        self._submit(self._boot, node)

    def start(self, instance_id: str, public_ip: str | None) -> None:
        """Start a stopped node, in the background."""
        node = self._nodes[instance_id]
        node.intent = Intent.RUN
        node.public_ip = public_ip
        self._submit(self._boot, node)

    def stop(self, instance_id: str) -> None:
        """Shut a running node down; after STOP_SECONDS the plug is pulled."""
        node = self._nodes[instance_id]
        node.intent = Intent.STOP
        node.send(POWEROFF)
        timer = threading.Timer(STOP_SECONDS, self._pull_plug, (node, node.boots))
        timer.daemon = True
        timer.start()

    def reboot(self, instance_id: str) -> None:
        """Have a running node reboot."""
        self._nodes[instance_id].send(REBOOT)

    def terminate(self, instance_id: str) -> None:
        """Pull the plug and remove the node, in the background."""
        node = self._nodes[instance_id]
        node.intent = Intent.TERMINATE
        node.send(signal.SIGKILL)
        self._submit(self._remove, node)

    def commit(self, instance_id: str, image: str, *, reboot: bool, made: Callable[[str | None], None]) -> None:
        """Make an image of a node, in the background; one that runs is rebooted for it, or else frozen."""
        node = self._nodes[instance_id]
        node.commits.put(Commit(image, made))
        if reboot and node.alive:
            node.send(REBOOT)
        else:
            self._submit(self._commit, node)

    def attach(self, instance_id: str, volume: Disk) -> None:
        """Attach a volume; a running node has it in its /dev then."""
        node = self._nodes[instance_id]
        with node.lock:
            node.disks.add(volume, self._dev(node) if node.alive else None)

    def detach(self, instance_id: str, volume: Disk) -> bool:
        """Detach a volume, unless a file system of the node is on it; tell which."""
        node = self._nodes[instance_id]
        with node.lock:
            return node.disks.remove(volume, self._dev(node) if node.alive else None)

    def console(self, instance_id: str) -> str:
        """Return the last 64 KiB that the node wrote to its console, also of a terminated one."""
        return read_console(self._settings.node_dir(instance_id) / "console.log")

    def _pull_plug(self, node: Node, boots: int) -> None:
        """End a shutdown that takes too long; a node that has been started again meanwhile is left alone."""
        if node.boots == boots:
            node.send(signal.SIGKILL)

    def _submit(self, job: Callable[..., None], node: Node, *args: object) -> None:
        def logged() -> None:
            try:
                with node.lock:
                    job(node, *args)
            except Exception:
                log.exception("%s: %s", node.spec.instance_id, job.__name__)

        self._pool.submit(logged)

    def _boot(self, node: Node) -> None:
        if node.intent is Intent.TERMINATE:
            return
        container = self._settings.container(node.spec.instance_id)
        try:
            network.attach(self._settings, node.spec.instance_id, node.spec.private_ip, node.public_ip)
            network.redirect_metadata(self._settings, node.spec.instance_id, self._metadata_port)
            self.firewalls.raise_for(node.spec.instance_id, node.listener.firewall)
            if node.spec.fault is BootFault.DIES:
                raise LocalEC2Error("a fault that was asked for")
            if node.spec.fault is BootFault.NO_SSH:
                network.drop_ssh(self._settings, node.spec.instance_id)
            node.disks.connect()
            if not node.boots:
                self._create(node)
            # There is a process now, with its /dev, but it is not init yet.
            podman("init", container)
            node.disks.show(self._dev(node))
            open_fuse(self._dev(node))
            podman("start", container)
            self._adopt(node)
        except Exception as error:
            log.exception("%s does not start", node.spec.instance_id)
            self._release(node)
            node.listener.node_failed(str(error))
        else:
            node.listener.node_running()

    def _create(self, node: Node) -> None:
        spec, folder = node.spec, self._settings.node_dir(node.spec.instance_id)
        write_seed(folder / "seed", spec.instance_id, spec.hostname, spec.public_keys, spec.user_data)
        podman("create", *container_options(self._settings, spec, folder), spec.image, *init(spec.fault))

    def _pid(self, node: Node) -> int:
        return int((self._settings.node_dir(node.spec.instance_id) / "pid").read_text(encoding="ascii"))

    def _dev(self, node: Node) -> Path:
        return Path("/proc") / str(self._pid(node)) / "root/dev"

    def _adopt(self, node: Node) -> None:
        """Wait until init takes signals and watch for its end."""
        pid = self._pid(node)
        self._selector.register(node.adopt(pid), selectors.EVENT_READ, node)
        deadline = time.monotonic() + INIT_SECONDS
        # An init that has ended by now is for the watcher to deal with.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            while node.alive and not takes_signal(pid, REBOOT):
                if time.monotonic() > deadline:
                    raise LocalEC2Error(f"init is not up after {INIT_SECONDS} s")
                time.sleep(0.02)

    def _watch(self) -> None:
        while True:
            for key, _events in self._selector.select():
                self._selector.unregister(key.fd)
                node: Node = key.data
                node.drop()
                self._submit(self._ended, node)

    def _ended(self, node: Node) -> None:
        if node.intent is Intent.TERMINATE:
            return
        code = int(podman("wait", "--interval", "50ms", self._settings.container(node.spec.instance_id)))
        self._commit(node)
        if node.intent is Intent.RUN and code == REBOOTED:
            self._detach(node)
            self._boot(node)
        else:
            self._release(node)
            node.listener.node_stopped(asked=node.intent is Intent.STOP)

    def _commit(self, node: Node) -> None:
        """Make the images that are wanted of a node; with its container gone that fails, which is told as well."""
        while not node.commits.empty():
            commit, label = node.commits.get(), f"LABEL {self._settings.label}"
            try:
                container = self._settings.container(node.spec.instance_id)
                podman("commit", "--quiet", "--pause", "--change", label, container, commit.image)
            except CommandError as error:
                commit.made(str(error))
            else:
                commit.made(None)

    def _remove(self, node: Node) -> None:
        remove(self._settings.container(node.spec.instance_id))
        self._commit(node)
        self._release(node)
        shutil.rmtree(self._settings.node_dir(node.spec.instance_id) / "seed", ignore_errors=True)
        node.listener.node_gone()

    def _detach(self, node: Node) -> None:
        self.firewalls.forget(node.spec.instance_id)
        network.detach(self._settings, node.spec.instance_id, node.spec.private_ip, node.public_ip)

    def _release(self, node: Node) -> None:
        """Give back what a node that does not run has no need of."""
        self._detach(node)
        node.public_ip = None
        node.disks.disconnect()


def container_options(settings: Settings, spec: NodeSpec, folder: Path) -> list[str]:
    """Return the options of ``podman create``. No CAP_NET_ADMIN; SYS_BOOT tells a reboot from a poweroff.

    SYS_ADMIN is for mounting disks, which AppArmor's profile for containers would refuse. Of the devices that the rule
    opens, a node without CAP_MKNOD gets at those only that are put into its /dev. lsblk needs /sys/dev/block.
    """
    memory = f"{spec.memory_mib}m"
    options = {
        "name": settings.container(spec.instance_id),
        "label": settings.label,
        "network": f"ns:/run/netns/{settings.container(spec.instance_id)}",
        "hostname": spec.hostname.split(".")[0],
        "memory": memory,
        "memory-swap": memory,
        "systemd": "always",
        "cap-add": "SYS_ADMIN,SYS_BOOT",
        "device-cgroup-rule": "b 7:* rw",
        "pidfile": str(folder / "pid"),
        "log-driver": "k8s-file",
        "log-opt": f"path={folder / 'console.log'}",
        "volume": f"{folder / 'seed'}:/var/lib/cloud/seed/nocloud:ro",
    }
    if spec.vcpus < (os.cpu_count() or 1):
        options["cpus"] = str(spec.vcpus)
    # podman would put these on a tmpfs, where they take memory and do not outlive a stop.
    on_disk = ("--volume=/tmp", "--volume=/var/log/journal")
    security = ("--security-opt=apparmor=unconfined", "--security-opt=unmask=/sys/dev/block")
    # For file systems in user space; every machine has it, but for hosts that were built without.
    fuse = ["--device=/dev/fuse"] if Path("/dev/fuse").exists() else []
    return [
        "--tty",
        "--no-hosts",
        *on_disk,
        *fuse,
        *security,
        *(f"--{key}={value}" for key, value in options.items()),
        *limit_options(),
    ]


def open_fuse(dev: Path) -> None:
    """Let all users of a node at FUSE, as udev does; podman gives the device the permissions that the host's has."""
    if (dev / "fuse").exists():
        (dev / "fuse").chmod(0o666)


def init(fault: BootFault | None) -> list[str]:
    """Return the command that a node boots."""
    return ["/bin/sh", "-c", PANIC] if fault is BootFault.PANICS else ["/sbin/init"]


def takes_signal(pid: int, number: int) -> bool:
    """Tell whether a process has set up a way to get the signal (systemd blocks it and reads it from a descriptor)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    masks = (int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigBlk", "SigCgt")))
    return any(mask >> (number - 1) & 1 for mask in masks)


def read_console(path: Path) -> str:
    """Return the last CONSOLE_BYTES of text of a container's log (lines ``TIME stdout F|P TEXT``)."""
    if not path.exists():
        return ""
    text = []
    for line in path.read_bytes().decode(errors="replace").split("\n")[:-1]:
        _time, _stream, tag, said = line.split(" ", 3)
        text.append(said + ("\n" if tag == "F" else ""))
    return "".join(text)[-CONSOLE_BYTES:]


def remove_all(settings: Settings, names: Sequence[str]) -> None:
    """Remove containers at once, whoever made them."""
    if names:
        remove(*names)
    attempt("rm", "-rf", str(settings.run_dir / "nodes"))
