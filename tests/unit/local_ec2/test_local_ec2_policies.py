# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What policies say."""

from __future__ import annotations

from typing import Any

import pytest

from local_ec2.policies import Effect, judge

INSTANCE = "arn:aws:ec2:us-east-1:123456789012:instance/i-0abc"
CONTEXT = {
    "aws:requestedregion": ["us-east-1"],
    "aws:sourceip": ["10.1.2.3"],
    "aws:username": ["ann"],
    "aws:securetransport": ["false"],
    "aws:tagkeys": ["Name", "team"],
}


def says(*statements: dict[str, Any], action: str = "ec2:StopInstances", resource: str | None = INSTANCE) -> Effect:
    filled = [{"Effect": "Allow", "Action": "*", "Resource": "*"} | statement for statement in statements]
    return judge([{"Statement": filled}], action, resource, CONTEXT)


@pytest.mark.parametrize(
    ("statement", "allows"),
    [
        ({}, True),
        ({"Action": "ec2:*"}, True),
        ({"Action": "EC2:stopInstances"}, True),
        ({"Action": ["ec2:StartInstances", "ec2:Stop*"]}, True),
        ({"Action": "ec2:StopInstance"}, False),
        ({"Action": "ec2:StopInstance?"}, True),
        ({"Action": "ec2.StopInstances"}, False),
        ({"NotAction": "ec2:Stop*"}, False),
        ({"NotAction": "s3:*"}, True),
        ({"Resource": "arn:aws:ec2:*:*:instance/*"}, True),
        ({"Resource": "arn:aws:ec2:*:*:volume/*"}, False),
        ({"NotResource": "arn:aws:ec2:*:*:volume/*"}, True),
        ({"Resource": INSTANCE[:-1]}, False),
        ({"Condition": {"StringEquals": {"aws:RequestedRegion": ["eu-west-1", "us-east-1"]}}}, True),
        ({"Condition": {"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}}, False),
        ({"Condition": {"StringNotEquals": {"aws:RequestedRegion": "eu-west-1"}}}, True),
        ({"Condition": {"StringLike": {"aws:RequestedRegion": "us-*"}}}, True),
        ({"Condition": {"StringEquals": {"aws:RequestTag/team": "x"}}}, False),
        ({"Condition": {"StringNotEquals": {"aws:RequestTag/team": "x"}}}, True),
        ({"Condition": {"StringEqualsIfExists": {"aws:RequestTag/team": "x"}}}, True),
        ({"Condition": {"Null": {"aws:RequestTag/team": "true"}}}, True),
        ({"Condition": {"Null": {"aws:RequestTag/team": "false"}}}, False),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "10.1.0.0/16"}}}, True),
        ({"Condition": {"NotIpAddress": {"aws:SourceIp": "10.1.0.0/16"}}}, False),
        ({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, False),
        ({"Condition": {"Bool": {"aws:SecureTransport": False}}}, True),
        ({"Condition": {"StringEquals": {"aws:username": "ann", "aws:RequestedRegion": "eu-west-1"}}}, False),
        ({"Condition": {"ForAllValues:StringEquals": {"aws:TagKeys": ["Name", "team", "x"]}}}, True),
        ({"Condition": {"ForAllValues:StringEquals": {"aws:TagKeys": ["Name"]}}}, False),
        ({"Condition": {"ForAnyValue:StringEquals": {"aws:TagKeys": ["Name"]}}}, True),
        ({"Condition": {"NumericLessThan": {"aws:MultiFactorAuthAge": "3600"}}}, False),
    ],
)
def test_an_allowing_statement(statement: dict[str, Any], allows: bool) -> None:
    assert says(statement) is (Effect.ALLOW if allows else Effect.NEUTRAL)


def test_nothing_allows_nothing() -> None:
    assert says() is Effect.NEUTRAL


def test_a_denial_wins_over_what_allows() -> None:
    assert says({}, {"Effect": "Deny", "Action": "ec2:Stop*"}) is Effect.DENY
    assert says({}, {"Effect": "Deny", "Action": "ec2:Start*"}) is Effect.ALLOW


def test_a_condition_that_cannot_be_judged_denies_in_a_denial() -> None:
    condition = {"NumericLessThan": {"aws:MultiFactorAuthAge": "3600"}}
    assert says({}, {"Effect": "Deny", "Condition": condition}) is Effect.DENY


def test_an_unknown_resource_is_allowed_anywhere_and_denied_everywhere() -> None:
    somewhere = "arn:aws:ssm:*:*:parameter/mine"
    assert says({"Resource": somewhere}, resource=None) is Effect.ALLOW
    assert says({}, {"Effect": "Deny", "Resource": somewhere}, resource=None) is Effect.ALLOW
    assert says({}, {"Effect": "Deny"}, resource=None) is Effect.DENY


def test_variables_are_filled_in() -> None:
    home = {"Resource": "arn:aws:s3:::homes/${aws:username}/*"}
    assert says(home, resource="arn:aws:s3:::homes/ann/x") is Effect.ALLOW
    assert says(home, resource="arn:aws:s3:::homes/bob/x") is Effect.NEUTRAL
    assert says({"Resource": "arn:aws:s3:::${aws:unknown}"}, resource="arn:aws:s3:::") is Effect.NEUTRAL


@pytest.mark.parametrize(
    ("principal", "allows"),
    [
        ({"Principal": "*"}, True),
        ({"Principal": {"AWS": "arn:aws:iam::1:user/ann"}}, True),
        ({"Principal": {"AWS": ["1", "arn:aws:iam::1:user/bob"]}}, True),
        ({"Principal": {"AWS": "arn:aws:iam::1:user/bob"}}, False),
        ({"Principal": {"Service": "ec2.amazonaws.com"}}, False),
        ({"NotPrincipal": {"AWS": "arn:aws:iam::1:user/bob"}}, True),
        ({}, False),
    ],
)
def test_a_resource_says_who(principal: dict[str, Any], allows: bool) -> None:
    document = {"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", **principal}}
    found = judge([document], "sts:AssumeRole", "role", {}, frozenset({"arn:aws:iam::1:user/ann", "1"}))
    assert (found is Effect.ALLOW) == allows
