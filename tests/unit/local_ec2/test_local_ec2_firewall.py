# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Security groups as nftables rules."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network

import pytest

from local_ec2.firewall import Firewalls, Rule, ruleset

EVERYWHERE, OFFICE = IPv4Network("0.0.0.0/0"), IPv4Network("203.0.113.0/24")
PUBLIC = IPv4Network("198.18.77.0/24")
INGRESS = [Rule("tcp", 22, 22, OFFICE), Rule("-1", -1, -1, "sg-a"), Rule("udp", 8649, 8650, "sg-b")]
EGRESS = [Rule("-1", -1, -1, EVERYWHERE)]
MEMBERS = {"sg-a": ["10.231.0.10", "10.231.0.9"], "sg-b": []}
LOADED = """\
table inet security_groups
delete table inet security_groups
table inet security_groups {
  set sg-a { type ipv4_addr; elements = { 10.231.0.9, 10.231.0.10 }; }
  set sg-b { type ipv4_addr; }
  chain input {
    type filter hook input priority filter; policy drop;
    ct state { established, related } accept
    iif "lo" ip daddr != 198.18.77.0/24 accept
    ip saddr 203.0.113.0/24 tcp dport 22-22 accept
    ip saddr @sg-a accept
    ip saddr @sg-b udp dport 8649-8650 accept
  }
  chain output {
    type filter hook output priority mangle; policy drop;
    ct state { established, related } accept
    oif "lo" ip daddr != 198.18.77.0/24 accept
    ip daddr 169.254.0.0/16 accept
    ip daddr 0.0.0.0/0 accept
  }
}
"""


def members(group: str) -> Iterable[str]:
    return MEMBERS[group]


def test_ruleset() -> None:
    assert ruleset(INGRESS, EGRESS, members, PUBLIC) == LOADED


def test_order_and_repetition_change_nothing() -> None:
    assert ruleset([*INGRESS[::-1], *INGRESS], EGRESS, lambda group: MEMBERS[group][::-1], PUBLIC) == LOADED


@pytest.mark.parametrize(
    ("rule", "match"),
    [
        (Rule("tcp", 0, 65535, OFFICE), "ip daddr 203.0.113.0/24 tcp dport 0-65535"),
        (Rule("icmp", -1, -1, OFFICE), "ip daddr 203.0.113.0/24 meta l4proto icmp"),
        (Rule("icmp", 8, -1, OFFICE), "ip daddr 203.0.113.0/24 icmp type 8"),
        (Rule("icmp", 3, 4, OFFICE), "ip daddr 203.0.113.0/24 icmp type 3 icmp code 4"),
        (Rule("50", -1, -1, "sg-a"), "ip daddr @sg-a meta l4proto 50"),
    ],
)
def test_protocols(rule: Rule, match: str) -> None:
    assert rule.render("daddr") == match


def test_only_changes_are_loaded() -> None:
    loaded: list[tuple[str, str]] = []
    wanted = {"i-1": "a", "i-2": "b"}
    firewalls = Firewalls(lambda instance_id, rules: loaded.append((instance_id, rules)))
    firewalls.raise_for("i-1", lambda: wanted["i-1"])
    firewalls.raise_for("i-2", lambda: wanted["i-2"])
    wanted["i-2"] = "c"
    firewalls.update()
    firewalls.update()
    assert loaded == [("i-1", "a"), ("i-2", "b"), ("i-2", "c")]
    firewalls.forget("i-1")
    firewalls.raise_for("i-1", lambda: "a")
    assert loaded[3:] == [("i-1", "a")]
