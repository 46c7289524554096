# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where moto's EC2 is not like EC2, or not safe here. All of it is in this module; each item says why.

Every attribute of moto that is replaced must exist, so that a moto that has moved on fails at ``up`` rather than lies.
"""

from __future__ import annotations

import base64
import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any, ClassVar

from moto.core.responses import ActionResult
from moto.core.types import Base64EncodedString
from moto.core.utils import utcnow
from moto.ec2.exceptions import DependencyViolationError, EC2ClientError, InvalidAMIIdError
from moto.ec2.models import (
    amis,
    elastic_ip_addresses,
    elastic_network_interfaces,
    instances,
    security_groups,
    subnets,
    vpcs,
)
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.responses._base_response import EC2BaseResponse
from moto.ec2.responses.general import General
from moto.ec2.responses.instances import InstanceResponse

from local_ec2.addresses import AddressError, AddressPool
from local_ec2.network import mac
from local_ec2.nodes import Nodes, NodeSpec
from local_ec2.settings import Settings
from local_ec2.tokens import TokenMismatchError, TokenStore

STATES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
# What moto notes for a request without a client token.
NO_TOKEN = "ABCDE"  # noqa: S105
USER_DATA_BYTES = 16 * 1024
ROOT_GIB, ROOT_TYPE = 8, "gp3"


@dataclass
class Cloud:
    """What the API acts on."""

    settings: Settings
    nodes: Nodes
    images: dict[str, str]
    tokens: TokenStore = field(default_factory=TokenStore)

    def __post_init__(self) -> None:
        """Make what all regions share: there is one machine behind them."""
        self.launching = threading.Lock()
        self.private = AddressPool(self.settings.vpc_cidr)
        self.public = AddressPool(self.settings.public_cidr)


def install(cloud: Cloud) -> None:
    """Make moto act on ``cloud``; before the first request."""
    NodeInstance.cloud = cloud
    replace(instances, "Instance", NodeInstance)
    _install_addresses(cloud)
    _install_run_instances(cloud)
    _install_console(cloud)
    _install_images()
    _install_dependencies()


def replace(owner: Any, name: str, new: Any) -> Any:
    """Put ``new`` in the place of ``owner.name``, return what was there; AttributeError when nothing was."""
    old = getattr(owner, name)
    setattr(owner, name, new)
    return old


class NodeInstance(instances.Instance):
    """An instance with a node behind it. moto's own is running, stopped and terminated the moment it is asked to."""

    cloud: ClassVar[Cloud]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Be pending; interfaces made for this instance go with it, as EC2's default is (moto leaves them behind)."""
        super().__init__(*args, **kwargs)
        self.has_run = False
        self._become("pending")
        # EC2 shows the groups of the first interface; moto only those named for the instance itself.
        self.security_groups = list(self.nics[0]._group_set)
        if self.client_token == NO_TOKEN:
            self.client_token = ""
        given = {nic.get("NetworkInterfaceId") for nic in kwargs.get("nics") or ()}
        for nic in self.nics.values():
            nic.delete_on_termination = nic.delete_on_termination or nic.id not in given
            nic.mac_address = mac(str(nic.private_ip_address))

    def _become(self, state: str) -> None:
        self._state = instances.InstanceState(state, STATES[state])

    def _refuse(self, verb: str) -> EC2ClientError:
        message = f"The instance '{self.id}' is not in a state from which it can be {verb}."
        return EC2ClientError("IncorrectInstanceState", message)

    def setup_defaults(self) -> None:
        """Attach the image's root volume by its device name (moto: always 8 GiB of standard as /dev/sda1)."""
        zone = self._placement.zone
        volume = self.ec2_backend.create_volume(size=ROOT_GIB, zone_name=zone, volume_type=ROOT_TYPE)
        self.ec2_backend.attach_volume(volume.id, self.id, self.root_device_name, True)

    def node_spec(self) -> NodeSpec:
        """Return what the node is made of."""
        hardware = INSTANCE_TYPES[self.instance_type]
        key = self.ec2_backend.key_pairs.get(self.key_name)
        return NodeSpec(
            instance_id=self.id,
            image=self.cloud.images[self.image_id],
            hostname=self.private_dns_name,
            private_ip=str(self.private_ip),
            memory_mib=hardware["MemoryInfo"]["SizeInMiB"],
            vcpus=hardware["VCpuInfo"]["DefaultVCpus"],
            public_keys=[key.public_key.strip()] if key else [],
            user_data=base64.b64decode(str(self.user_data or "")),
        )

    def start(self) -> instances.InstanceState:
        """Start the node under a new public address and, as EC2 does, with a new launch time."""
        previous = copy.copy(self._state)
        if previous.name in ("stopping", "shutting-down", "terminated"):
            raise self._refuse("started")
        if previous.name == "stopped":
            for nic in self.nics.values():
                nic.start()
            self.launch_time = utcnow()
            self._explain("", "", "")
            self._become("pending")
            self.cloud.nodes.start(self.id, self.public_ip)
        return previous

    def stop(self) -> instances.InstanceState:
        """Have the node shut down; it is stopped when its init has ended."""
        previous = copy.copy(self._state)
        if previous.name in ("pending", "shutting-down", "terminated"):
            raise self._refuse("stopped")
        if previous.name == "running":
            self._become("stopping")
            self.cloud.nodes.stop(self.id)
        return previous

    def terminate(self) -> instances.InstanceState:
        """Have the node removed; volumes and interfaces follow when it is away."""
        previous = copy.copy(self._state)
        if previous.name not in ("shutting-down", "terminated"):
            self._become("shutting-down")
            self.cloud.nodes.terminate(self.id)
        return previous

    def reboot(self) -> None:
        """Have the node reboot; EC2 calls it running all the time."""
        if self.state != "running":
            raise self._refuse("rebooted")
        self.cloud.nodes.reboot(self.id)

    def node_running(self) -> None:
        """Say so, unless something else was asked for meanwhile."""
        self.has_run = True
        if self.state == "pending":
            self._become("running")

    def node_stopped(self, *, asked: bool) -> None:
        """Be stopped, or terminated when the node shut itself down and was launched to end so."""
        if not asked and self.instance_initiated_shutdown_behavior == "terminate":
            self.terminate()
            return
        self._release_public_ip()
        who = "User" if asked else "Instance"
        self._explain(f"Client.{who}InitiatedShutdown", f"{who} initiated shutdown", f"{who} initiated")
        if self.state != "shutting-down":
            self._become("stopped")

    def node_gone(self) -> None:
        """Be terminated, with all that moto does then."""
        self._release_public_ip()
        reason = self.state_reason if self.state_reason.code.startswith("Server.") else None
        super().terminate()
        self.state_reason = reason or self.state_reason

    def node_failed(self, reason: str) -> None:
        """Be terminated at launch, stopped again at start, and say why."""
        if self.has_run:
            self._release_public_ip()
            self._become("stopped")
        elif self.state == "pending":
            self.terminate()
        self._explain("Server.InternalError", f"Internal error on launch: {reason}", "Server.InternalError")

    def _explain(self, code: str, message: str, reason: str) -> None:
        self.state_reason = instances.StateReason(f"{code}: {message}" if code else "", code)
        self._reason = f"{reason} ({utcnow():%Y-%m-%d %H:%M:%S UTC})" if reason else ""

    def _release_public_ip(self) -> None:
        for nic in self.nics.values():
            address = nic.public_ip
            nic.stop()
            if address and not nic.public_ip:
                self.cloud.public.release(address)

    @property
    def private_ip(self) -> str | None:
        """None once terminated: another instance may have the address by then."""
        return None if self.state == "terminated" else super().private_ip

    @property
    def private_ip_address(self) -> str | None:
        """As private_ip."""
        return self.private_ip

    @property
    def private_dns_name(self) -> str:
        """Empty once terminated."""
        return super().private_dns_name if self.private_ip else ""

    @property
    def network_interfaces(self) -> list[Any]:
        """None of them once terminated."""
        return [] if self.state == "terminated" else super().network_interfaces

    @property
    def public_dns_name(self) -> str:
        """The public address itself: a name under amazonaws.com would be asked for outside this machine."""
        return self.public_ip or ""


