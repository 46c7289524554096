"""A virtual machine with Debian's own kernel, for what nodes of local EC2 lack: NFS, NVMe disks, udev.

The CPU is emulated, so this runs wherever QEMU does, and slowly: Python takes ten times as long as on this machine, so
only what needs the kernel is worth it.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

from local_ec2.image import SUITE, apt_configuration, apt_sources
from local_ec2.network import mac
from local_ec2.settings import cache_dir

RECIPE = Path(__file__).parent
# What a node needs to boot as one, beyond Debian's minimum.
PACKAGES = ("dbus", "iproute2", "linux-image-cloud-amd64", "openssh-server", "python3", "systemd-sysv", "udev")
NAME = "kernel-vm"
MEMORY_MB = 1024
# For a boot, of a machine that has nothing else to do.
BOOT_S = 120


def run(*command: str | Path, **environment: str) -> str:
    """Return what a command prints; it must succeed."""
    env = {**os.environ, **environment}
    done = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout.decode(errors='replace')[-4000:]}"
    return done.stdout.decode(errors="replace")


@dataclass(frozen=True)
class Image:
    """The files of an image, and the keys that were made for it."""

    folder: Path

    @property
    def disk(self) -> Path:
        """The root file system."""
        return self.folder / "root.img"

    @property
    def kernel(self) -> Path:
        """Debian's kernel."""
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """What finds the root file system."""
        return self.folder / "initrd.img"

    @property
    def key(self) -> Path:
        """The key that root lets in."""
        return self.folder / "key"

    @property
    def known_hosts(self) -> Path:
        """The key of the machine itself."""
        return self.folder / "known_hosts"


def image() -> Image:
    """Return the image of the present recipe; it is built unless it is in the cache, in place of older ones."""
    cache = cache_dir().parent / NAME
    recipe = hashlib.sha256(f"{PACKAGES} {apt_sources()} {inspect.getsource(_build)}".encode())
    for path in sorted(path for path in (RECIPE / "rootfs").rglob("*") if path.is_file()):
        recipe.update(f"{path.relative_to(RECIPE)}\0".encode() + path.read_bytes())
    recipe.update((RECIPE / "customize").read_bytes())
    wanted = Image(cache / recipe.hexdigest()[:12])
    if not wanted.folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        for old in cache.iterdir():
            shutil.rmtree(old)
        with tempfile.TemporaryDirectory(prefix="part-", dir=cache) as scratch:
            _build(Image(Path(scratch, "image")), Path(scratch))
            Path(scratch, "image").rename(wanted.folder)
    return wanted


def _build(new: Image, scratch: Path) -> None:
    """Build the image in a folder that is not there yet."""
    root, sources, apt = scratch / "root", scratch / "debian.list", scratch / "apt.conf"
    new.folder.mkdir(mode=0o700)
    host_key = Path(f"{new.key}.host")
    for path in (new.key, host_key):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", NAME, "-f", path)
    public = Path(f"{host_key}.pub").read_text(encoding="ascii")
    new.known_hosts.write_text(f"{NAME} {public}", encoding="ascii")
    sources.write_text(apt_sources(), encoding="utf-8")
    apt.write_text(apt_configuration(), encoding="utf-8")
    run(
        "mmdebstrap",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        f"--aptopt={apt}",
        # Before the kernel is there, which has its initrd made at once.
        f"--essential-hook=cp -R --no-preserve=ownership {RECIPE}/rootfs/. $1",
        f"--customize-hook={RECIPE}/customize",
        SUITE,
        root,
        *([sources] if sources.stat().st_size else []),
        SPARKFLEET_VM_KEY=str(new.key),
    )
    shutil.copyfile(root / "vmlinuz", new.kernel)
    shutil.copyfile(root / "initrd.img", new.initrd)
    run("mkfs.ext4", "-q", "-L", NAME, "-E", "lazy_itable_init=1", "-d", root, new.disk, "2G")


