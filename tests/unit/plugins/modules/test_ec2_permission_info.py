# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of ec2_permission_info against moto."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from ansible_collections.sparkfleet.ec2.plugins.module_utils import _aws
from ansible_collections.sparkfleet.ec2.plugins.modules import ec2_permission_info
from botocore.exceptions import ClientError

GROUP = {"GroupName": "mine", "Description": "My own"}
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(run_module: Run, mocked_aws: None) -> Run:
    """Run ec2_permission_info on the given calls."""
    return lambda **calls: run_module(ec2_permission_info, calls=calls)


def refusal(code: str, message: str, name: str = "RunInstances") -> ClientError:
    """An error of EC2's."""
    return ClientError({"Error": {"Code": code, "Message": message}}, name)


def test_what_is_permitted_is_not_done(run: Run) -> None:
    assert run(CreateSecurityGroup=GROUP, DescribeImages={})["changed"] is False
    groups = boto3.client("ec2", region_name="us-east-1").describe_security_groups()["SecurityGroups"]
    assert {group["GroupName"] for group in groups} == {"default"}


def test_what_ec2_has_against_the_parameters(run: Run) -> None:
    launch = {"ImageId": "ami-12345678", "IamInstanceProfile": {"Name": "none"}, "MinCount": 1, "MaxCount": 1}
    said = run(RunInstances=launch, CreateSecurityGroup=GROUP)
    assert said["msg"].startswith("RunInstances would fail: NoSuchEntity")
    assert "cannot ask EC2 for permission: Parameter validation failed" in run(CreateSecurityGroup={})["msg"]


def test_all_that_is_missing_is_in_one_line() -> None:
    plain = refusal("UnauthorizedOperation", "You are not authorized to perform this operation.", "ImportKeyPair")
    words = "User: arn:aws:iam::1:user/jo is not authorized to perform: iam:PassRole on resource: arn:aws:iam::1:role/x"
    named = refusal("UnauthorizedOperation", f"You are not authorized to perform this operation. {words}")
    other = refusal("InvalidSubnetID.NotFound", "No such subnet")
    said = _aws.refusals_in_one_line({"ImportKeyPair": plain, "RunInstances": named, "CreateTags": other}, "would fail")
    assert said == "the AWS credentials do not allow ec2:ImportKeyPair, iam:PassRole; ask for what is missing"
    assert _aws.api_error_reason(named) == "the AWS credentials do not allow iam:PassRole; ask for that permission"
    several = _aws.refusals_in_one_line({"CreateTags": other}, "would fail")
    assert several == "CreateTags would fail: InvalidSubnetID.NotFound: No such subnet"