def _install_addresses(cloud: Cloud) -> None:
    """Give out our own addresses: moto's are random, may repeat, and the public ones belong to strangers."""

    def create_default_vpc(backend: Any) -> Any:
        vpc = backend.create_vpc(cidr_block=str(cloud.settings.vpc_cidr), is_default=True)
        for zone in backend.describe_availability_zones():
            backend.create_default_subnet(zone.name)
        return vpc

    def random_private_ip(cidr: str | None = None, ipv6: bool = False) -> str:
        if ipv6:
            raise unsupported("IPv6 addresses")
        network = IPv4Network(cidr) if cidr else cloud.settings.vpc_cidr
        return as_ec2(lambda: cloud.private.take(network))

    def random_public_ip() -> str:
        return as_ec2(lambda: cloud.public.take(cloud.settings.public_cidr))

    def allocate_address(*_args: Any, **_kwargs: Any) -> None:
        raise unsupported("Elastic IP addresses")

    replace(vpcs.VPCBackend, "create_default_vpc", create_default_vpc)
    replace(elastic_network_interfaces, "random_private_ip", random_private_ip)
    replace(elastic_network_interfaces, "random_public_ip", random_public_ip)
    replace(instances, "random_private_ip", random_private_ip)
    replace(elastic_ip_addresses.ElasticAddressBackend, "allocate_address", allocate_address)
    _install_subnets(cloud.private)


