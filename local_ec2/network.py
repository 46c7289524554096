# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The VPC on this host: a bridge, each node's network namespace, and the internet gateway's address translation.

Namespaces are made here rather than by podman: their routes and their firewall are in place before a node's init
runs, and the bridge is there whether nodes run or not.
"""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from local_ec2.run import CommandError, attempt, run
from local_ec2.settings import LocalEC2Error, Settings

NAMESPACES = Path("/run/netns")
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
# Any real route wins over these.
LAST_METRIC = "4294967295"

# As EC2's internet gateway: a node knows its private address only. Nothing comes in from beyond this machine, and
# nothing for link-local addresses (a metadata service that is not ours) goes out.
GATEWAY = """
table ip {link} {{
    map private_of {{ type ipv4_addr : ipv4_addr; }}
    map public_of {{ type ipv4_addr : ipv4_addr; }}
    chain prerouting {{
        type nat hook prerouting priority -100;
        iifname "{link}" dnat to ip daddr map @private_of
    }}
    chain output {{
        type nat hook output priority -100;
        dnat to ip daddr map @private_of
    }}
    chain postrouting {{
        type nat hook postrouting priority 100;
        ct original ip daddr {public} snat to ip saddr map @public_of
        ip saddr {private} oifname != "{link}" masquerade
    }}
    chain input {{
        type filter hook input priority 0;
        ip daddr {gateway} iifname != {{ "{link}", "lo" }} reject
    }}
    chain forward {{
        type filter hook forward priority 0;
        ip daddr 169.254.0.0/16 iifname "{link}" reject
        iifname "{link}" ip daddr {public} reject
        oifname "{link}" iifname != "{link}" ct state != {{ established, related }} drop
    }}
}}
"""

# Nodes ask for metadata where EC2 has it; nothing else of that kind leaves their namespaces. The port behind it is for
# redirected requests only, so that how far an answer travels counts from where EC2's would come.
METADATA = """
table ip metadata {{
    chain redirect_own {{
        type nat hook output priority -100;
        ip daddr 169.254.169.254 tcp dport 80 dnat to {gateway}:{port}
    }}
    chain redirect_forwarded {{
        type nat hook prerouting priority -100;
        ip daddr 169.254.169.254 tcp dport 80 dnat to {gateway}:{port}
    }}
    chain own {{
        type filter hook output priority 0;
        jump judge
    }}
    chain forwarded {{
        type filter hook forward priority 0;
        jump judge
    }}
    chain judge {{
        ip daddr 169.254.0.0/16 reject with icmp type host-unreachable
        ip daddr {gateway} tcp dport {port} ct status & dnat == 0 reject with tcp reset
    }}
}}
"""

DROP_SSH = "table inet fault { chain input { type filter hook input priority -300; tcp dport 22 drop; }; }"


def conflict(ours: IPv4Network, routes: list[dict[str, str]], own_link: str) -> str | None:
    """Return the first of the host's routes (``ip -json route`` entries) that overlaps, None when there is none."""
    for route in routes:
        destination = route["dst"]
        if destination == "default" or route.get("dev") == own_link or route.get("type") == "unreachable":
            continue
        if ours.overlaps(IPv4Network(destination)):
            return f"{destination} dev {route.get('dev', '?')}"
    return None


def check_conflicts(settings: Settings) -> None:
    """Refuse subnets that the host reaches elsewhere already, and ports that somebody listens on."""
    for port in (settings.port, settings.mirror_port):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise LocalEC2Error(f"port {port} of 127.0.0.1 is taken ({error}): choose another --port") from error
    routes = json.loads(run("ip", "-4", "-json", "route", "show"))
    for option in ("vpc_cidr", "public_cidr"):
        ours = getattr(settings, option)
        if found := conflict(ours, routes, settings.link):
            flag = f"--{option.replace('_', '-')}"
            raise LocalEC2Error(f"{ours} is taken on this host by the route {found}: choose another {flag}")


def up(settings: Settings) -> None:
    """Make bridge and gateway; what is there of an earlier run is replaced."""
    down(settings)
    link, private, public = settings.link, str(settings.vpc_cidr), str(settings.public_cidr)
    # Else the bridge takes the lowest of its ports' addresses, and nodes send to the old one when a node comes or goes.
    run("ip", "link", "add", link, "address", mac(str(settings.gateway)), "type", "bridge")
    run("ip", "address", "add", f"{settings.gateway}/{settings.vpc_cidr.prefixlen}", "dev", link)
    run("ip", "link", "set", link, "up")
    run("ip", "route", "add", "unreachable", public, "metric", LAST_METRIC)
    run("nft", "-f", "-", stdin=GATEWAY.format(link=link, private=private, public=public, gateway=settings.gateway))
    if FORWARDING.read_text(encoding="ascii").strip() != "1":
        FORWARDING.write_text("1", encoding="ascii")
    for rule in _firewall_rules(link):
        run("iptables", "-I", *rule)


