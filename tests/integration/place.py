"""Where the tests' local EC2s are: beside a demo, and apart from those of tests that run in another checkout."""

from __future__ import annotations

import os
from ipaddress import IPv4Network
from typing import NamedTuple

# A number from 0 to 4; give each checkout whose tests run at the same time another one. Each has two workers.
SLOT = int(os.environ.get("SPARKFLEET_TEST_SLOT", "0")) + 5 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])


class Place(NamedTuple):
    """The name, port and addresses of one local EC2."""

    name: str
    port: int
    vpc: IPv4Network
    public: IPv4Network

    @property
    def options(self) -> list[str]:
        """What `python -m local_ec2 up` is to be told."""
        addresses = ["--vpc-cidr", str(self.vpc), "--public-cidr", str(self.public)]
        return ["--name", self.name, "--port", str(self.port), *addresses]


def place(number: int, name: str) -> Place:
    """Return the place of the tests that have this number."""
    at = 10 * number + SLOT
    vpc, public = IPv4Network(f"10.{150 + at}.0.0/16"), IPv4Network(f"198.19.{at}.0/24")
    # Below the ports that the kernel gives to outgoing connections.
    return Place(f"{name}{SLOT or ''}", 4700 + 2 * at, vpc, public)
