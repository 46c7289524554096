# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EBS volumes and snapshots."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError, InvalidVolumeAttachmentError, MissingParameterError
from moto.ec2.models import elastic_block_store as ebs
from moto.ec2.responses.elastic_block_store import ElasticBlockStore
from moto.ec2.responses.instances import InstanceResponse

from local_ec2 import disks
from local_ec2.deviations import patch
from local_ec2.deviations.cloud import Cloud
from local_ec2.deviations.errors import unsupported
from local_ec2.disks import EBS, Disk
from local_ec2.run import CommandError
from local_ec2.settings import LocalEC2Error

log = logging.getLogger(__name__)
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/device_naming.html
DEVICE = re.compile(r"/dev/(sd[a-z]([1-9]|1[0-5])?|xvd[a-z][a-z]?)")
BUSY_SECONDS = 0.2


def install(cloud: Cloud) -> None:
    """Volumes that nodes can use, snapshots that hold data; refused is what EC2 refuses."""
    DataVolume.cloud = cloud
    patch.replace(ebs, "Volume", DataVolume)
    patch.replace(ebs, "Snapshot", DataSnapshot)
    # moto forgets which values were not given: the image has others.
    patch.replace(
        InstanceResponse, "_parse_block_device_mapping", lambda self: self._get_param("BlockDeviceMappings", [])
    )
    _install_volumes()
    _install_snapshots()
    _install_attachments(cloud)


class DataVolume(ebs.Volume):
    """A volume with a file, from when a node first has it, or from when it is made of a snapshot with data."""

    cloud: ClassVar[Cloud]
    copying: str | None = None
    copied: threading.Thread | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Be available, or creating while data of a snapshot is copied."""
        super().__init__(*args, **kwargs)
        snapshot = self.ec2_backend.snapshots.get(self.snapshot_id)
        if snapshot and snapshot.file.exists():
            self.copying = "creating"
            self.copied = copy(snapshot.file, self.disk.file, self._copied)

    def _copied(self, error: str | None) -> None:
        self.copying = error

    @property
    def disk(self) -> Disk:
        """What a node sees of it."""
        return Disk(EBS, self.id.replace("-", ""), self.size << 30, self.cloud.settings.disks_dir / self.id)

    @property
    def status(self) -> str:
        """As moto's, but for data that is being copied."""
        return self.copying or super().status


