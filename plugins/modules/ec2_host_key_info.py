#!/usr/bin/python
# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read SSH host keys from the consoles of EC2 instances."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_host_key_info
short_description: Read SSH host keys from the consoles of EC2 instances
version_added: 0.1.0
author: The sparkfleet authors (@sparkfleet)
description:
  - Waits until each instance has printed its SSH host keys on its console, as cloud-init does at the end of an
    instance's first boot, and returns them. With them in C(known_hosts), the first connection needs no trust.
  - Works on what EC2 keeps of a console, its last 64 KiB. Ask soon after the launch.
options:
  instance_ids:
    description: Ids of the instances.
    type: list
    elements: str
    required: true
  wait_timeout:
    description: For how many seconds to ask again, every 2 seconds. With V(0), each instance is asked once.
    type: int
    default: 300
  fail_on_missing:
    description:
      - Whether to fail when an instance has not shown its keys in time, or at once when it stops or is terminated.
      - Otherwise such instances are in RV(missing).
    type: bool
    default: true
extends_documentation_fragment:
  - sparkfleet.ec2.reads_only
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Read the host keys of two instances
  sparkfleet.ec2.ec2_host_key_info:
    instance_ids: [i-0123456789abcdef0, i-0fedcba9876543210]
  register: console
"""

RETURN = r"""
host_keys:
  description: By instance id, its host keys as type and base64 separated by a space, ed25519 first.
  returned: always
  type: dict
  sample:
    i-0123456789abcdef0:
      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM9zmVhUFs9Id8HIDCUZrSJ3nFEjgwTAdIEl1mT8OoUw
missing:
  description: Ids of the instances without keys, sorted.
  returned: always
  type: list
  elements: str
console_tail:
  description: By id of the instances in RV(missing), the last 20 lines of the console, as far as there are any.
  returned: always
  type: dict
reasons:
  description: By id of the instances in RV(missing), why there are no keys.
  returned: always
  type: dict
  sample: {"i-0123456789abcdef0": "stopped (Client.InstanceInitiatedShutdown: Instance initiated shutdown)"}
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.sparkfleet.ec2.plugins.module_utils._aws import failing_in_one_line, state_in_words
from ansible_collections.sparkfleet.ec2.plugins.module_utils._host_keys import host_keys, last_lines, panic

THREADS = 8
POLL_SECONDS = 2
# What EC2 answers where an instance's hypervisor has no latest output.
NO_LATEST = ["UnsupportedOperation", "InvalidParameterCombination", "InvalidParameterValue", "InvalidParameter"]
DEAD = ["shutting-down", "terminated", "stopping", "stopped"]
FILTER_VALUES = 200  # as many as one filter may have


@dataclass
class Console:
    """What is known of one instance's console."""

    instance_id: str
    text: str = ""
    keys: list[str] = field(default_factory=list)
    latest: bool = True  # whether to ask for output that EC2 has not yet saved
    end: str = ""  # why there will be no keys any more

    @property
    def pending(self) -> bool:
        """Whether keys may still come."""
        return not (self.keys or self.end)


def console_output(ec2: Any, console: Console) -> str:
    """What the console shows; "" as long as EC2 does not know the new instance. Raises botocore's errors."""
    try:
        options = {"InstanceId": console.instance_id, "Latest": console.latest}
        return ec2.get_console_output(aws_retry=True, **options).get("Output", "")
    except is_boto3_error_code("InvalidInstanceID.NotFound"):
        return ""
    except is_boto3_error_code(NO_LATEST):
        if not console.latest:
            raise
        console.latest = False
        return console_output(ec2, console)


def refresh(ec2: Any, console: Console) -> None:
    """Look at the console once more. Raises botocore's errors."""
    console.text = console_output(ec2, console) or console.text
    console.keys = host_keys(console.text)
    console.end = panic(console.text)


def note_the_dead(ec2: Any, consoles: list[Console]) -> None:
    """Mark instances that will print nothing any more. Raises botocore's errors."""
    for start in range(0, len(consoles), FILTER_VALUES):
        by_id = {console.instance_id: console for console in consoles[start : start + FILTER_VALUES]}
        # Filters, not InstanceIds: an id that EC2 does not know yet is no error.
        wanted = {"instance-id": list(by_id), "instance-state-name": DEAD}
        filters = [{"Name": name, "Values": values} for name, values in wanted.items()]
        reservations = ec2.describe_instances(Filters=filters, aws_retry=True)["Reservations"]
        for instance in (instance for reservation in reservations for instance in reservation["Instances"]):
            by_id[instance["InstanceId"]].end = state_in_words(instance)


def watch(ec2: Any, consoles: list[Console], wait_timeout: int, stop_at_death: bool) -> None:
    """Ask until every instance has shown its keys or cannot, or the time is up. Raises botocore's errors."""
    deadline = time.monotonic() + wait_timeout
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        while pending := [console for console in consoles if console.pending]:
            list(pool.map(lambda console: refresh(ec2, console), pending))
            pending = [console for console in pending if console.pending]
            if pending:
                note_the_dead(ec2, pending)
            died = stop_at_death and any(console.end for console in pending)
            if not pending or died or time.monotonic() + POLL_SECONDS > deadline:
                return
            time.sleep(POLL_SECONDS)


def explain(missing: list[Console], wait_timeout: int) -> str:
    """Why there are no keys, and what would do, in one line."""
    parts = [f"{console.instance_id} is {console.end}" for console in missing if console.end]
    late = [console.instance_id for console in missing if not console.end]
    if parts:
        return f"no SSH host keys: {', '.join(parts)}; launch again, or start it, and see console_tail for why"
    return (
        f"no SSH host keys on the console of {', '.join(late)} within {wait_timeout} s; "
        "see console_tail, raise wait_timeout, or use an image whose cloud-init prints its keys (keys_to_console)"
    )


def main() -> None:
    """Entry point of the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "instance_ids": {"type": "list", "elements": "str", "required": True},
            "wait_timeout": {"type": "int", "default": 300},
            "fail_on_missing": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    consoles = [Console(instance_id) for instance_id in dict.fromkeys(module.params["instance_ids"])]
    strict, wait_timeout = module.params["fail_on_missing"], module.params["wait_timeout"]
    with failing_in_one_line(module, "read consoles"):
        ec2 = module.client("ec2", retry_decorator=AWSRetry.jittered_backoff())
        watch(ec2, consoles, wait_timeout, stop_at_death=strict)
    missing = sorted((console for console in consoles if not console.keys), key=lambda console: console.instance_id)
    result = {
        "host_keys": {console.instance_id: console.keys for console in consoles if console.keys},
        "missing": [console.instance_id for console in missing],
        "reasons": {
            console.instance_id: console.end or f"no host keys on its console within {wait_timeout} s"
            for console in missing
        },
        "console_tail": {console.instance_id: last_lines(console.text) for console in missing},
    }
    if missing and strict:
        module.fail_json(msg=explain(missing, wait_timeout), **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
