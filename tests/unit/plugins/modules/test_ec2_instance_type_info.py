# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of ec2_instance_type_info against moto."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sparkfleet.ec2.plugins.module_utils import _aws
from ansible_collections.sparkfleet.ec2.plugins.modules import ec2_instance_type_info
from botocore import client, exceptions
from moto import mock_aws

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the API calls made to moto."""
    made: list[str] = []
    call = client.BaseClient._make_api_call

    def spy(self: client.BaseClient, name: str, arguments: dict[str, Any]) -> Any:
        made.append(name)
        return call(self, name, arguments)

    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        monkeypatch.setattr(client.BaseClient, "_make_api_call", spy)
        yield made


@pytest.fixture
def run(run_module: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run ec2_instance_type_info in us-east-1 on the given types."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return lambda *names, **options: run_module(ec2_instance_type_info, instance_types=list(names), **options)


def test_describes_types_with_and_without_disks_in_two_calls(run: Run, calls: list[str]) -> None:
    types = run("m5d.24xlarge", "m5.large", "m5d.24xlarge")["instance_types"]
    assert types[1] == {
        "name": "m5.large",
        "vcpus": 2,
        "memory_mib": 8192,
        "architectures": ["x86_64"],
        "instance_storage": {"size_gb": 0, "disks": 0, "nvme": False},
        "current_generation": False,
        "hypervisor": "nitro",
        "placement_strategies": ["cluster", "partition", "spread"],
        "availability_zones": [f"us-east-1{letter}" for letter in "abcdf"],
    }
    assert (types[0]["name"], len(types)) == ("m5d.24xlarge", 2)
    assert types[0]["instance_storage"] == {"size_gb": 3600, "disks": 4, "nvme": True}
    assert calls == ["DescribeInstanceTypes", "DescribeInstanceTypeOfferings"]


def test_no_types_are_no_calls(run: Run, calls: list[str]) -> None:
    assert run()["instance_types"] == []
    assert calls == []


def test_unknown_types_are_named_with_what_may_be_meant(run: Run, calls: list[str]) -> None:
    assert run("m5.large", "m5.medium", "m6g.lagre")["msg"] == (
        'instance type "m5.medium" does not exist in us-east-1; did you mean m5.large? '
        'instance type "m6g.lagre" does not exist in us-east-1; did you mean m6g.large?'
    )


def test_the_region_may_be_given(run: Run, calls: list[str]) -> None:
    assert "does not exist in eu-west-1" in run("x", region="eu-west-1")["msg"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("m5.medium", "m5.large"),
        ("m5.3xlarge", "m5.4xlarge"),
        ("m5.96xlarge", "m5.24xlarge"),
        ("m5.lareg", "m5.large"),
        ("t3.mikro", "t3.micro"),
        ("mm5.large", "m5.large"),
        ("nonsense", None),
    ],
)
def test_nearest(name: str, meant: str | None) -> None:
    offered = ["m5.large", "m5.xlarge", "m5.2xlarge", "m5.4xlarge", "m5.24xlarge", "m5.metal", "t3.micro", "m6g.medium"]
    assert ec2_instance_type_info.nearest(name, offered) == meant


def test_no_credentials_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    result = run("m5.large", endpoint_url="http://127.0.0.1:1")
    assert result["msg"] == f"cannot describe instance types: there are no AWS credentials; {_aws.LOG_IN}"
    assert "exception" not in result


def test_a_server_out_of_reach_is_one_line(run: Run) -> None:
    fast = {"retries": {"max_attempts": 0}}
    options = {
        "access_key": "an-id",
        "secret_key": "a-secret",
        "endpoint_url": "http://127.0.0.1:1",
        "aws_config": fast,
    }
    assert run("m5.large", **options)["msg"] == (
        'cannot describe instance types: Could not connect to the endpoint URL: "http://127.0.0.1:1/"'
    )


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("RequestExpired", f"the AWS credentials have expired (RequestExpired); {_aws.LOG_IN}"),
        ("AuthFailure", f"AWS does not accept the credentials (AuthFailure); {_aws.LOG_IN}"),
        (
            "UnauthorizedOperation",
            "the AWS credentials do not allow ec2:DescribeInstanceTypes; ask for that permission",
        ),
        ("InternalError", "InternalError: a long message"),
    ],
)
def test_errors_of_the_api_in_one_line(code: str, line: str) -> None:
    response = {"Error": {"Code": code, "Message": "a long\n  message"}}
    assert _aws.aws_reason(exceptions.ClientError(response, "DescribeInstanceTypes")) == line