class DataSnapshot(ebs.Snapshot):
    """A snapshot with the data that the volume had; of a root volume it has none."""

    copied: threading.Thread | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Be pending until the data is copied."""
        super().__init__(*args, **kwargs)
        if self.volume.disk.file.exists():
            self.status = "pending"
            self.copied = copy(self.volume.disk.file, self.file, self._copied)

    def _copied(self, error: str | None) -> None:
        self.status = error or "completed"

    @property
    def file(self) -> Path:
        """Where the data is."""
        return DataVolume.cloud.settings.disks_dir / self.id


def copy(source: Path, target: Path, copied: Callable[[str | None], None]) -> threading.Thread:
    """Copy data in the background; ``copied`` is told "error" when that fails."""

    def work() -> None:
        try:
            disks.copy(source, target)
        except CommandError:
            log.exception("%s is not copied to %s", source, target)
            copied("error")
        else:
            copied(None)

    thread = threading.Thread(target=work, name="copy", daemon=True)
    thread.start()
    return thread


def _install_volumes() -> None:
    """Volumes: checks that moto forgets; the file goes with the volume."""

    def create_volume(backend: Any, **wanted: Any) -> Any:
        check_snapshot(backend, wanted.get("snapshot_id"), wanted["size"])
        return create(backend, **wanted)

    def delete_volume(backend: Any, volume_id: str) -> Any:
        volume = delete(backend, volume_id)
        volume.disk.file.unlink(missing_ok=True)
        return volume

    def modify_volume(backend: Any, volume_id: str, target_size: int | None = None, *more: Any) -> Any:
        if target_size and target_size != backend.get_volume(volume_id).size:
            raise unsupported("volumes that grow")
        return modify(backend, volume_id, target_size, *more)

    def respond(response: ElasticBlockStore) -> ActionResult:
        zone = response._get_param("AvailabilityZone")
        if not zone:
            raise MissingParameterError("AvailabilityZone")
        if not response.ec2_backend.get_zone_by_name(zone):
            raise EC2ClientError("InvalidZone.NotFound", f"The zone '{zone}' does not exist.")
        return answer(response)

    create = patch.replace(ebs.EBSBackend, "create_volume", create_volume)
    delete = patch.replace(ebs.EBSBackend, "delete_volume", delete_volume)
    modify = patch.replace(ebs.EBSBackend, "modify_volume", modify_volume)
    answer = patch.replace(ElasticBlockStore, "create_volume", respond)


def check_snapshot(backend: Any, snapshot_id: str | None, size: int | None) -> None:
    """Refuse to make a volume of a snapshot that is not complete, or too large for it."""
    if not snapshot_id:
        return
    snapshot = backend.get_snapshot(snapshot_id)
    if snapshot.status != "completed":
        raise EC2ClientError("IncorrectState", f"Snapshot '{snapshot_id}' is not 'completed'.")
    if size and size < snapshot.volume_size:
        least = snapshot.volume_size
        message = f"Volume of size {size}GB is smaller than snapshot '{snapshot_id}', expect size >= {least}GB"
        raise EC2ClientError("InvalidParameterValue", message)


def _install_snapshots() -> None:
    """Snapshots: the file goes with the snapshot."""

    def delete_snapshot(backend: Any, snapshot_id: str) -> Any:
        snapshot = delete(backend, snapshot_id)
        snapshot.file.unlink(missing_ok=True)
        return snapshot

    def copy_snapshot(*_args: Any, **_kwargs: Any) -> None:
        raise unsupported("copies of snapshots")

    delete = patch.replace(ebs.EBSBackend, "delete_snapshot", delete_snapshot)
    patch.replace(ebs.EBSBackend, "copy_snapshot", copy_snapshot)


def _install_attachments(cloud: Cloud) -> None:
    """AttachVolume, DetachVolume: the node has the volume, or not (moto attaches one to several nodes at once)."""
    attaching = threading.Lock()

    def attach_volume(response: ElasticBlockStore) -> ActionResult:
        backend = response.ec2_backend
        volume = backend.get_volume(response._get_param("VolumeId"))
        instance = backend.get_instance(response._get_param("InstanceId"))
        response.error_on_dryrun()
        with attaching:
            check_attachable(volume, instance, response._get_param("Device"))
            answer = attach(response)
        try:
            cloud.nodes.attach(instance.id, volume.disk)
        except LocalEC2Error as error:
            backend.detach_volume(volume.id, instance.id, volume.attachment.device)
            raise EC2ClientError("InternalError", str(error)) from error
        return answer

    def detach_volume(response: ElasticBlockStore) -> ActionResult:
        backend = response.ec2_backend
        volume = backend.get_volume(response._get_param("VolumeId"))
        response.error_on_dryrun()
        attachment = volume.attachment
        check_detachable(volume, response._get_param("InstanceId"), response._get_param("Device"))
        if response._get_bool_param("Force", False):
            raise unsupported("forced detachment: unmount the volume, or stop the instance")
        attachment.status = "detaching"
        threading.Thread(target=take_out, args=(backend, volume), name="detach", daemon=True).start()
        described = {
            "VolumeId": volume.id,
            "InstanceId": attachment.instance.id,
            "Device": attachment.device,
            "State": "detaching",
            "AttachTime": attachment.attach_time,
        }
        return ActionResult(described)

    def take_out(backend: Any, volume: DataVolume) -> None:
        """Detach a volume as soon as no file system is on it; the end of its instance may come before that."""
        attachment = volume.attachment
        while attachment and attachment is volume.attachment:
            if cloud.nodes.detach(attachment.instance.id, volume.disk):
                backend.detach_volume(volume.id, attachment.instance.id, attachment.device)
            else:
                attachment.status = "busy"
                time.sleep(BUSY_SECONDS)

    attach = patch.replace(ElasticBlockStore, "attach_volume", attach_volume)
    patch.replace(ElasticBlockStore, "detach_volume", detach_volume)


def check_attachable(volume: DataVolume, instance: Any, device: str | None) -> None:
    """Refuse what EC2 refuses."""
    if not device:
        raise MissingParameterError("device")
    if not DEVICE.fullmatch(device):
        message = f"Value ({device}) for parameter device is invalid. {device} is not a valid EBS device name."
        raise EC2ClientError("InvalidParameterValue", message)
    if volume.attachment:
        raise EC2ClientError("VolumeInUse", f"{volume.id} is already attached to an instance")
    if volume.status != "available":
        raise EC2ClientError("IncorrectState", f"Volume '{volume.id}' is in the '{volume.status}' state.")
    if instance.state not in ("running", "stopped"):
        raise EC2ClientError("IncorrectState", f"Instance '{instance.id}' is not 'running'.")
    if volume.availability_zone != instance.availability_zone:
        message = f"The volume '{volume.id}' is not in the same availability zone as instance '{instance.id}'"
        raise EC2ClientError("InvalidVolume.ZoneMismatch", message)
    if device in instance.block_device_mapping:
        message = f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use"
        raise EC2ClientError("InvalidParameterValue", message)


def check_detachable(volume: DataVolume, instance_id: str | None, device: str | None) -> None:
    """Refuse what EC2 refuses, and to take the root volume out of a stopped instance."""
    attachment = volume.attachment
    if not attachment:
        raise EC2ClientError("IncorrectState", f"Volume '{volume.id}' is in the '{volume.status}' state.")
    instance = attachment.instance
    if instance_id not in (None, instance.id) or device not in (None, attachment.device):
        raise InvalidVolumeAttachmentError(volume.id, instance_id or instance.id)
    if attachment.device == instance.root_device_name:
        if instance.state == "stopped":
            raise unsupported("detachment of root volumes")
        message = f"Unable to detach root volume '{volume.id}' from instance '{instance.id}'"
        raise EC2ClientError("OperationNotPermitted", message)


def block_devices(image: list[dict[str, Any]], asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what an instance has of an image's block devices and those asked for at launch, which take precedence."""
    merged = {mapping["DeviceName"]: dict(mapping["Ebs"]) for mapping in image}
    for mapping in asked:
        name = mapping["DeviceName"]
        if "NoDevice" in mapping:
            merged.pop(name, None)
        # Other mappings are of instance store, which NVMe disks do not need.
        elif "Ebs" in mapping:
            merged[name] = merged.get(name, {}) | mapping["Ebs"]
    return [{"DeviceName": name, "Ebs": values} for name, values in merged.items()]
