#!/usr/bin/python
# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask EC2 whether calls would be permitted."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_permission_info
short_description: Ask EC2 whether calls would be permitted
version_added: 0.2.0
author: The sparkfleet authors (@sparkfleet)
description:
  - Makes calls of EC2's API as dry runs, in which EC2 judges permission and parameters and changes nothing.
  - Fails with one line that names all permissions which are missing, or else with what EC2 has against the parameters.
options:
  calls:
    description: The calls, by name as EC2's API has it, with their parameters.
    type: dict
    required: true
extends_documentation_fragment:
  - sparkfleet.ec2.reads_only
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Ask whether a group might be made
  sparkfleet.ec2.ec2_permission_info:
    calls:
      CreateSecurityGroup: {GroupName: mine, Description: My own}
"""

RETURN = r""" # """

from typing import Any

try:
    from botocore import xform_name
    from botocore.exceptions import ClientError
except ImportError:
    pass  # AnsibleAWSModule says so to the user

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.sparkfleet.ec2.plugins.module_utils._aws import (
    error_code,
    failing_in_one_line,
    refusals_in_one_line,
)


def refusals(ec2: Any, calls: dict[str, dict[str, Any]]) -> dict[str, ClientError]:
    """What EC2 has against each of the calls that it would not carry out."""
    found = {}
    for name, parameters in calls.items():
        try:
            getattr(ec2, xform_name(name))(DryRun=True, aws_retry=True, **parameters)
        except ClientError as error:
            if error_code(error) != "DryRunOperation":
                found[name] = error
    return found


def main() -> None:
    """Entry point of the module."""
    module = AnsibleAWSModule(argument_spec={"calls": {"type": "dict", "required": True}}, supports_check_mode=True)
    with failing_in_one_line(module, "ask EC2 for permission"):
        refused = refusals(module.client("ec2", retry_decorator=AWSRetry.jittered_backoff()), module.params["calls"])
    if refused:
        module.fail_json(msg=refusals_in_one_line(refused, "would fail"))
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
