# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packets security groups let through, as seen from outside: only what is asked of a port tells."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from account import NAME, PLACE, Account, wait_until
from botocore.exceptions import ClientError

HERE = str(PLACE.vpc[1])
# An address of this machine that no rule names: of the first four, which no instance gets.
ELSEWHERE = str(PLACE.public[2])
# What Spark, HDFS and Jupyter listen on, and those about it; a node listens on the ones that sshd has not taken.
USUAL = [111, 2049, 4040, 6066, 7077, 8020, 8080, 8081, 8649, 8888, 9000, 9864, 9866, 9867, 9870, 10000, 18080, 50070]
PORTS = sorted({*range(20, 120), *USUAL})
FROM_HERE = {"tcp": [22]}
FROM_PEER = {"tcp": [8080, 8081], "udp": [8649]}

LISTEN = """
import select, socket, sys
poll, sockets = select.poll(), {}
for port in map(int, sys.argv[1:]):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        listener = socket.socket(type=kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", port))
        if kind == socket.SOCK_STREAM:
            listener.listen()
        sockets[listener.fileno()] = listener
        poll.register(listener, select.POLLIN)
while True:
    for number, _ in poll.poll():
        known = sockets[number]
        if known.type == socket.SOCK_DGRAM:
            known.sendto(*known.recvfrom(99))
        elif known.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            new = known.accept()[0]
            sockets[new.fileno()] = new
            poll.register(new, select.POLLIN)
        elif data := known.recv(99):
            known.send(data)
        else:
            poll.unregister(known)
            del sockets[number]
"""
# Prints the ports that answered, be it that nobody listens there. A kernel answers at once: when those awaited have, or
# after half a second where none is, the others have had time.
SCAN = """
import errno, json, select, socket, sys, time
source, address, ports, awaited = json.loads(sys.argv[1])
poll, probes, reached = select.poll(), {}, {"tcp": [], "udp": []}
protocols = {"tcp": (socket.SOCK_STREAM, select.POLLOUT), "udp": (socket.SOCK_DGRAM, select.POLLIN)}
for port in ports:
    for protocol, (kind, answer) in protocols.items():
        probe = socket.socket(type=kind)
        probe.setblocking(False)
        probe.bind((source, 0))
        if probe.connect_ex((address, port)) not in (0, errno.EINPROGRESS):
            sys.exit(f"cannot dial {address}")
        if protocol == "udp":
            try:
                probe.send(b"?")
            except PermissionError:  # what a dropped packet is to its sender
                continue
        probes[probe.fileno()] = probe, protocol, port
        poll.register(probe, answer)
until = time.monotonic() + (60 if awaited else 0.5)
while (left := until - time.monotonic()) > 0:
    for number, _ in poll.poll(left * 1000):
        probe, protocol, port = probes[number]
        poll.unregister(probe)
        error = probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error not in (0, errno.ECONNREFUSED):
            sys.exit(f"{address} port {port}: {errno.errorcode[error]}")
        reached[protocol].append(port)
    if awaited and all(set(awaited[protocol]) <= set(reached[protocol]) for protocol in awaited):
        until, awaited = time.monotonic() + 0.3, {}
print(json.dumps({protocol: sorted(ports) for protocol, ports in reached.items() if ports}))
"""
PING = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as probe:
    probe.settimeout(0.5)
    probe.connect((sys.argv[1], 0))
    probe.send(bytes([8, 0, 0, 0, 0, 0, 0, 0]))
    try:
        print("pong", probe.recv(99)[0])
    except TimeoutError:
        print("silence")
"""
# Asks the kernel to drop all tables (NFT_MSG_DELTABLE in a batch), prints what it says to that.
FLUSH = """
import errno, os, socket, struct
def message(kind, flags, number, resource=0):
    return struct.pack("=IHHIIBBH", 20, kind, flags, number, 0, 0, 0, socket.htons(resource))
netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
netlink.send(message(16, 1, 1, 10) + message(10 << 8 | 2, 5, 2) + message(17, 1, 3, 10))
print(errno.errorcode[-struct.unpack_from("=i", netlink.recv(4096), 16)[0]])
"""
# Link-local addresses are nobody's rule.
TOKEN = ["curl", "-sf", "-m", "30", "-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60"]
TOKEN.append("http://169.254.169.254/latest/api/token")


def python(source: str, program: str, argument: str) -> str:
    """Run a program with a node's network, or with this machine's, and return what it prints."""
    where = [] if source == HERE else ["nsenter", f"--net=/run/netns/{NAME}-{source}"]
    done = subprocess.run(
        [*where, sys.executable, "-c", program, argument], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def scan(
    source: str,
    address: str,
    expected: dict[str, list[int]] | None = None,
    *,
    ports: list[int] = PORTS,
    bind: str = "0.0.0.0",
) -> dict[str, list[int]]:
    """Return the ports of an address that answer to a node, or to this machine; awaiting those expected."""
    return json.loads(python(source, SCAN, json.dumps([bind, address, ports, expected or {}])))


def inside(instance_id: str, *args: str, detach: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a command in a node as its root, over no network."""
    options = ["--detach"] if detach else []
    command = ["podman", "exec", *options, f"{NAME}-{instance_id}", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def permission(protocol: str, first: int = -1, last: int | None = None, **peer: Any) -> dict[str, Any]:
    """Return what the API takes for a rule: `peer` is cidr, group or prefix_list."""
    known = {"cidr": ("IpRanges", "CidrIp"), "group": ("UserIdGroupPairs", "GroupId")}
    known["prefix_list"] = ("PrefixListIds", "PrefixListId")
    ((kind, value),) = peer.items()
    peers, key = known[kind]
    return {
        "IpProtocol": protocol,
        "FromPort": first,
        "ToPort": first if last is None else last,
        peers: [{key: value}],
    }


@dataclass
class Nodes:
    """An instance that lets in SSH from here and some ports from a group, one of that group, one of another."""

    account: Account
    groups: dict[str, str]
    target: str
    peer: str
    stranger: str

    def address(self, instance_id: str, kind: str = "PrivateIpAddress") -> str:
        """Return an address of an instance."""
        return self.account.get(instance_id)[kind]

    @contextmanager
    def moved(self, group_id: str, *instances: str) -> Iterator[None]:
        """Have instances in another group for as long as this lasts."""
        modify = self.account.ec2.modify_instance_attribute
        before = {each: self.account.get(each)["SecurityGroups"][0]["GroupId"] for each in instances}
        for each in instances:
            modify(InstanceId=each, Groups=[group_id])
        try:
            yield
        finally:
            for each in instances:
                modify(InstanceId=each, Groups=[before[each]])

    def launch(self, group_id: str, **parameters: Any) -> str:
        """Launch an instance in a group, return its id."""
        instance_id = self.account.run(SecurityGroupIds=[group_id], **parameters)["Instances"][0]["InstanceId"]
        self.account.wait(instance_id, "running")
        return instance_id

    @contextmanager
    def rule(self, group: str, rule: dict[str, Any], way: str = "ingress") -> Iterator[str]:
        """Let a group have a rule for as long as this lasts; give the rule's id."""
        request = {"GroupId": self.groups[group], "IpPermissions": [rule]}
        made = getattr(self.account.ec2, f"authorize_security_group_{way}")(**request)
        (rule_id,) = [rule["SecurityGroupRuleId"] for rule in made["SecurityGroupRules"]]
        try:
            yield rule_id
        finally:
            revoke = getattr(self.account.ec2, f"revoke_security_group_{way}")
            revoke(GroupId=self.groups[group], SecurityGroupRuleIds=[rule_id])


def listen(instance_id: str) -> None:
    """Have a node listen on the usual ports, on all of its addresses, by TCP and UDP."""
    inside(instance_id, "python3", "-c", LISTEN, *map(str, USUAL), detach=True)
    wait_until(lambda: f":{USUAL[-1]}" in inside(instance_id, "ss", "-Hlun").stdout, 60, f"{instance_id} listens")


@pytest.fixture(scope="module")
def nodes(account: Account) -> Nodes:
    groups = {
        name: account.ec2.create_security_group(GroupName=name, Description=name)["GroupId"]
        for name in ("target", "peers", "strangers")
    }
    account.ec2.authorize_security_group_ingress(
        GroupId=groups["target"],
        IpPermissions=[
            permission("tcp", 22, cidr=f"{HERE}/32"),
            permission("tcp", 8080, 8081, group=groups["peers"]),
            permission("udp", 8649, group=groups["peers"]),
        ],
    )
    ids = [account.run(SecurityGroupIds=[group_id])["Instances"][0]["InstanceId"] for group_id in groups.values()]
    for instance_id in ids:
        account.wait(instance_id, "running")
    listen(ids[0])
    return Nodes(account, groups, *ids)


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """Another address of this machine, for as long as a test wants it."""
    for verb in ("add", "delete"):
        subprocess.run(["ip", "address", verb, f"{ELSEWHERE}/32", "dev", "lo"], check=True)
        if verb == "add":
            yield ELSEWHERE


@pytest.mark.parametrize("address", ["PublicIpAddress", "PrivateIpAddress"])
def test_from_outside_only_what_the_group_lets_in(nodes: Nodes, address: str) -> None:
    target = nodes.address(nodes.target, address)
    assert scan(HERE, target, FROM_HERE) == FROM_HERE
    assert scan(nodes.stranger, target) == {}


def test_group_as_source_means_private_addresses(nodes: Nodes) -> None:
    assert scan(nodes.peer, nodes.address(nodes.target), FROM_PEER) == FROM_PEER
    assert scan(nodes.peer, nodes.address(nodes.target, "PublicIpAddress")) == {}


def test_node_is_not_filtered_from_itself(nodes: Nodes) -> None:
    everything = {"tcp": PORTS, "udp": PORTS}
    assert scan(nodes.target, nodes.address(nodes.target), everything) == everything
    assert scan(nodes.target, nodes.address(nodes.target, "PublicIpAddress")) == {}


def test_this_machine_has_no_way_round(nodes: Nodes, elsewhere: str) -> None:
    target = nodes.address(nodes.target)
    assert scan(HERE, target, bind=elsewhere) == {}
    with nodes.rule("target", permission("tcp", 22, cidr=f"{elsewhere}/32")):
        assert scan(HERE, target, FROM_HERE, bind=elsewhere) == FROM_HERE
    assert scan(HERE, target, bind=elsewhere) == {}


def test_revoked_rule_leaves_open_connections(nodes: Nodes) -> None:
    target = nodes.address(nodes.target, "PublicIpAddress")
    with nodes.rule("target", permission("tcp", 8888, cidr=f"{HERE}/32")):
        connection = socket.create_connection((target, 8888), timeout=30)
    assert scan(HERE, target, FROM_HERE) == FROM_HERE
    with connection:
        connection.sendall(b"still there?")
        assert connection.recv(99) == b"still there?"


def test_members_come_and_go(nodes: Nodes) -> None:
    target, groups = nodes.address(nodes.target), nodes.groups
    with nodes.moved(groups["peers"], nodes.stranger):
        assert scan(nodes.stranger, target, FROM_PEER) == FROM_PEER
    assert scan(nodes.stranger, target) == {}
    late = nodes.launch(groups["peers"])
    address = nodes.address(late)
    assert scan(late, target, FROM_PEER) == FROM_PEER
    nodes.account.ec2.terminate_instances(InstanceIds=[late])
    nodes.account.wait(late, "terminated")
    # Who gets the address next does not get what the address was let in for.
    assert scan(nodes.launch(groups["strangers"], PrivateIpAddress=address), target) == {}


@pytest.fixture
def confined(nodes: Nodes) -> Iterator[str]:
    """A group without the rule that every new group has, which lets everything out."""
    made = nodes.account.ec2.create_security_group(GroupName="confined", Description="confined")
    nodes.groups["confined"] = made["GroupId"]
    everywhere = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    nodes.account.ec2.revoke_security_group_egress(GroupId=made["GroupId"], IpPermissions=[everywhere])
    with nodes.rule("target", permission("tcp", 8080, 8081, group=made["GroupId"])):
        yield made["GroupId"]


def test_egress(nodes: Nodes, confined: str) -> None:
    target, mirror = nodes.address(nodes.target), PLACE.port + 1
    assert scan(nodes.stranger, HERE, {"tcp": [mirror]}, ports=[mirror])["tcp"] == [mirror]
    with nodes.moved(confined, nodes.stranger):
        assert scan(nodes.stranger, target) == {}
        assert scan(nodes.stranger, HERE, ports=[mirror]) == {}
        assert inside(nodes.stranger, *TOKEN).returncode == 0
        with nodes.rule("confined", permission("tcp", 8081, group=nodes.groups["target"]), "egress"):
            assert scan(nodes.stranger, target, {"tcp": [8081]}) == {"tcp": [8081]}
        # What it answers to others needs no rule.
        with nodes.rule("confined", permission("tcp", 22, cidr=f"{HERE}/32")):
            assert scan(HERE, nodes.address(nodes.stranger), FROM_HERE) == FROM_HERE


def test_ping(nodes: Nodes) -> None:
    target, echo = nodes.address(nodes.target), permission("icmp", 8, -1, group=nodes.groups["strangers"])
    assert python(nodes.stranger, PING, target) == "silence"
    with nodes.rule("target", echo):
        wait_until(lambda: python(nodes.stranger, PING, target) == "pong 0", 60, "an answer to ping")
        assert scan(nodes.stranger, target) == {}
    assert python(nodes.stranger, PING, target) == "silence"


def test_prefix_list_as_source(nodes: Nodes) -> None:
    ec2, target = nodes.account.ec2, nodes.address(nodes.target)
    entry = {"Cidr": f"{nodes.address(nodes.stranger)}/32"}
    made = ec2.create_managed_prefix_list(
        PrefixListName="strangers", MaxEntries=5, AddressFamily="IPv4", Entries=[entry]
    )["PrefixList"]
    with nodes.rule("target", permission("tcp", 22, prefix_list=made["PrefixListId"])):
        assert scan(nodes.stranger, target, FROM_HERE) == FROM_HERE
        ec2.modify_managed_prefix_list(PrefixListId=made["PrefixListId"], CurrentVersion=1, RemoveEntries=[entry])
        assert scan(nodes.stranger, target) == {}


def test_modified_rule(nodes: Nodes) -> None:
    target, strangers = nodes.address(nodes.target), nodes.groups["strangers"]
    rule = {"IpProtocol": "tcp", "FromPort": 9870, "ToPort": 9870}

    def modify(rule_id: str, **peer: str) -> None:
        change = {"SecurityGroupRuleId": rule_id, "SecurityGroupRule": {**rule, **peer}}
        nodes.account.ec2.modify_security_group_rules(GroupId=nodes.groups["target"], SecurityGroupRules=[change])

    with nodes.rule("target", permission("tcp", 9000, group=nodes.groups["target"])) as rule_id:
        modify(rule_id, ReferencedGroupId=strangers)
        assert scan(nodes.stranger, target, {"tcp": [9870]}) == {"tcp": [9870]}
        with pytest.raises(ClientError, match="InvalidParameterValue"):
            modify(rule_id, CidrIpv4="0.0.0.0/0")
    with nodes.rule("target", permission("tcp", 9000, cidr="203.0.113.0/24")) as rule_id:
        modify(rule_id, CidrIpv4=f"{nodes.address(nodes.stranger)}/32")
        assert scan(nodes.stranger, target, {"tcp": [9870]}) == {"tcp": [9870]}


def test_groups_of_the_interface(nodes: Nodes) -> None:
    interface = nodes.account.get(nodes.target)["NetworkInterfaces"][0]["NetworkInterfaceId"]
    for group, expected in (("strangers", {}), ("target", FROM_HERE)):
        nodes.account.ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, Groups=[nodes.groups[group]])
        seen = nodes.account.get(nodes.target)["SecurityGroups"]
        assert [held["GroupId"] for held in seen] == [nodes.groups[group]]
        assert scan(HERE, nodes.address(nodes.target), expected) == expected