def down(settings: Settings) -> None:
    """Take away all of it; what is not there is no error."""
    for namespace in namespaces(settings):
        attempt("ip", "netns", "delete", namespace)
    attempt("ip", "link", "delete", settings.link)
    for route in json.loads(run("ip", "-4", "-json", "route", "show", "type", "unreachable")):
        if IPv4Network(route["dst"]).subnet_of(settings.public_cidr):
            attempt("ip", "route", "delete", "unreachable", route["dst"])
    attempt("nft", "delete", "table", "ip", settings.link)
    for rule in _firewall_rules(settings.link):
        attempt("iptables", "-D", *rule)


def _firewall_rules(link: str) -> Iterator[tuple[str, ...]]:
    """Yield rules for hosts whose own firewall (Docker's, say) drops what it does not know."""
    if shutil.which("iptables"):
        yield ("FORWARD", "-i", link, "-j", "ACCEPT")
        yield ("FORWARD", "-o", link, "-j", "ACCEPT")


def namespaces(settings: Settings) -> list[str]:
    """Return the network namespaces of nodes, by name."""
    names = (path.name for path in NAMESPACES.iterdir()) if NAMESPACES.exists() else ()
    return sorted(name for name in names if name.startswith(settings.container("i-")))


def attach(settings: Settings, instance_id: str, private_ip: str, public_ip: str | None) -> Path:
    """Make a node's namespace with its addresses; return its path."""
    namespace = settings.container(instance_id)
    veth = _veth(instance_id)
    setup = [
        f"netns add {namespace}",
        f"link add {veth} type veth peer name eth0 address {mac(private_ip)} netns {namespace}",
        f"link set {veth} master {settings.link} up",
    ]
    inside = [
        f"address add {private_ip}/{settings.vpc_cidr.prefixlen} dev eth0",
        "link set lo up",
        "link set eth0 up",
        f"route add default via {settings.gateway}",
    ]
    if public_ip:
        setup.append(f"route add {public_ip} dev {settings.link} src {settings.gateway}")
        # Its own public address, which the host could only send back with itself as the source.
        inside.append(f"route add local {public_ip} dev lo table local")
        _translate(settings, "add", private_ip, public_ip)
    run("ip", "-batch", "-", stdin="\n".join(setup))
    run("ip", "-netns", namespace, "-batch", "-", stdin="\n".join(inside))
    return NAMESPACES / namespace


def load_rules(settings: Settings, instance_id: str, ruleset: str) -> None:
    """Load nftables rules into a node's namespace, all or none of them."""
    namespace = NAMESPACES / settings.container(instance_id)
    run("nsenter", f"--net={namespace}", "nft", "-f", "-", stdin=ruleset)


def redirect_metadata(settings: Settings, instance_id: str, port: int) -> None:
    """Lead a node's requests for metadata to this port of the gateway."""
    load_rules(settings, instance_id, METADATA.format(gateway=settings.gateway, port=port))


def drop_ssh(settings: Settings, instance_id: str) -> None:
    """Have a node's namespace drop what comes in for its port 22, as a network does that is set up wrong."""
    load_rules(settings, instance_id, DROP_SSH)


def detach(settings: Settings, instance_id: str, private_ip: str, public_ip: str | None) -> None:
    """Take away a node's namespace and its public address; what is not there is no error."""
    attempt("ip", "link", "delete", _veth(instance_id))
    attempt("ip", "netns", "delete", settings.container(instance_id))
    if public_ip:
        attempt("ip", "route", "delete", public_ip, "dev", settings.link)
        try:
            _translate(settings, "delete", private_ip, public_ip)
        except CommandError as error:
            if "No such file" not in str(error):
                raise


def _translate(settings: Settings, verb: str, private_ip: str, public_ip: str) -> None:
    """Add or delete one node's pair of translations."""
    maps = (("private_of", public_ip, private_ip), ("public_of", private_ip, public_ip))
    script = (f"{verb} element ip {settings.link} {name} {{ {key} : {value} }}" for name, key, value in maps)
    run("nft", "-f", "-", stdin="\n".join(script))


def mac(private_ip: str) -> str:
    """Return the hardware address that goes with a private address: neighbours remember the pair over a restart."""
    return ":".join(f"{part:02x}" for part in (0x0A, 0xFF, *IPv4Address(private_ip).packed))


def _veth(instance_id: str) -> str:
    """Name of the host's end of a node's cable; Linux ends it at 15 bytes."""
    return f"sf{instance_id[-13:]}"
