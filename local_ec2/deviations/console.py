# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Console output."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.core.types import Base64EncodedString
from moto.core.utils import utcnow
from moto.ec2.responses.general import General

from local_ec2.deviations import patch
from local_ec2.deviations.cloud import Cloud


def install(cloud: Cloud) -> None:
    """GetConsoleOutput: the node's own (moto's is canned)."""

    def get_console_output(response: Any) -> ActionResult:
        instance = response.ec2_backend.get_instance(response._get_param("InstanceId"))
        output = Base64EncodedString.from_raw_string(cloud.nodes.console(instance.id))
        return ActionResult({"InstanceId": instance.id, "Timestamp": utcnow(), "Output": output})

    patch.replace(General, "get_console_output", get_console_output)
