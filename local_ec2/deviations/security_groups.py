# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Security groups."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import (
    DependencyViolationError,
    EC2ClientError,
    InvalidParameterValue,
    InvalidPermissionDuplicateError,
    InvalidSecurityGroupNotFoundError,
)
from moto.ec2.models import security_groups
from moto.ec2.models.elastic_network_interfaces import NetworkInterface, NetworkInterfaceBackend
from moto.ec2.models.instances import InstanceBackend
from moto.ec2.models.managed_prefixes import ManagedPrefixListBackend
from moto.ec2.models.security_groups import SecurityGroupBackend
from moto.ec2.responses.security_groups import SecurityGroups
from moto.ec2.utils import is_valid_cidr

from local_ec2.deviations import patch
from local_ec2.deviations.cloud import Cloud
from local_ec2.firewall import ALL, ANY, ICMP, PORTS, Rule, ruleset

RULES = [f"{verb}_security_group_{way}" for verb in ("authorize", "revoke") for way in ("ingress", "egress")]
# What changes the rules or the members of a group.
CHANGES = {
    SecurityGroups: [*RULES, "modify_security_group_rules"],
    InstanceBackend: ["run_instances", "modify_instance_security_groups"],
    NetworkInterfaceBackend: ["modify_network_interface_attribute", "delete_network_interface"],
    ManagedPrefixListBackend: ["modify_managed_prefix_list"],
}


def install(cloud: Cloud) -> None:
    """Have the groups filter packets (moto only notes them), and mend their API where it is not EC2's."""
    patch.replace(security_groups, "SecurityGroupRule", GroupRule)
    for action in RULES:
        patch.replace(SecurityGroups, action, change_rules(action))
    _install_modification()
    _install_default_group()
    _install_deletion()
    _install_interfaces()
    for owner, names in CHANGES.items():
        for name in names:
            patch.replace(owner, name, enforced(cloud, getattr(owner, name)))