@dataclass(frozen=True)
class Machine:
    """A machine that runs."""

    image: Image
    address: IPv4Interface
    console: Path
    process: subprocess.Popen[bytes]

    def ssh(self, command: str, stdin: bytes = b"", seconds: float = 300) -> str:
        """Run a command as root, return what it prints; it must succeed."""
        done = self._ssh(command, stdin, seconds)
        assert done.returncode == 0, f"{command}: {done.stdout.decode(errors='replace')}"
        return done.stdout.decode(errors="replace")

    def attempt(self, command: str) -> str:
        """Run a command, return what it prints; nothing if it fails."""
        done = self._ssh(command, b"", 300)
        return done.stdout.decode(errors="replace") if done.returncode == 0 else ""

    def shell(self, command: str) -> list[str]:
        """Return the command line that runs a command in the machine."""
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "5",
            "ControlPath": str(self.session),
            "HostKeyAlias": NAME,
            "IdentitiesOnly": "yes",
            "LogLevel": "ERROR",
            "ServerAliveInterval": "10",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(self.image.known_hosts),
        }
        flags = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return ["ssh", "-F", "none", "-i", str(self.image.key), *flags, f"root@{self.address.ip}", command]

    def _ssh(self, command: str, stdin: bytes, seconds: float) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.shell(command),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
        )

    @property
    def session(self) -> Path:
        """The socket of a session that commands share: each login of its own would take the machine seconds."""
        return self.console.with_name("ssh")

    def boot_id(self) -> str:
        """Return what tells one boot from another; nothing while the machine does not answer."""
        return self.attempt("cat /proc/sys/kernel/random/boot_id")

    def wait(self, other_than: str = "") -> None:
        """Wait until the machine answers, in another boot if one is named."""
        deadline = time.monotonic() + BOOT_S * max(1.0, os.getloadavg()[0])
        while self.boot_id() in {"", other_than}:
            assert self.process.poll() is None, f"QEMU has ended\n{self.last_words()}"
            assert time.monotonic() < deadline, f"the machine does not answer\n{self.last_words()}"
            time.sleep(0.5)
        self._share("-M", "-N", "-f")

    def _share(self, *options: str) -> None:
        """Open the session for all, or tell it something."""
        command = self.shell("")[:-1]
        run(command[0], *options, *command[1:])

    def reboot(self) -> None:
        """Shut down, and boot again."""
        before = self.boot_id()
        self._share("-O", "exit")
        self.attempt("systemctl reboot")
        self.wait(before)

    def last_words(self) -> str:
        """Return the end of what is on the console, and what QEMU says."""
        files = (self.console, self.console.with_name("qemu.log"))
        return "\n".join(file.read_text(encoding="utf-8", errors="replace")[-3000:] for file in files)


def nvme(number: int, file: Path, serial: str, snapshot: str = "off") -> Iterator[str]:
    """Yield QEMU's options for an NVMe disk whose content is a file; with a snapshot that is not changed."""
    yield from ("-drive", f"file={file},if=none,id=disk{number},format=raw,cache=unsafe,snapshot={snapshot}")
    yield from ("-device", f"nvme,drive=disk{number},serial={serial}")


@contextmanager
def machine(link: str, address: IPv4Interface, disks: Sequence[tuple[str, Path]], folder: Path) -> Iterator[Machine]:
    """Start a machine with an address of its own on a bridge, and with NVMe disks by serial; its root volume is lost.

    It is not waited for: something else may be done meanwhile.
    """
    ours, tap, console = image(), f"vm-{link[3:]}"[:15], folder / "console"
    network = f"ip={address.ip}::{address.network[1]}:{address.netmask}:{NAME}:eth0:none"
    command = [
        *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", str(MEMORY_MB)),
        *("-nodefaults", "-no-user-config", "-display", "none", "-serial", f"file:{console}"),
        *("-kernel", str(ours.kernel), "-initrd", str(ours.initrd)),
        # One network card with the name that it has on every kernel.
        *("-append", f"root=LABEL={NAME} rw console=ttyS0 net.ifnames=0 quiet mitigations=off {network}"),
        *nvme(0, ours.disk, "vol0123456789abcdef0", snapshot="on"),
        *(word for number, (serial, file) in enumerate(disks, 1) for word in nvme(number, file, serial)),
        *("-netdev", f"tap,id=net,ifname={tap},script=no,downscript=no"),
        *("-device", f"virtio-net-pci,netdev=net,mac={mac(str(address.ip))},romfile="),
        *("-device", "virtio-rng-pci"),
    ]
    run("ip", "tuntap", "add", "dev", tap, "mode", "tap")
    try:
        run("ip", "link", "set", "dev", tap, "master", link, "up")
        with (
            (folder / "qemu.log").open("wb") as log,
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process,
        ):
            console.touch()
            try:
                yield Machine(ours, address, console, process)
            finally:
                process.kill()
    finally:
        run("ip", "link", "delete", tap)