def test_default_group_lets_in_itself(nodes: Nodes) -> None:
    found = nodes.account.ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"]
    default = found[0]["GroupId"]
    with nodes.moved(default, nodes.target, nodes.stranger):
        reached = scan(nodes.stranger, nodes.address(nodes.target), {"tcp": PORTS, "udp": USUAL})
        assert reached["tcp"] == PORTS
        assert set(reached["udp"]) >= set(USUAL)
        assert scan(HERE, nodes.address(nodes.target, "PublicIpAddress")) == {}
    with pytest.raises(ClientError, match="CannotDelete"):
        nodes.account.ec2.delete_security_group(GroupId=default)


def test_node_cannot_change_its_rules(nodes: Nodes) -> None:
    assert inside(nodes.target, "python3", "-c", FLUSH).stdout.strip() == "EPERM"
    assert scan(HERE, nodes.address(nodes.target), FROM_HERE) == FROM_HERE


def test_stop_and_start_keep_the_rules(nodes: Nodes) -> None:
    nodes.account.ec2.stop_instances(InstanceIds=[nodes.target])
    nodes.account.wait(nodes.target, "stopped")
    # What changes meanwhile holds from the start.
    with nodes.rule("target", permission("udp", 2049, cidr=f"{HERE}/32")):
        nodes.account.ec2.start_instances(InstanceIds=[nodes.target])
        nodes.account.wait(nodes.target, "running")
        listen(nodes.target)
        from_here = {**FROM_HERE, "udp": [2049]}
        assert scan(HERE, nodes.address(nodes.target, "PublicIpAddress"), from_here) == from_here
    assert scan(nodes.peer, nodes.address(nodes.target), FROM_PEER) == FROM_PEER
    assert scan(nodes.stranger, nodes.address(nodes.target)) == {}


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (permission("tcp", 22, cidr=f"{HERE}/32"), "InvalidPermission.Duplicate"),
        (permission("tcp", 30, 20, cidr="0.0.0.0/0"), "InvalidParameterValue"),
        (permission("tcp", 20, 70000, cidr="0.0.0.0/0"), "InvalidParameterValue"),
        (permission("tcp", -1, cidr="0.0.0.0/0"), "InvalidParameterValue"),
        (permission("icpm", cidr="0.0.0.0/0"), "InvalidParameterValue"),
        (permission("tcp", 22, cidr="10.0.0.0/33"), "InvalidParameterValue"),
        (permission("tcp", 22, group="sg-0123456789abcdef0"), "InvalidGroup.NotFound"),
    ],
)
def test_refused_rules_change_nothing(nodes: Nodes, rule: dict[str, Any], code: str) -> None:
    target, fine = nodes.groups["target"], permission("tcp", 8888, cidr="0.0.0.0/0")
    with pytest.raises(ClientError, match=code):
        nodes.account.ec2.authorize_security_group_ingress(GroupId=target, IpPermissions=[fine, rule])
    held = nodes.account.ec2.describe_security_groups(GroupIds=[target])["SecurityGroups"][0]["IpPermissions"]
    assert [rule["FromPort"] for rule in held] == [22, 8080, 8649]