def enforced(cloud: Cloud, act: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``act``, followed by an update of the nodes' firewalls: a change holds when it is answered."""

    @functools.wraps(act)
    def then_update(*args: Any, **kwargs: Any) -> Any:
        result = act(*args, **kwargs)
        cloud.nodes.firewalls.update()
        return result

    return then_update


class GroupRule(security_groups.SecurityGroupRule):
    """A rule as EC2 keeps it: checked, without host bits, and the same whatever its description says."""

    def __init__(
        self,
        ec2_backend: Any,
        ip_protocol: str,
        group_id: str,
        from_port: int | str | None,
        to_port: int | str | None,
        *peer: Any,
        **options: Any,
    ) -> None:
        """Refuse what EC2 refuses (moto takes any protocol and port, and trips over ports that are not there)."""
        first, last = (ANY if port is None else int(port) for port in (from_port, to_port))
        super().__init__(ec2_backend, ip_protocol, group_id, str(first), str(last), *peer, **options)
        self.rule = (str(self.ip_protocol), first, last)
        if self.ip_protocol in PORTS and not 0 <= first <= last <= 65535:
            problem = "Must specify both from and to ports with TCP/UDP."
            raise InvalidParameterValue(f"Invalid value '{first}-{last}' for portRange. {problem}")
        if self.ip_protocol not in (ALL, *PORTS, *ICMP, *map(str, range(256))):
            raise InvalidParameterValue(f"Invalid value '{ip_protocol}' for IP protocol. Unknown protocol.")
        if is_valid_cidr(self.cidr_ipv4 or ""):
            self.ip_range = {**self.ip_range, "CidrIp": str(IPv4Network(self.cidr_ipv4, strict=False))}

    def _matches(self) -> tuple[Any, ...]:
        peer = (self.cidr_ipv4, self.cidr_ipv6, self.source_group.get("GroupId"), self.prefix_list_id)
        return (self.ip_protocol, self.from_port, self.to_port, *peer)

    def __eq__(self, other: object) -> bool:
        """Tell whether both let the same through (moto: not when a group's description is another one)."""
        return isinstance(other, GroupRule) and self._matches() == other._matches()

    __hash__ = None  # type: ignore[assignment]

    def passes(self) -> Iterator[Rule]:
        """Yield what nodes are to let through; of IPv6, which no node has, nothing."""
        protocol, first, last = self.rule
        for peer in self._peers():
            yield Rule(protocol, first, last, peer)

    def _peers(self) -> Iterator[IPv4Network | str]:
        if self.cidr_ipv4:
            yield IPv4Network(self.cidr_ipv4)
        if self.source_group:
            yield self.source_group["GroupId"]
        if self.prefix_list_id:
            *_older, entries = self.ec2_backend.managed_prefix_lists[self.prefix_list_id].entries.values()
            yield from (IPv4Network(entry["Cidr"]) for entry in entries)


def firewall_of(interface: Any, public: IPv4Network) -> str:
    """Return the ruleset that an interface's groups make together."""
    interfaces = list(interface.ec2_backend.enis.values())

    def members(group_id: str) -> Iterator[str]:
        for other in interfaces:
            if any(group.id == group_id for group in other.group_set):
                yield from (address["PrivateIpAddress"] for address in other.private_ip_addresses)

    groups = list(interface.group_set)
    ingress = [rule for group in groups for held in group.ingress_rules for rule in held.passes()]
    egress = [rule for group in groups for held in group.egress_rules for rule in held.passes()]
    return ruleset(ingress, egress, members, public)


@contextmanager
def whole(backend: Any, group_id: str) -> Iterator[Any]:
    """Change a group's rules wholly or not at all (moto keeps what came before the one that it refuses)."""
    group = known_group(backend, group_id)
    before = copy.deepcopy((group.ingress_rules, group.egress_rules))
    try:
        yield group
    except Exception:
        group.ingress_rules, group.egress_rules = before
        raise


def known_group(backend: Any, id_or_name: str) -> Any:
    """Return a group; where moto invents an unknown one or trips over it, raise EC2's error."""
    group = backend.get_security_group_by_name_or_id(id_or_name)
    if group is None:
        raise InvalidSecurityGroupNotFoundError(id_or_name)
    return group


def change_rules(action: str) -> Callable[[Any], ActionResult]:
    """Authorize or revoke; the answer has all rules that were made (moto: those of the last permission)."""

    def respond(response: Any) -> ActionResult:
        response.error_on_dryrun()
        requests = list(response._process_rules_from_querystring())
        made: list[Any] = []
        with whole(response.ec2_backend, requests[0]["group_name_or_id"]):
            for request in requests:
                if action.startswith("authorize"):
                    made += getattr(response.ec2_backend, action)(**request)[0]
                else:
                    del request["sgrule_tags"]
                    getattr(response.ec2_backend, action)(**request)
        return ActionResult({"Return": True, "SecurityGroupRules": made} if made else {"Return": True})

    return respond


def _install_modification() -> None:
    """ModifySecurityGroupRules: for groups and prefix lists too, and without ports where all protocols are meant."""

    def modify(backend: Any, group_id: str, changes: dict[str, dict[str, Any]]) -> None:
        with whole(backend, group_id) as group:
            for given in changes.values():
                if given.get("IpProtocol") == ALL:
                    given.update(FromPort=ANY, ToPort=ANY)
            modify_rules(backend, group_id, changes)
            for rule_id, given in changes.items():
                old = group.get_rule(rule_id)
                rules = group.egress_rules if old.is_egress else group.ingress_rules
                new = modified(old, given)
                if any(rule == new for rule in rules if rule is not old):
                    raise InvalidPermissionDuplicateError
                rules[:] = [new if rule is old else rule for rule in rules]

    modify_rules = patch.replace(SecurityGroupBackend, "modify_security_group_rules", modify)


def modified(rule: Any, given: dict[str, Any]) -> GroupRule:
    """Return what becomes of a rule whose network moto has changed already; another kind of peer is refused."""
    group, prefix_list = given.get("ReferencedGroupId"), given.get("PrefixListId")
    if (bool(group), bool(prefix_list)) != (bool(rule.source_group), bool(rule.prefix_list_id)):
        raise InvalidParameterValue(f"Invalid rule type for security group rule '{rule.id}'.")
    matches = given["IpProtocol"], rule.group_id, given["FromPort"], given["ToPort"]
    new = GroupRule(rule.ec2_backend, *matches, rule.ip_range, is_egress=rule.is_egress)
    if group:
        new.source_group = {**rule.source_group, "GroupId": known_group(rule.ec2_backend, group).id}
    new.id, new.prefix_list_id = rule.id, prefix_list
    return new


def _install_default_group() -> None:
    """The default group: lets its own members in (moto: nobody), and cannot be deleted."""

    def create(backend: Any, *args: Any, **kwargs: Any) -> Any:
        group = create_group(backend, *args, **kwargs)
        if group.is_default:
            itself = [{"GroupId": group.id}]
            backend.authorize_security_group_ingress(group.id, ALL, ANY, ANY, [], source_groups=itself)
        return group

    def delete(response: Any) -> ActionResult:
        group = known_group(response.ec2_backend, response._get_param("GroupId") or response._get_param("GroupName"))
        if group.is_default:
            message = f'the specified group: "{group.id}" name: "{group.name}" cannot be deleted by a user'
            raise EC2ClientError("CannotDelete", message)
        return delete_group(response)

    create_group = patch.replace(SecurityGroupBackend, "create_security_group", create)
    delete_group = patch.replace(SecurityGroups, "delete_security_group", delete)


def _install_deletion() -> None:
    """DeleteSecurityGroup: refused while an interface has the group or another group's rule names it (moto: never)."""

    def delete(backend: Any, vpc_id: str | None, group_id: str) -> None:
        others = [group for groups in backend.groups.values() for group in groups.values() if group.id != group_id]
        rules = (rule for group in others for rule in (*group.ingress_rules, *group.egress_rules))
        members = (group.id for nic in backend.enis.values() for group in nic.group_set)
        if group_id in members or any(rule.source_group.get("GroupId") == group_id for rule in rules):
            raise DependencyViolationError(f"resource {group_id} has a dependent object")
        delete_group(backend, vpc_id, group_id)

    delete_group = patch.replace(SecurityGroupBackend, "_delete_security_group", delete)


def _install_interfaces() -> None:
    """An instance has the groups of its first interface, known ones only (moto adds new to old, makes up unknown)."""

    def create(backend: Any, *args: Any, group_ids: list[str] | None = None, **kwargs: Any) -> Any:
        for group_id in group_ids or []:
            known_group(backend, group_id)
        return create_interface(backend, *args, group_ids=group_ids, **kwargs)

    def modify(backend: Any, eni_id: str, group_ids: list[str], *attributes: Any) -> None:
        for group_id in group_ids:
            known_group(backend, group_id)
        modify_interface(backend, eni_id, group_ids, *attributes)
        interface = backend.get_network_interface(eni_id)
        if interface.instance and interface.device_index == 0:
            interface.instance.security_groups = list(interface._group_set)

    def modify_instance(backend: Any, instance_id: str, group_ids: list[str]) -> Any:
        instance = backend.get_instance(instance_id)
        modify(backend, instance.nics[0].id, group_ids)
        return instance

    patch.replace(NetworkInterface, "group_set", property(lambda interface: interface._group_set))
    create_interface = patch.replace(NetworkInterfaceBackend, "create_network_interface", create)
    modify_interface = patch.replace(NetworkInterfaceBackend, "modify_network_interface_attribute", modify)
    patch.replace(InstanceBackend, "modify_instance_security_groups", modify_instance)
