# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one local EC2 is called, where it listens, which addresses are its own, where it keeps things."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

RUN_DIR = Path("/run/sparkfleet-local-ec2")
# /run is memory on most hosts.
DISKS_DIR = Path("/var/lib/sparkfleet-local-ec2")
REGION = "us-east-1"
ACCOUNT = "123456789012"
# Three letters and the name are an interface's name, which Linux ends at 15 bytes.
NAME = re.compile(r"[a-z][a-z0-9]{0,11}")
VPC_PREFIX = 16
DEFAULT_VPC = IPv4Network("10.231.0.0/16")
# Out of the block kept for benchmarks (RFC 2544): never a stranger's.
DEFAULT_PUBLIC = IPv4Network("198.18.77.0/24")


class LocalEC2Error(Exception):
    """Something that the user can mend: one line that says what and how."""


def cache_dir() -> Path:
    """Where downloads and the mirror outlive ``down``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "sparkfleet" / "local-ec2"


def mirror_dir() -> Path:
    """Root of what the mirror serves."""
    return cache_dir() / "mirror"


@dataclass(frozen=True)
class Settings:
    """One local EC2; everything that two of them must not share follows from ``name`` and the addresses."""

    name: str = "sparkfleet"
    port: int = 4580
    vpc_cidr: IPv4Network = DEFAULT_VPC
    public_cidr: IPv4Network = DEFAULT_PUBLIC
    mirror: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot work, by option."""
        if not NAME.fullmatch(self.name):
            raise LocalEC2Error(f"--name {self.name}: give 1 to 12 lower-case letters and digits, a letter first")
        if self.vpc_cidr.prefixlen != VPC_PREFIX:
            raise LocalEC2Error(f"--vpc-cidr {self.vpc_cidr}: give a /{VPC_PREFIX}, as every default VPC is")
        if not 16 <= self.public_cidr.prefixlen <= 28:
            raise LocalEC2Error(f"--public-cidr {self.public_cidr}: give a /16 to a /28")
        if self.vpc_cidr.overlaps(self.public_cidr):
            raise LocalEC2Error(f"--public-cidr {self.public_cidr} lies in --vpc-cidr {self.vpc_cidr}")
        if not 1024 <= self.port < 65535:
            raise LocalEC2Error(f"--port {self.port}: give 1024 to 65534 (the mirror takes the one after it)")

    @property
    def gateway(self) -> IPv4Address:
        """This machine's address among the nodes."""
        return self.vpc_cidr[1]

    @property
    def endpoint(self) -> str:
        """URL of the API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def nodes_endpoint(self) -> str:
        """URL of the API for nodes."""
        return f"http://{self.gateway}:{self.port}"

    @property
    def mirror_port(self) -> int:
        """The artifact mirror's port, on the gateway and on 127.0.0.1."""
        return self.port + 1

    @property
    def mirror_url(self) -> str:
        """What nodes download from."""
        return f"http://{self.gateway}:{self.mirror_port}"

    @property
    def link(self) -> str:
        """Name of the bridge and of the nftables table."""
        return f"sf-{self.name}"

    @property
    def label(self) -> str:
        """The podman label of every node and of every image made of one."""
        return f"sparkfleet.local-ec2={self.name}"

    def container(self, instance_id: str) -> str:
        """Name of an instance's container and of its network namespace."""
        return f"{self.name}-{instance_id}"

    def image(self, image_id: str) -> str:
        """Name of podman's image behind one that was made of an instance."""
        return f"localhost/sparkfleet-ami-{self.name}:{image_id}"

    @property
    def run_dir(self) -> Path:
        """What lives as long as this local EC2 is up."""
        return RUN_DIR / self.name

    @property
    def log_file(self) -> Path:
        """The server's log."""
        return self.run_dir / "server.log"

    @property
    def lock_file(self) -> Path:
        """Held locked by the server while it lives; holds its process id."""
        return self.run_dir / "server.lock"

    @property
    def ready_file(self) -> Path:
        """There once the server answers."""
        return self.run_dir / "ready"

    @property
    def disks_dir(self) -> Path:
        """Files of the nodes' disks, volumes and snapshots."""
        return DISKS_DIR / self.name

    @property
    def credentials_file(self) -> Path:
        """The administrator's access key."""
        return self.run_dir / "credentials.json"

    def node_dir(self, instance_id: str) -> Path:
        """An instance's seed, console and process id."""
        return self.run_dir / "nodes" / instance_id

    def save(self) -> None:
        """Note the settings for the other commands and the server."""
        self.run_dir.mkdir(parents=True, exist_ok=True)
        fields = {"port": self.port, "vpc_cidr": str(self.vpc_cidr), "public_cidr": str(self.public_cidr)}
        (self.run_dir / "settings.json").write_text(json.dumps(fields | {"mirror": self.mirror}), encoding="utf-8")

    @classmethod
    def load(cls, name: str) -> Settings | None:
        """Return the settings of the local EC2 of this name, None when there is no trace of one."""
        path = RUN_DIR / name / "settings.json"
        if not path.exists():
            return None
        fields = json.loads(path.read_text(encoding="utf-8"))
        for network in ("vpc_cidr", "public_cidr"):
            fields[network] = IPv4Network(fields[network])
        return cls(name=name, **fields)
