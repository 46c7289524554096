# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""RunInstances."""

from __future__ import annotations

import base64
from typing import Any

from moto.core.responses import ActionResult
from moto.core.types import Base64EncodedString
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import instances
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.responses._base_response import EC2BaseResponse
from moto.ec2.responses.instances import InstanceResponse

from local_ec2.deviations import patch
from local_ec2.deviations.cloud import Cloud
from local_ec2.deviations.images import bootable
from local_ec2.deviations.metadata import check_options
from local_ec2.deviations.security_groups import known_group
from local_ec2.deviations.volumes import block_devices
from local_ec2.tokens import TokenMismatchError

USER_DATA_BYTES = 16 * 1024


def install(cloud: Cloud) -> None:
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
        image = bootable(cloud, backend, ami)
        check_launchable(kwargs["instance_type"], user_data)
        check_options(kwargs.get("metadata_options", {}), kwargs.get("tags", {}).get("instance", {}))
        for name in names:
            known_group(backend, name)
        choose_block_devices(backend, kwargs, image)
        choose_subnet(backend, kwargs)
        with cloud.launching:
            known = set(backend.reservations)
            try:
                reservation = launch(backend, image_id, count, user_data, names, **kwargs)
            except Exception:
                forget(backend, set(backend.reservations) - known)
                raise
        # moto gives the profile to the first.
        profile = {name: kwargs.get(name) for name in ("iam_instance_profile_name", "iam_instance_profile_arn")}
        for instance in reservation.instances[1:] if any(profile.values()) else ():
            backend.associate_iam_instance_profile(instance.id, **profile)
        for instance in reservation.instances:
            cloud.instances[instance.id] = instance
            # moto tags instances and volumes only.
            for nic in instance.nics.values():
                nic.add_tags(kwargs.get("tags", {}).get("network-interface", {}))
            cloud.nodes.launch(instance.node_spec(), instance.public_ip, instance, instance.volumes())
        return reservation

    answer = patch.replace(InstanceResponse, "run_instances", respond)
    launch = patch.replace(instances.InstanceBackend, "run_instances", run_instances)
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


def choose_block_devices(backend: Any, launch: dict[str, Any], image: Any) -> None:
    """Launch with the image's block devices and those asked for (moto: either)."""
    asked, template = launch.get("block_device_mappings"), launch.get("launch_template")
    if asked is None and template:
        asked = backend._get_template_from_args(template).data.get("BlockDeviceMappings")
    launch["block_device_mappings"] = block_devices(image.block_device_mappings, asked or [])


def check_launchable(instance_type: str, user_data: Base64EncodedString | None) -> None:
    """Refuse what EC2 refuses."""
    if len(base64.b64decode(str(user_data or ""))) > USER_DATA_BYTES:
        raise EC2ClientError("InvalidParameterValue", f"User data is limited to {USER_DATA_BYTES} bytes")
    architectures = INSTANCE_TYPES.get(instance_type, {}).get("ProcessorInfo", {}).get("SupportedArchitectures", [])
    if architectures and "x86_64" not in architectures:
        message = (
            f"The architecture '{architectures[0]}' of the specified instance type does not match the architecture "
            "'x86_64' of the specified AMI."
        )
        raise EC2ClientError("InvalidParameterValue", message)
