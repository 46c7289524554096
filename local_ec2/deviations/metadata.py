# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an instance's metadata service knows. moto's own serves the same to everybody, and knows next to nothing."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import instances, tags
from moto.sts.models import sts_backends

from local_ec2 import policies
from local_ec2.deviations import patch
from local_ec2.deviations.cloud import Cloud
from local_ec2.metadata import Guest, Tree
from local_ec2.policies import Effect
from local_ec2.settings import ACCOUNT, REGION, LocalEC2Error

if TYPE_CHECKING:
    from local_ec2.deviations.instances import NodeInstance

TIME = "%Y-%m-%dT%H:%M:%SZ"
SESSION = timedelta(hours=6)
# As EC2: those who ask often see new credentials long before the old ones end.
RENEWAL = timedelta(hours=1)
TAG_KEY = re.compile(r"(?!(?:\.|\.\.|_index)$)[0-9a-zA-Z\-_+=,.@:]{1,255}")
CHOICES = {
    "HttpTokens": ("optional", "required"),
    "HttpEndpoint": ("enabled", "disabled"),
    "InstanceMetadataTags": ("enabled", "disabled"),
}
MAX_HOPS = 64


def install(cloud: Cloud) -> None:
    """Options of the metadata service: judged, kept when not named, and no tags that it cannot show."""

    def modify(backend: Any, instance_id: str, **given: Any) -> instances.MetadataOptions:
        options = backend.get_instance(instance_id).metadata_options
        names = {
            "HttpTokens": "http_tokens",
            "HttpPutResponseHopLimit": "hop_limit",
            "HttpEndpoint": "http_endpoint",
            "HttpProtocolIpv6": "http_protocol",
            "InstanceMetadataTags": "metadata_tags",
        }
        changed = {name: given[key] for name, key in names.items() if given.get(key) is not None}
        check_options(changed, backend.tags.get(instance_id, {}))
        for name, value in changed.items():
            setattr(options, re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower(), value)
        return options

    def create_tags(backend: Any, resource_ids: list[str], new: Mapping[str, str]) -> bool:
        for instance in filter(None, map(cloud.instances.get, resource_ids)):
            if instance.metadata_options.instance_metadata_tags == "enabled":
                check_tag_keys(new)
        return bool(tag(backend, resource_ids, new))

    patch.replace(instances.InstanceBackend, "modify_instance_metadata_options", modify)
    tag = patch.replace(tags.TagBackend, "create_tags", create_tags)


def check_options(options: Mapping[str, Any], tag_keys: Iterable[str]) -> None:
    """Refuse options that EC2 does not know, and tags in metadata that could not be paths."""
    for name, choices in CHOICES.items():
        if options.get(name, choices[0]) not in choices:
            message = f"Value ({options[name]}) for parameter {name} is invalid. Valid values: {', '.join(choices)}"
            raise EC2ClientError("InvalidParameterValue", message)
    hops = int(options.get("HttpPutResponseHopLimit", 1))
    if not 1 <= hops <= MAX_HOPS:
        message = f"Value ({hops}) for parameter HttpPutResponseHopLimit is invalid. Valid values: 1 to {MAX_HOPS}"
        raise EC2ClientError("InvalidParameterValue", message)
    if options.get("InstanceMetadataTags") == "enabled":
        check_tag_keys(tag_keys)


def check_tag_keys(keys: Iterable[str]) -> None:
    """Refuse keys that the service has no path for."""
    for key in keys:
        if not TAG_KEY.fullmatch(key):
            message = (
                f"'{key}' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{{1,255}}), "
                "and must not be a reserved name ('.', '..', '_index')"
            )
            raise EC2ClientError("InvalidParameterValue", message)


@dataclass(frozen=True)
class Notice:
    """Notice that a spot instance will be interrupted."""

    action: str
    at: datetime
    given: datetime