def _install_subnets(pool: AddressPool) -> None:
    """Subnets: addresses out of the pool; a taken one that was asked for is EC2's error (moto: status 500)."""

    def get_available_subnet_ip(subnet: Any, instance: Any) -> str:
        address = as_ec2(lambda: pool.take(subnet.cidr))
        subnet._subnet_ips[address] = instance
        return address

    def request_ip(subnet: Any, ip: str, instance: Any) -> None:
        as_ec2(lambda: pool.claim(ip, subnet.cidr))
        subnet._subnet_ips[ip] = instance

    def del_subnet_ip(subnet: Any, ip: str) -> None:
        if subnet._subnet_ips.pop(ip, None) is not None:
            pool.release(ip)

    replace(subnets.Subnet, "get_available_subnet_ip", get_available_subnet_ip)
    replace(subnets.Subnet, "request_ip", request_ip)
    replace(subnets.Subnet, "del_subnet_ip", del_subnet_ip)


def unsupported(what: str) -> EC2ClientError:
    """Return the API's error for what is not emulated."""
    return EC2ClientError("UnsupportedOperation", f"Local EC2 has no {what}")


def as_ec2(act: Callable[[], Any]) -> Any:
    """Return what ``act`` returns; an AddressError becomes the API's."""
    try:
        return act()
    except AddressError as error:
        raise EC2ClientError(error.code, str(error)) from error


def _install_run_instances(cloud: Cloud) -> None:
    """RunInstances: client tokens, MaxCount, bootable images only, and a node for each instance."""

    def respond(response: Any) -> ActionResult:
        parameters = {key: value for key, value in response.params.items() if key != "ClientToken"}
        # moto launches the least that would do, EC2 the most that it can.
        response.params["MinCount"] = response.params.get("MaxCount", 1)
        token = response.params.get("ClientToken")
        if not token or response.params.get("DryRun"):
            return answer(response)
        key = (response.current_account, response.region, token)
        try:
            return cloud.tokens.once(key, parameters, lambda: answer(response))
        except TokenMismatchError:
            message = (
                "Arguments on this idempotent request are inconsistent with arguments used in previous request(s)."
            )
            raise EC2ClientError("IdempotentParameterMismatch", message) from None

    def run_instances(backend: Any, image_id: str, count: int, user_data: Any, names: Any, **kwargs: Any) -> Any:
        template = kwargs.get("launch_template")
        ami = image_id or (backend._get_template_from_args(template).image_id if template else None)
        check_launchable(cloud, ami, kwargs["instance_type"], user_data)
        choose_subnet(backend, kwargs)
        with cloud.launching:
            known = set(backend.reservations)
            try:
                reservation = launch(backend, image_id, count, user_data, names, **kwargs)
            except Exception:
                forget(backend, set(backend.reservations) - known)
                raise
        for instance in reservation.instances:
            cloud.nodes.launch(instance.node_spec(), instance.public_ip, instance)
        return reservation

    answer = replace(InstanceResponse, "run_instances", respond)
    launch = replace(instances.InstanceBackend, "run_instances", run_instances)
    # moto calls every instance in an answer to RunInstances pending; with a token it may be in any state.
    del EC2BaseResponse.RESPONSE_KEY_PATH_TO_TRANSFORMER["RunInstances.Reservation.Instances.Instance.State"]


