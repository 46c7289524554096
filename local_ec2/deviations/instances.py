# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances: their states follow nodes."""

from __future__ import annotations

import base64
import copy
from functools import partial
from typing import Any, ClassVar

from moto.core.utils import utcnow
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import instances
from moto.ec2.models.instance_types import INSTANCE_TYPES

from local_ec2.deviations import patch
from local_ec2.deviations.cloud import Cloud
from local_ec2.deviations.metadata import Notice, RoleSessions, assume
from local_ec2.deviations.security_groups import firewall_of
from local_ec2.disks import Disk
from local_ec2.network import mac
from local_ec2.nodes import BootFault, NodeSpec
from local_ec2.podman import remove_image

STATES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
# What moto notes for a request without a client token.
NO_TOKEN = "ABCDE"  # noqa: S105


def install(cloud: Cloud) -> None:
    """Make every instance one with a node behind it."""
    NodeInstance.cloud = cloud
    patch.replace(instances, "Instance", NodeInstance)


class NodeInstance(instances.Instance):
    """An instance with a node behind it. moto's own is running, stopped and terminated the moment it is asked to."""

    cloud: ClassVar[Cloud]
    boot_fault: BootFault | None = None
    visible_from: float = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Be pending; interfaces made for this instance go with it, as EC2's default is (moto leaves them behind)."""
        super().__init__(*args, **kwargs)
        self.has_run = False
        self.notice: Notice | None = None
        self.role_sessions = RoleSessions(partial(assume, instance_id=self.id))
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

    def volumes(self) -> list[Disk]:
        """Return the volumes but for the root volume, which is the container's file system; wait for data of theirs."""
        devices = (block for name, block in self.get_block_device_mapping if name != self.root_device_name)
        attached = [self.ec2_backend.get_volume(block.volume_id) for block in devices]
        for volume in attached:
            if volume.copied:
                volume.copied.join()
        return [volume.disk for volume in attached]

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
            store_sizes=store_sizes(hardware),
            public_keys=[key.public_key.strip()] if key else [],
            user_data=base64.b64decode(str(self.user_data or "")),
            fault=self.boot_fault,
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
            self.notice = None
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

    def interrupt(self, notice: Notice) -> None:
        """Take a spot instance back, if this notice still holds."""
        if self.notice is notice and self.state == "running":
            end, name = (self.stop, "Shutdown") if notice.action == "stop" else (self.terminate, "Termination")
            self._explain(f"Server.SpotInstance{name}", "Spot interruption", f"Server.SpotInstance{name}")
            end()

    def firewall(self) -> str:
        """Return the rules of its interface's security groups."""
        return firewall_of(self.nics[0], self.cloud.settings.public_cidr)

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
        if not self._ended_by_server:
            self._explain(f"Client.{who}InitiatedShutdown", f"{who} initiated shutdown", f"{who} initiated")
        if self.state != "shutting-down":
            self._become("stopped")

    def node_gone(self) -> None:
        """Be terminated, with all that moto does then."""
        self._release_public_ip()
        if self.image_id in self.ec2_backend.deleted_amis:
            remove_image(self.cloud.settings.image(self.image_id))
        reason = self.state_reason if self._ended_by_server else None
        super().terminate()
        self.state_reason = reason or self.state_reason
        self.cloud.instances.pop(self.id, None)

    def node_failed(self, reason: str) -> None:
        """Be terminated at launch, stopped again at start, and say why."""
        if self.has_run:
            self._release_public_ip()
            self._become("stopped")
        elif self.state == "pending":
            self.terminate()
        self._explain("Server.InternalError", f"Internal error on launch: {reason}", "Server.InternalError")

    @property
    def _ended_by_server(self) -> bool:
        return self.state_reason.code.startswith("Server.")

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
    def instance_id(self) -> str:
        """What DescribeInstanceStatus needs, where moto forgets it."""
        return self.id

    @property
    def instance_status(self) -> dict[str, Any]:
        """As moto's, unless the node panics."""
        status = super().instance_status
        if self.state == "running" and self.boot_fault is BootFault.PANICS:
            return {"Status": "impaired", "Details": [{"Name": "reachability", "Status": "failed"}]}
        return status

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


def store_sizes(hardware: dict[str, Any]) -> list[int]:
    """Return the bytes of each NVMe instance-store disk of a type; a disk's GB are powers of ten."""
    store = hardware.get("InstanceStorageInfo") or {}
    if store.get("NvmeSupport", "unsupported") == "unsupported":
        return []
    return [disk["SizeInGB"] * 10**9 for disk in store["Disks"] for _ in range(disk["Count"])]
