# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images: Debian's, and those made of instances."""

from __future__ import annotations

import re
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError, InvalidAMIIdError, MissingParameterError, UnvailableAMIIdError
from moto.ec2.models import amis
from moto.ec2.models.instances import StateReason
from moto.ec2.responses.amis import AmisResponse
from moto.ec2.utils import random_ami_id

from local_ec2.deviations import patch
from local_ec2.deviations.cloud import Cloud
from local_ec2.deviations.errors import unsupported
from local_ec2.podman import remove_image

ROOT_GIB, ROOT_TYPE = 8, "gp3"
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateImage.html
NAME = re.compile(r"[\w()\[\] ./'@-]{3,128}", re.ASCII)


def install(cloud: Cloud) -> None:
    """Images that boot (moto registers names only); refused is what EC2 refuses, and what would not boot."""

    def no_others(*_args: Any, **_kwargs: Any) -> None:
        raise unsupported("images but Debian's and those made by CreateImage")

    patch.replace(amis, "Ami", DebianImage)
    patch.replace(amis.AmiBackend, "copy_image", no_others)
    patch.replace(amis.AmiBackend, "register_image", no_others)
    _install_create(cloud)
    _install_deregister(cloud)


def _install_create(cloud: Cloud) -> None:
    """CreateImage: podman commits the node."""

    def create_image(response: AmisResponse) -> ActionResult:
        backend = response.ec2_backend
        instance = backend.get_instance(response._get_param("InstanceId"))
        name = response._get_param("Name")
        check_image(backend, instance, name)
        if response._get_param("BlockDeviceMappings"):
            raise unsupported("block device mappings of images: they are the instance's")
        response.error_on_dryrun()
        image = OwnImage(backend, instance, name, response._get_param("Description"))
        for kind in response._get_param("TagSpecifications", []):
            image.tag(kind["ResourceType"], {tag["Key"]: tag["Value"] for tag in kind["Tags"]})
        backend.amis[image.id] = image

        def made(error: str | None) -> None:
            if not error:
                image.take_snapshots()
                cloud.images[image.id] = cloud.settings.image(image.id)
            image.become("failed" if error else "available", error)

        reboot = not response._get_bool_param("NoReboot", False)
        cloud.nodes.commit(instance.id, cloud.settings.image(image.id), reboot=reboot, made=made)
        return ActionResult({"ImageId": image.id})

    patch.replace(AmisResponse, "create_image", create_image)


def _install_deregister(cloud: Cloud) -> None:
    """DeregisterImage: podman's image goes too, or with the last node that runs on it."""

    def deregister_image(response: AmisResponse) -> ActionResult:
        backend, image_id = response.ec2_backend, response._get_param("ImageId")
        image = backend.amis.get(image_id)
        if image and image.owner_id != backend.account_id:
            raise EC2ClientError("AuthFailure", f"Not authorized for image {image_id}")
        answer = deregister(response)
        cloud.images.pop(image_id, None)
        remove_image(cloud.settings.image(image_id))
        if response._get_bool_param("DeleteAssociatedSnapshots", False):
            for mapping in image.block_device_mappings:
                backend.delete_snapshot(mapping["Ebs"]["SnapshotId"])
        return answer

    deregister = patch.replace(AmisResponse, "deregister_image", deregister_image)


class DebianImage(amis.Ami):
    """An image with a root volume as Debian's images have it (moto: 15 GiB of standard that outlive the instance)."""

    root_gib = ROOT_GIB

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Have a root snapshot of the right size."""
        super().__init__(*args, **kwargs)
        self.ebs_snapshot.volume.size = self.root_gib

    @property
    def block_device_mappings(self) -> list[dict[str, Any]]:
        """The root volume."""
        ebs = {"VolumeSize": self.root_gib, "VolumeType": ROOT_TYPE, "DeleteOnTermination": True, "Encrypted": False}
        return [{"DeviceName": self.root_device_name, "Ebs": {**ebs, "SnapshotId": self.ebs_snapshot.id}}]


class OwnImage(DebianImage):
    """An image made of an instance, with snapshots of its volumes."""

    def __init__(self, backend: Any, instance: Any, name: str, description: str | None) -> None:
        """Be pending."""
        self.root_gib = backend.get_volume(instance.block_device_mapping[instance.root_device_name].volume_id).size
        self.state_reason: StateReason | None = None
        self.volumes: list[dict[str, Any]] = []
        self.snapshot_tags: dict[str, str] = {}
        image_id = random_ami_id()
        super().__init__(
            backend,
            image_id,
            instance=instance,
            name=name,
            description=description,
            state="pending",
            image_location=f"{backend.account_id}/{name}",
            hypervisor="xen",
            root_device_type="ebs",
            root_device_name=instance.root_device_name,
            boot_mode="uefi-preferred",
            snapshot_description=f"Created by CreateImage({instance.id}) for {image_id}",
        )

    def tag(self, kind: str, tags: dict[str, str]) -> None:
        """Tag the image, or what it is made of."""
        if kind == "image":
            self.add_tags(tags)
        elif kind == "snapshot":
            self.ebs_snapshot.add_tags(tags)
            self.snapshot_tags = tags
        else:
            raise EC2ClientError("InvalidParameterValue", f"'{kind}' is not a valid taggable resource type.")

    def take_snapshots(self) -> None:
        """Copy what the instance's volumes hold, and wait for it."""
        for device, block in self.instance.get_block_device_mapping:
            if device == self.root_device_name:
                continue
            volume = self.ec2_backend.get_volume(block.volume_id)
            snapshot = self.ec2_backend.create_snapshot(volume.id, self.ebs_snapshot.description, from_ami=self.id)
            snapshot.add_tags(self.snapshot_tags)
            if snapshot.copied:
                snapshot.copied.join()
            ebs = {"VolumeSize": volume.size, "VolumeType": volume.volume_type, "Encrypted": volume.encrypted}
            kept = {"DeleteOnTermination": block.delete_on_termination, "SnapshotId": snapshot.id}
            self.volumes.append({"DeviceName": device, "Ebs": ebs | kept})

    def become(self, state: str, error: str | None) -> None:
        """Have come to an end."""
        self.state = state
        self.state_reason = StateReason(error, "Server.InternalError") if error else None

    @property
    def block_device_mappings(self) -> list[dict[str, Any]]:
        """The root volume and the others."""
        return super().block_device_mappings + self.volumes


def check_image(backend: Any, instance: Any, name: str | None) -> None:
    """Refuse what EC2 refuses."""
    if not name:
        raise MissingParameterError("name")
    if not NAME.fullmatch(name):
        message = (
            "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, "
            "'(', ')', '.', '-', '/' and '_'"
        )
        raise EC2ClientError("InvalidAMIName.Malformed", message)
    for image in list(backend.amis.values()):
        if image.owner_id == backend.account_id and image.name == name:
            message = f"AMI name {name} is already in use by AMI {image.id}"
            raise EC2ClientError("InvalidAMIName.Duplicate", message)
    if instance.state not in ("running", "stopped"):
        raise EC2ClientError("IncorrectState", f"Instance '{instance.id}' is not 'running' or 'stopped'.")


def bootable(cloud: Cloud, backend: Any, image_id: str | None) -> amis.Ami:
    """Return the image if it can be launched here and now."""
    image: amis.Ami | None = backend.amis.get(image_id)
    if image and image.state != "available":
        raise UnvailableAMIIdError(image.id)
    if not image or image.id not in cloud.images:
        raise InvalidAMIIdError(image_id or "")
    return image