def test_rule_without_host_bits_and_description(nodes: Nodes) -> None:
    ec2, rule = nodes.account.ec2, permission("tcp", 8888, cidr="10.1.2.3/8")
    rule["UserIdGroupPairs"] = [{"GroupId": nodes.groups["target"], "Description": "each other"}]
    group_id = ec2.create_security_group(GroupName="kept", Description="kept")["GroupId"]
    made = ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[rule])["SecurityGroupRules"]
    assert {each.get("CidrIpv4") for each in made} == {"10.0.0.0/8", None}
    same = permission("tcp", 8888, group=nodes.groups["target"])
    with pytest.raises(ClientError, match=r"InvalidPermission\.Duplicate"):
        ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[same])
    ec2.revoke_security_group_ingress(GroupId=group_id, IpPermissions=[same])
    (left,) = ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0]["IpPermissions"]
    assert (left["IpRanges"], left["UserIdGroupPairs"]) == ([{"CidrIp": "10.0.0.0/8"}], [])


def test_group_that_a_rule_names_stays(nodes: Nodes) -> None:
    ec2 = nodes.account.ec2
    named = ec2.create_security_group(GroupName="named", Description="named")["GroupId"]
    with nodes.rule("target", permission("tcp", 8888, group=named)), pytest.raises(ClientError, match="Dependency"):
        ec2.delete_security_group(GroupId=named)
    ec2.delete_security_group(GroupId=named)
