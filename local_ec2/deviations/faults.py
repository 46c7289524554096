# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults on demand: EC2 has bad days, moto has none."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.models.instances import InstanceBackend, Reservation
from moto.ec2.responses import EC2Response

from local_ec2.deviations import patch
from local_ec2.deviations.cloud import Cloud
from local_ec2.faults import ANSWERS, BOOTS, Faults
from local_ec2.nodes import BootFault

# Whether somebody asks by the API, who does not see what is invisible yet. moto itself looks things up too.
_asking: ContextVar[bool] = ContextVar("asking", default=False)


def install(cloud: Cloud) -> None:
    """Answer with errors, lack capacity, hide what is new, and mark instances whose boot shall go wrong."""
    _install_answers(cloud.faults)
    _install_capacity(cloud.faults)
    _install_launches(cloud.faults)
    _install_invisibility()


def _install_answers(faults: Faults) -> None:
    """Any action: the error that was asked for, instead of doing anything."""

    def call_action(response: Any) -> Any:
        action = response._get_action()
        fault = faults.take(*ANSWERS, action=action)
        if fault:
            return response.serialized(ActionResult(EC2ClientError(fault.code, fault.message)))
        asking = _asking.set(action != "RunInstances")
        try:
            return act(response)
        finally:
            _asking.reset(asking)

    act = patch.replace(EC2Response, "call_action", call_action)


def _install_capacity(faults: Faults) -> None:
    """RunInstances, StartInstances: InsufficientInstanceCapacity, and nothing is launched or started."""

    def run_instances(backend: Any, *args: Any, **kwargs: Any) -> Reservation:
        subnet = kwargs.get("subnet_id")
        zone = backend.get_subnet(subnet).availability_zone if subnet else kwargs.get("placement")
        check(kwargs["instance_type"], zone or f"{backend.region_name}a")
        return launch(backend, *args, **kwargs)

    def start_instances(backend: Any, instance_ids: list[str]) -> Any:
        for instance in backend.get_multi_instances_by_id(instance_ids):
            check(instance.instance_type, instance.availability_zone)
        return start(backend, instance_ids)

    def check(instance_type: str, zone: str) -> None:
        if faults.take("capacity", instance_type=instance_type):
            message = (
                f"We currently do not have sufficient {instance_type} capacity in the Availability Zone you requested "
                f"({zone}). Our system will be working on provisioning additional capacity. You can currently get "
                f"{instance_type} capacity by not specifying an Availability Zone in your request or choosing another."
            )
            raise EC2ClientError("InsufficientInstanceCapacity", message)

    launch = patch.replace(InstanceBackend, "run_instances", run_instances)
    start = patch.replace(InstanceBackend, "start_instances", start_instances)


def _install_launches(faults: Faults) -> None:
    """RunInstances: note on each instance what shall go wrong with it."""

    def run_instances(backend: Any, *args: Any, **kwargs: Any) -> Reservation:
        reservation = launch(backend, *args, **kwargs)
        for instance in reservation.instances:
            boot = faults.take(*BOOTS)
            instance.boot_fault = BootFault(boot.kind) if boot else None
            hidden = faults.take("invisible")
            instance.visible_from = time.monotonic() + hidden.seconds if hidden else 0
        return reservation

    launch = patch.replace(InstanceBackend, "run_instances", run_instances)


def _install_invisibility() -> None:
    """All that looks instances up by the API: not the ones that are invisible yet. CreateTags: only what is there."""

    def all_reservations(backend: Any, filters: Any = None) -> list[Reservation]:
        found = look(backend, filters)
        if not _asking.get():
            return found
        now = time.monotonic()
        for reservation in found:
            reservation.instances = [one for one in reservation.instances if one.visible_from <= now]
        return [reservation for reservation in found if reservation.instances]

    def do_resources_exist(backend: Any, ids: list[str]) -> bool:
        backend.get_multi_instances_by_id([one for one in ids if one.startswith("i-")])
        return exist(backend, ids)

    look = patch.replace(InstanceBackend, "all_reservations", all_reservations)
    exist = patch.replace(EC2Backend, "do_resources_exist", do_resources_exist)
