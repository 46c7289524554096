# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Security groups as nftables rules in each node's network namespace, which no node has the capability to change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

TABLE = "inet security_groups"
ALL = "-1"
PORTS = ("tcp", "udp")
ICMP = ("icmp", "icmpv6")
ANY = -1


@dataclass(frozen=True)
class Rule:
    """One rule of a security group. ``first`` and ``last`` are ports, or ICMP's type and code."""

    protocol: str
    first: int
    last: int
    peer: IPv4Network | str

    def render(self, direction: str) -> str:
        """Return what it matches, for nftables; ``direction`` is saddr or daddr, where the peer's address is."""
        peer = f"@{self.peer}" if isinstance(self.peer, str) else str(self.peer)
        return " ".join([f"ip {direction} {peer}", *self._matches()])

    def _matches(self) -> Iterator[str]:
        if self.protocol == ALL:
            return
        if self.protocol in PORTS:
            yield f"{self.protocol} dport {self.first}-{self.last}"
        elif self.protocol in ICMP and self.first != ANY:
            yield f"{self.protocol} type {self.first}"
            if self.last != ANY:
                yield f"{self.protocol} code {self.last}"
        else:
            yield f"meta l4proto {self.protocol}"


def ruleset(
    ingress: Iterable[Rule],
    egress: Iterable[Rule],
    members: Callable[[str], Iterable[str]],
    public: IPv4Network,
) -> str:
    """Return a node's table, to be loaded in the place of the one that is there; the same for the same rules.

    As on EC2, a tracked connection goes on when the rule that let it in has gone. Not filtered are what a node sends to
    itself, unless to its public address, and link-local addresses (the metadata service): outgoing packets are seen
    before any translation.
    """
    incoming, outgoing = set(ingress), set(egress)
    groups = sorted({rule.peer for rule in incoming | outgoing if isinstance(rule.peer, str)})
    lines = [f"table {TABLE}", f"delete table {TABLE}", f"table {TABLE} {{"]
    for group in groups:
        addresses = ", ".join(map(str, sorted(map(IPv4Address, members(group)))))
        elements = f" elements = {{ {addresses} }};" if addresses else ""
        lines.append(f"  set {group} {{ type ipv4_addr;{elements} }}")
    itself = f'"lo" ip daddr != {public}'
    lines += _chain("input", "filter", [f"iif {itself}"], "saddr", incoming)
    lines += _chain("output", "mangle", [f"oif {itself}", "ip daddr 169.254.0.0/16"], "daddr", outgoing)
    return "\n".join([*lines, "}\n"])


def _chain(hook: str, priority: str, unfiltered: list[str], direction: str, rules: Iterable[Rule]) -> Iterator[str]:
    yield f"  chain {hook} {{"
    yield f"    type filter hook {hook} priority {priority}; policy drop;"
    matches = ["ct state { established, related }", *unfiltered, *sorted(rule.render(direction) for rule in rules)]
    yield from (f"    {match} accept" for match in matches)
    yield "  }"


class Firewalls:
    """The rules of all nodes that have a namespace."""

    def __init__(self, load: Callable[[str, str], None]) -> None:
        """Note how an instance's ruleset gets into its namespace."""
        self._load = load
        self._wanted: dict[str, Callable[[], str]] = {}
        self._loaded: dict[str, str] = {}
        # Held from asking what is wanted until that is loaded, so that nothing older is ever loaded later.
        self._lock = threading.Lock()

    def raise_for(self, instance_id: str, wanted: Callable[[], str]) -> None:
        """Load the rules of a new namespace."""
        with self._lock:
            self._wanted[instance_id] = wanted
            self._update(instance_id)

    def forget(self, instance_id: str) -> None:
        """The namespace goes, and its rules with it."""
        with self._lock:
            self._wanted.pop(instance_id, None)
            self._loaded.pop(instance_id, None)

    def update(self) -> None:
        """Load what has changed."""
        with self._lock:
            for instance_id in self._wanted:
                self._update(instance_id)

    def _update(self, instance_id: str) -> None:
        rules = self._wanted[instance_id]()
        if rules != self._loaded.get(instance_id):
            self._load(instance_id, rules)
            self._loaded[instance_id] = rules
