# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What shall go wrong: faults that are waiting for the call or the instance that they are for."""

from __future__ import annotations

import threading
from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Any

from botocore.session import get_session

from local_ec2.nodes import BootFault
from local_ec2.settings import LocalEC2Error

ANSWERS = ("throttle", "error")
BOOTS = tuple(fault.value for fault in BootFault)
KINDS = (*ANSWERS, "capacity", "invisible", *BOOTS)


@dataclass(frozen=True)
class Fault:
    """One kind of fault. ``count``: for how many calls or instances; None: for all, until it is cleared."""

    kind: str
    action: str = ""
    code: str = ""
    message: str = ""
    type: str = ""
    seconds: float = 0
    count: int | None = None

    def __str__(self) -> str:
        """Say what it is as it was asked for, and for how long."""
        seconds = f"{self.seconds:g}" if self.seconds else ""
        words = filter(None, (self.kind, self.action, self.code, self.type, seconds))
        return f"{' '.join(words)}: {f'the next {self.count}' if self.count else 'until cleared'}"

    def fits(self, kinds: Container[str], action: str, instance_type: str) -> bool:
        """Tell whether it is for this call or instance; one without a type is for all types."""
        return self.kind in kinds and self.action == action and self.type in ("", instance_type)


class Faults:
    """The faults of one local EC2, in the order in which they were asked for."""

    def __init__(self) -> None:
        """Start without."""
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def take(self, *kinds: str, action: str = "", instance_type: str = "") -> Fault | None:
        """Return the oldest fault of these kinds that fits, which is then used up by one."""
        with self._lock:
            fault = next((one for one in self._faults if one.fits(kinds, action, instance_type)), None)
            if fault and fault.count:
                at = self._faults.index(fault)
                self._faults[at : at + 1] = [replace(fault, count=fault.count - 1)] if fault.count > 1 else []
            return fault

    def command(self, request: dict[str, Any]) -> list[str]:
        """Do what ``python -m local_ec2 fault`` asks for, return a line for each fault that there is then."""
        with self._lock:
            if request["do"] == "clear":
                self._faults.clear()
            elif request["do"] == "add":
                self._faults.append(checked(Fault(**request["fault"])))
            return [str(fault) for fault in self._faults]


def checked(fault: Fault) -> Fault:
    """Return the fault; refuse one for which nothing would ever be."""
    model = get_session().get_service_model("ec2")
    if fault.kind in ANSWERS and fault.action not in model.operation_names:
        raise LocalEC2Error(f"EC2 has no action {fault.action!r}; give one such as RunInstances")
    types = model.shape_for("InstanceType").enum
    if fault.type and fault.type not in types:
        raise LocalEC2Error(f"EC2 has no instance type {fault.type!r}; give one such as m6i.large")
    return fault
