#!/usr/bin/python
# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look up several things in EC2 at once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_lookup_info
short_description: Look up several things in EC2 at once
version_added: 0.2.0
author: The sparkfleet authors (@sparkfleet)
description:
  - Makes all calls at the same time in one process, where a module for each would take about a second for each.
  - Fails with one line that names all permissions which are missing, or else with what EC2 has against a call.
options:
  queries:
    description: What to look up.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name under which what is found is returned.
        type: str
        required: true
      call:
        description: A call of EC2's API that describes something, by its name there.
        type: str
        required: true
      parameters:
        description: The call's parameters.
        type: dict
        default: {}
      find:
        description: Where in the answer the things are, in JMESPath. All pages of the answer are put together before.
        type: str
        required: true
extends_documentation_fragment:
  - sparkfleet.ec2.reads_only
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: See what there is of a cluster
  sparkfleet.ec2.ec2_lookup_info:
    queries:
      - name: instances
        call: DescribeInstances
        parameters:
          Filters: [{Name: "tag:sparkfleet:cluster", Values: [demo]}]
        find: Reservations[].Instances[]
      - name: key_pairs
        call: DescribeKeyPairs
        parameters: {IncludePublicKey: true}
        find: KeyPairs[]
  register: there
"""

RETURN = r"""
found:
  description: A list of what was found for each query, with names in snake case and tags as a dictionary.
  returned: success
  type: dict
  sample: {"key_pairs": [{"key_name": "sparkfleet-demo", "tags": {"sparkfleet:cluster": "demo"}}]}
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

try:
    import jmespath
    from botocore import xform_name
    from botocore.exceptions import ClientError
except ImportError:
    pass  # AnsibleAWSModule says so to the user

from ansible_collections.amazon.aws.plugins.module_utils.botocore import paginated_query_with_retries
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.amazon.aws.plugins.module_utils.transformation import boto3_resource_list_to_ansible_dict
from ansible_collections.sparkfleet.ec2.plugins.module_utils._aws import failing_in_one_line, refusals_in_one_line


def look_up(ec2: Any, query: dict[str, Any]) -> list[dict[str, Any]] | ClientError:
    """What one query finds, or what EC2 has against it. Raises botocore's other errors."""
    name, parameters = xform_name(query["call"]), query["parameters"]
    try:
        if ec2.can_paginate(name):
            answer = paginated_query_with_retries(ec2, name, **parameters)
        else:
            answer = getattr(ec2, name)(**parameters, aws_retry=True)
    except ClientError as error:
        return error
    return boto3_resource_list_to_ansible_dict(jmespath.search(query["find"], answer))


def main() -> None:
    """Entry point of the module."""
    query = {
        "name": {"type": "str", "required": True},
        "call": {"type": "str", "required": True},
        "parameters": {"type": "dict", "default": {}},
        "find": {"type": "str", "required": True},
    }
    module = AnsibleAWSModule(
        argument_spec={"queries": {"type": "list", "elements": "dict", "required": True, "options": query}},
        supports_check_mode=True,
    )
    queries = module.params["queries"]
    with failing_in_one_line(module, "look up what there is"), ThreadPoolExecutor() as pool:
        ec2 = module.client("ec2", retry_decorator=AWSRetry.jittered_backoff())
        answers = list(zip(queries, pool.map(lambda query: look_up(ec2, query), queries), strict=True))
    refused = {query["call"]: answer for query, answer in answers if isinstance(answer, ClientError)}
    if refused:
        module.fail_json(msg=refusals_in_one_line(refused, "fails"))
    module.exit_json(changed=False, found={query["name"]: answer for query, answer in answers})


if __name__ == "__main__":
    main()