class RoleSessions:
    """The sessions of an instance's role, one after the other."""

    def __init__(self, assume: Callable[[str], Any], now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Note how a role is assumed, by its ARN."""
        self._assume = assume
        self._now = now
        self._kept: dict[str, tuple[datetime, Any]] = {}
        self._lock = threading.Lock()

    def get(self, role_arn: str) -> tuple[datetime, Any]:
        """Return since when there is a session, and the session; a new one after RENEWAL."""
        with self._lock:
            kept = self._kept.get(role_arn)
            if kept is None or self._now() - kept[0] >= RENEWAL:
                kept = self._kept[role_arn] = (self._now(), self._assume(role_arn))
            return kept


def assume(role_arn: str, instance_id: str) -> Any:
    """Assume a role as EC2 does for an instance."""
    return sts_backends[ACCOUNT]["aws"].assume_role(
        region_name=REGION,
        role_session_name=instance_id,
        role_arn=role_arn,
        policy="",
        duration=int(SESSION.total_seconds()),
        external_id="",
    )


def guest_at(cloud: Cloud, address: str) -> Guest | None:
    """Return what the service needs to answer the instance that has this private address."""
    instance = cloud.instance_at(address)
    if instance is None:
        return None
    options = instance.metadata_options
    return Guest(
        instance_id=instance.id,
        enabled=options.http_endpoint == "enabled",
        token_required=options.http_tokens == "required",
        hop_limit=int(options.http_put_response_hop_limit),
        tree=tree(instance),
    )


def tree(instance: NodeInstance) -> Tree:
    """Return all that the instance can ask for."""
    data = base64.b64decode(str(instance.user_data or ""))
    return {
        "dynamic": {"instance-identity": {"document": json.dumps(_identity(instance), indent=2)}},
        "meta-data": _meta_data(instance),
        "user-data": data or None,
    }


def _identity(instance: NodeInstance) -> dict[str, Any]:
    return {
        "accountId": ACCOUNT,
        "architecture": instance.architecture,
        "availabilityZone": instance.availability_zone,
        "billingProducts": None,
        "devpayProductCodes": None,
        "marketplaceProductCodes": None,
        "imageId": instance.image_id,
        "instanceId": instance.id,
        "instanceType": instance.instance_type,
        "kernelId": None,
        "pendingTime": instance.launch_time.strftime(TIME),
        "privateIp": instance.private_ip,
        "ramdiskId": None,
        "region": instance.region_name,
        "version": "2017-09-30",
    }


def _meta_data(instance: NodeInstance) -> dict[str, Any]:
    nic = instance.nics[0]
    tagged = instance.ec2_backend.tags.get(instance.id, {})
    shows_tags = instance.metadata_options.instance_metadata_tags == "enabled"
    notice = instance.notice
    key = instance.ec2_backend.key_pairs.get(instance.key_name)
    everything = {
        "ami-id": instance.image_id,
        "ami-launch-index": str(instance.ami_launch_index),
        "ami-manifest-path": "(unknown)",
        "block-device-mapping": _block_devices(instance),
        "events": _rebalance(notice),
        "hostname": instance.private_dns_name,
        "iam": _iam(instance),
        "instance-action": "none",
        "instance-id": instance.id,
        "instance-life-cycle": instance.lifecycle or "on-demand",
        "instance-type": instance.instance_type,
        "local-hostname": instance.private_dns_name,
        "local-ipv4": instance.private_ip,
        "mac": nic.mac_address,
        "network": {"interfaces": {"macs": {nic.mac_address: _interface(instance)}}},
        "placement": {"availability-zone": instance.availability_zone, "region": instance.region_name},
        "profile": "default-hvm",
        "public-hostname": instance.public_dns_name or None,
        "public-ipv4": instance.public_ip,
        "public-keys": {"": f"0={key.key_name}", "0": {"openssh-key": f"{key.public_key.strip()}\n"}} if key else None,
        "reservation-id": _reservation(instance),
        "security-groups": "\n".join(group.name for group in nic.group_set),
        "services": {"domain": "amazonaws.com", "partition": "aws"},
        "spot": _spot(notice),
        "tags": {"instance": dict(tagged)} if shows_tags else None,
    }
    return {name: value for name, value in everything.items() if value is not None}


def _block_devices(instance: NodeInstance) -> dict[str, str]:
    others = (name for name in instance.block_device_mapping if name != instance.root_device_name)
    volumes = {f"ebs{number}": name for number, name in enumerate(others, start=1)}
    return {"ami": instance.root_device_name, **volumes, "root": instance.root_device_name}


def _interface(instance: NodeInstance) -> dict[str, str | None]:
    nic = instance.nics[0]
    vpc = instance.ec2_backend.get_vpc(instance.vpc_id)
    return {
        "device-number": "0",
        "interface-id": nic.id,
        "local-hostname": instance.private_dns_name,
        "local-ipv4s": instance.private_ip,
        "mac": nic.mac_address,
        "owner-id": ACCOUNT,
        "public-hostname": instance.public_dns_name or None,
        "public-ipv4s": instance.public_ip,
        "security-group-ids": "\n".join(group.id for group in nic.group_set),
        "security-groups": "\n".join(group.name for group in nic.group_set),
        "subnet-id": nic.subnet.id,
        "subnet-ipv4-cidr-block": nic.subnet.cidr_block,
        "vpc-id": vpc.id,
        "vpc-ipv4-cidr-block": vpc.cidr_block,
        "vpc-ipv4-cidr-blocks": vpc.cidr_block,
    }


def _reservation(instance: NodeInstance) -> str | None:
    reservations = instance.ec2_backend.reservations.values()
    return next((found.id for found in reservations if instance in found.instances), None)


def _iam(instance: NodeInstance) -> Tree | None:
    association = instance.ec2_backend.iam_instance_profile_associations.get(instance.id)
    if association is None:
        return None
    profile = association.iam_instance_profile

    def info() -> str:
        now = datetime.now(UTC).strftime(TIME)
        about = {"InstanceProfileArn": profile.arn, "InstanceProfileId": profile.id}
        return json.dumps({"Code": "Success", "LastUpdated": now, **about}, indent=2)

    credentials = {role.name: partial(role_credentials, role, instance.role_sessions) for role in profile.roles}
    return {"info": info, "security-credentials": credentials}


def role_credentials(role: Any, sessions: RoleSessions) -> str:
    """Return the credentials of a role, or that its trust policy does not name EC2."""
    trust = [json.loads(role.assume_role_policy_document)]
    ec2 = frozenset({"ec2.amazonaws.com"})
    if policies.judge(trust, "sts:AssumeRole", role.arn, {}, ec2) is not Effect.ALLOW:
        message = (
            f"EC2 cannot assume the role {role.name}. Its trust policy has to allow ec2.amazonaws.com sts:AssumeRole."
        )
        now = datetime.now(UTC).strftime(TIME)
        return json.dumps({"Code": "AssumeRoleUnauthorizedAccess", "Message": message, "LastUpdated": now}, indent=2)
    since, session = sessions.get(role.arn)
    found = {
        "Code": "Success",
        "LastUpdated": since.strftime(TIME),
        "Type": "AWS-HMAC",
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret_access_key,
        "Token": session.session_token,
        "Expiration": session.expiration.strftime(TIME),
    }
    return json.dumps(found, indent=2)


def _spot(notice: Notice | None) -> Tree | None:
    if notice is None:
        return None
    at = notice.at.strftime(TIME)
    return {
        "instance-action": json.dumps({"action": notice.action, "time": at}),
        "termination-time": at if notice.action == "terminate" else None,
    }


def _rebalance(notice: Notice | None) -> Tree | None:
    if notice is None:
        return None
    return {"recommendations": {"rebalance": json.dumps({"noticeTime": notice.given.strftime(TIME)})}}


def give_notice(cloud: Cloud, request: dict[str, Any]) -> str:
    """Handle ``spot-notice``: tell an instance that it will be interrupted, and interrupt it then."""
    instance, now = cloud.instances.get(request["instance"]), datetime.now(UTC)
    if instance is None or instance.state != "running":
        raise LocalEC2Error(f"there is no running instance {request['instance']}")
    at = now + timedelta(seconds=request["seconds"])
    notice = instance.notice = Notice(request["action"], at, now)
    timer = threading.Timer(request["seconds"], instance.interrupt, (notice,))
    timer.daemon = True
    timer.start()
    return f"{instance.id} has been told that EC2 will {notice.action} it at {at.strftime(TIME)}"