def forget(backend: Any, reservations: set[str]) -> None:
    """Undo launches that failed half-way; EC2 launches all or nothing, moto leaves what it has made so far."""
    for reservation in reservations:
        for instance in backend.reservations.pop(reservation).instances:
            instance.node_gone()


def choose_subnet(backend: Any, launch: dict[str, Any]) -> None:
    """Launch into the zone's default subnet when none is named (moto then gives addresses of none)."""
    named = [launch.get("subnet_id"), *(nic.get("SubnetId") for nic in launch.get("nics") or ())]
    if not any(named):
        zone = launch.get("placement") or f"{backend.region_name}a"
        default = backend.get_default_subnets().get(zone)
        launch["subnet_id"] = default.id if default else None


def check_launchable(cloud: Cloud, ami: str | None, instance_type: str, user_data: Base64EncodedString | None) -> None:
    """Refuse what EC2 refuses, and images that have no node image behind them."""
    if ami not in cloud.images:
        raise InvalidAMIIdError(ami or "")
    if len(base64.b64decode(str(user_data or ""))) > USER_DATA_BYTES:
        raise EC2ClientError("InvalidParameterValue", f"User data is limited to {USER_DATA_BYTES} bytes")
    architectures = INSTANCE_TYPES.get(instance_type, {}).get("ProcessorInfo", {}).get("SupportedArchitectures", [])
    if architectures and "x86_64" not in architectures:
        message = (
            f"The architecture '{architectures[0]}' of the specified instance type does not match the architecture "
            "'x86_64' of the specified AMI."
        )
        raise EC2ClientError("InvalidParameterValue", message)


def _install_console(cloud: Cloud) -> None:
    """GetConsoleOutput: the node's own (moto's is canned)."""

    def get_console_output(response: Any) -> ActionResult:
        instance = response.ec2_backend.get_instance(response._get_param("InstanceId"))
        output = Base64EncodedString.from_raw_string(cloud.nodes.console(instance.id))
        return ActionResult({"InstanceId": instance.id, "Timestamp": utcnow(), "Output": output})

    replace(General, "get_console_output", get_console_output)


def _install_images() -> None:
    """DescribeImages: a root volume as Debian's images have it (moto: 15 GiB of standard that outlive the instance)."""

    def block_device_mappings(image: Any) -> list[dict[str, Any]]:
        ebs = {"VolumeSize": ROOT_GIB, "VolumeType": ROOT_TYPE, "DeleteOnTermination": True, "Encrypted": False}
        return [{"DeviceName": image.root_device_name, "Ebs": {**ebs, "SnapshotId": image.ebs_snapshot.id}}]

    replace(amis.Ami, "block_device_mappings", property(block_device_mappings))


def _install_dependencies() -> None:
    """DeleteSecurityGroup: refused while an interface has the group (moto deletes it under running instances)."""

    def delete(backend: Any, vpc_id: str | None, group_id: str) -> None:
        if any(group.id == group_id for nic in backend.enis.values() for group in nic.group_set):
            raise DependencyViolationError(f"resource {group_id} has a dependent object")
        delete_group(backend, vpc_id, group_id)

    delete_group = replace(security_groups.SecurityGroupBackend, "_delete_security_group", delete)
