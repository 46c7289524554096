# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials and policies, as they decide on local EC2."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from typing import Any

import boto3
import pytest
from account import Account
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

Clients = Callable[..., Any]
DRY_RUN = {"DryRun": True}


def statement(action: str | list[str], resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def trust(principal: dict[str, str]) -> str:
    return document({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"})


def fails(call: Callable[..., Any], **parameters: Any) -> str:
    """Return the error's code."""
    with pytest.raises(ClientError) as error:
        call(**parameters)
    return str(error.value.response["Error"]["Code"])


def credentials(given: dict[str, Any]) -> dict[str, str]:
    """Return credentials of an answer as boto3 wants them."""
    names = {
        "AccessKeyId": "aws_access_key_id",
        "SecretAccessKey": "aws_secret_access_key",
        "SessionToken": "aws_session_token",
    }
    return {names[name]: value for name, value in given.items() if name in names}


@pytest.fixture
def user(account: Account, request: pytest.FixtureRequest) -> Callable[..., Clients]:
    """Makes a user with a policy of these statements, returns what makes clients of his."""
    name = request.node.name
    iam = account.client("iam")

    def make(*statements: dict[str, Any]) -> Clients:
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="only", PolicyDocument=document(*statements))
        key = credentials(iam.create_access_key(UserName=name)["AccessKey"])
        return partial(account.client, **key)

    return make


@pytest.fixture(scope="module")
def bucket(account: Account) -> str:
    """A bucket with two objects."""
    s3 = account.client("s3")
    s3.create_bucket(Bucket="things")
    for key in ("in/one", "out/two"):
        s3.put_object(Bucket="things", Key=key, Body=key.encode())
    return "things"


def test_env_is_the_administrator(account: Account) -> None:
    assert account.client("sts").get_caller_identity()["Arn"].endswith(":user/local-ec2")
    assert re.fullmatch(r"AKIA\w{16}", account.environment["AWS_ACCESS_KEY_ID"])
    assert fails(account.run, **DRY_RUN) == "DryRunOperation"


@pytest.mark.parametrize(
    ("service", "call", "unknown_key", "wrong_secret"),
    [
        ("ec2", "describe_instances", "AuthFailure", "AuthFailure"),
        ("s3", "list_buckets", "InvalidAccessKeyId", "SignatureDoesNotMatch"),
        ("iam", "list_users", "InvalidClientTokenId", "SignatureDoesNotMatch"),
        ("sts", "get_caller_identity", "InvalidClientTokenId", "SignatureDoesNotMatch"),
        ("ssm", "describe_parameters", "UnrecognizedClientException", "InvalidSignatureException"),
    ],
)
def test_wrong_credentials(account: Account, service: str, call: str, unknown_key: str, wrong_secret: str) -> None:
    getattr(account.client(service), call)()
    assert fails(getattr(account.client(service, aws_access_key_id="AKIAIOSFODNN7EXAMPLE"), call)) == unknown_key
    assert fails(getattr(account.client(service, aws_secret_access_key="wrong"), call)) == wrong_secret


def test_a_key_that_is_switched_off(account: Account, user: Callable[..., Clients]) -> None:
    ec2 = user(statement("*"))("ec2")
    ec2.describe_instances()
    name = "test_a_key_that_is_switched_off"
    iam = account.client("iam")
    key = iam.list_access_keys(UserName=name)["AccessKeyMetadata"][0]["AccessKeyId"]
    iam.update_access_key(UserName=name, AccessKeyId=key, Status="Inactive")
    assert fails(ec2.describe_instances) == "AuthFailure"


def test_unsigned_requests_are_refused(account: Account, bucket: str) -> None:
    endpoint = account.environment["AWS_ENDPOINT_URL"]
    for service, call, parameters, code in (
        ("ec2", "describe_instances", {}, "MissingAuthenticationToken"),
        ("s3", "get_object", {"Bucket": bucket, "Key": "in/one"}, "AccessDenied"),
        ("iam", "list_users", {}, "MissingAuthenticationToken"),
    ):
        anonymous = boto3.client(
            service, endpoint_url=endpoint, region_name="us-east-1", config=Config(signature_version=UNSIGNED)
        )
        assert fails(getattr(anonymous, call), **parameters) == code
    for path in ("moto-api/data.json", "latest/meta-data/iam/security-credentials/", "things/in/one"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{endpoint}/{path}")


def test_one_call_is_not_permitted(account: Account, user: Callable[..., Clients]) -> None:
    ec2 = user(statement(["ec2:Describe*", "ec2:StopInstances"]))("ec2")
    ec2.describe_instances()
    launch = {"ImageId": account.images[-1]["ImageId"], "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1}
    assert fails(ec2.run_instances, **launch) == "UnauthorizedOperation"
    assert fails(ec2.run_instances, **launch, **DRY_RUN) == "UnauthorizedOperation"
    assert fails(ec2.create_key_pair, KeyName="mine") == "UnauthorizedOperation"
    with pytest.raises(ClientError, match=r"user/test_one_call_is_not_permitted .* ec2:CreateKeyPair"):
        ec2.create_key_pair(KeyName="mine")


def test_policies_decide_by_resource_and_tag(account: Account, user: Callable[..., Clients]) -> None:
    ours, theirs = (
        account.ec2.create_volume(
            Size=1,
            AvailabilityZone="us-east-1a",
            TagSpecifications=[{"ResourceType": "volume", "Tags": [{"Key": "team", "Value": value}]}],
        )["VolumeId"]
        for value in ("ours", "theirs")
    )
    tag = {"Key": "team", "Value": "ours"}
    of_ours = {"Condition": {"StringEquals": {"aws:ResourceTag/team": "ours"}}}
    to_ours = {"Condition": {"StringEquals": {"aws:RequestTag/team": "ours", "ec2:CreateAction": "CreateVolume"}}}
    ec2 = user(
        statement("ec2:DeleteVolume", "arn:aws:ec2:*:*:volume/*", **of_ours),
        statement("ec2:CreateVolume", "arn:aws:ec2:*:*:volume/*"),
        statement("ec2:CreateTags", "arn:aws:ec2:*:*:volume/*", **to_ours),
    )("ec2")
    assert fails(ec2.delete_volume, VolumeId=theirs) == "UnauthorizedOperation"
    ec2.delete_volume(VolumeId=ours)
    volume = {"Size": 1, "AvailabilityZone": "us-east-1a"}
    ec2.create_volume(**volume, TagSpecifications=[{"ResourceType": "volume", "Tags": [tag]}])
    others = [{"ResourceType": "volume", "Tags": [{"Key": "team", "Value": "theirs"}]}]
    assert fails(ec2.create_volume, **volume, TagSpecifications=others) == "UnauthorizedOperation"
    assert fails(ec2.create_tags, Resources=[theirs], Tags=[tag]) == "UnauthorizedOperation"


def test_handing_over_a_role_takes_permission(account: Account, user: Callable[..., Clients]) -> None:
    iam = account.client("iam")
    iam.create_role(RoleName="handed", AssumeRolePolicyDocument=trust({"Service": "ec2.amazonaws.com"}))
    iam.create_instance_profile(InstanceProfileName="handed")
    iam.add_role_to_instance_profile(InstanceProfileName="handed", RoleName="handed")
    launch = {
        "ImageId": account.images[-1]["ImageId"],
        "InstanceType": "m5.large",
        "MinCount": 1,
        "MaxCount": 1,
        "IamInstanceProfile": {"Name": "handed"},
        **DRY_RUN,
    }
    may_launch = user(statement("ec2:*"))("ec2")
    with pytest.raises(ClientError, match=r"UnauthorizedOperation.*iam:PassRole.*role/handed"):
        may_launch.run_instances(**launch)
    iam.put_user_policy(
        UserName="test_handing_over_a_role_takes_permission",
        PolicyName="more",
        PolicyDocument=document(statement("iam:PassRole", "arn:aws:iam::*:role/handed")),
    )
    assert fails(may_launch.run_instances, **launch) == "DryRunOperation"


def test_s3_by_bucket_and_key(account: Account, bucket: str, user: Callable[..., Clients]) -> None:
    readable = statement(["s3:GetObject", "s3:DeleteObject", "s3:PutObject"], f"arn:aws:s3:::{bucket}/in/*")
    listable = statement("s3:ListBucket", f"arn:aws:s3:::{bucket}", Condition={"StringLike": {"s3:prefix": "in/*"}})
    s3 = user(readable, listable)("s3")
    assert s3.get_object(Bucket=bucket, Key="in/one")["Body"].read() == b"in/one"
    assert fails(s3.get_object, Bucket=bucket, Key="out/two") == "AccessDenied"
    assert fails(s3.head_object, Bucket=bucket, Key="out/two") == "403"
    assert fails(s3.put_object, Bucket=bucket, Key="out/two", Body=b"") == "AccessDenied"
    source = {"CopySource": {"Bucket": bucket, "Key": "out/two"}}
    assert fails(s3.copy_object, Bucket=bucket, Key="in/copy", **source) == "AccessDenied"
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket, Prefix="in/")["Contents"]] == ["in/one"]
    assert fails(s3.list_objects_v2, Bucket=bucket) == "AccessDenied"
    assert fails(s3.list_buckets) == "AccessDenied"
    for key in ("in/a b+c~é", "in/three"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x" * 100_000)
    several = {"Objects": [{"Key": "in/a b+c~é"}, {"Key": "in/three"}]}
    assert len(s3.delete_objects(Bucket=bucket, Delete=several)["Deleted"]) == 2
    refused = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "out/two"}]})
    assert [error["Code"] for error in refused["Errors"]] == ["AccessDenied"]
    account.client("s3").head_object(Bucket=bucket, Key="out/two")


def test_a_buckets_own_policy(account: Account, user: Callable[..., Clients]) -> None:
    s3 = account.client("s3")
    s3.create_bucket(Bucket="shared")
    s3.put_object(Bucket="shared", Key="x", Body=b"x")
    theirs = user(statement("s3:ListBucket"))("s3")
    arn = account.client("iam").get_user(UserName="test_a_buckets_own_policy")["User"]["Arn"]
    assert fails(theirs.get_object, Bucket="shared", Key="x") == "AccessDenied"
    objects = "arn:aws:s3:::shared/*"
    s3.put_bucket_policy(Bucket="shared", Policy=document(statement("s3:GetObject", objects, Principal={"AWS": arn})))
    theirs.get_object(Bucket="shared", Key="x")
    everybody = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": objects}
    s3.put_bucket_policy(Bucket="shared", Policy=document(everybody))
    assert fails(s3.get_object, Bucket="shared", Key="x") == "AccessDenied"


def test_presigned_urls(account: Account, bucket: str, user: Callable[..., Clients]) -> None:
    def get(client: Any, key: str) -> bytes:
        url = client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": key}, ExpiresIn=60)
        with urllib.request.urlopen(url) as answer:
            return answer.read()  # type: ignore[no-any-return]

    client = user(statement("s3:GetObject", f"arn:aws:s3:::{bucket}/in/*"))
    signing = client("s3", config=Config(signature_version="s3v4"))
    assert get(signing, "in/one") == b"in/one"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        get(signing, "out/two")
    # boto3's old kind, which buckets made since 2020 refuse.
    with pytest.raises(urllib.error.HTTPError, match="400"):
        get(client("s3"), "in/one")


def test_assumed_roles(account: Account, bucket: str, user: Callable[..., Clients]) -> None:
    iam = account.client("iam")
    sts = user(statement("sts:AssumeRole"))("sts")
    arn = iam.get_user(UserName="test_assumed_roles")["User"]["Arn"]
    reader = iam.create_role(RoleName="reader", AssumeRolePolicyDocument=trust({"AWS": arn}))["Role"]["Arn"]
    other = iam.create_role(RoleName="other", AssumeRolePolicyDocument=trust({"Service": "ec2.amazonaws.com"}))
    reads = statement(["s3:GetObject", "s3:ListAllMyBuckets"])
    iam.put_role_policy(RoleName="reader", PolicyName="only", PolicyDocument=document(reads))
    assert fails(sts.assume_role, RoleArn=other["Role"]["Arn"], RoleSessionName="me") == "AccessDenied"
    session = credentials(sts.assume_role(RoleArn=reader, RoleSessionName="me")["Credentials"])
    s3 = account.client("s3", **session)
    s3.get_object(Bucket=bucket, Key="in/one")
    assert fails(s3.put_object, Bucket=bucket, Key="in/one", Body=b"") == "AccessDenied"
    assert account.client("sts", **session).get_caller_identity()["Arn"].endswith(":assumed-role/reader/me")
    for token, code in (("another", "InvalidToken"), ("", "InvalidAccessKeyId")):
        wrong = account.client("s3", **session | {"aws_session_token": token})
        assert fails(wrong.list_buckets) == code
    narrow = document(statement("s3:GetObject", f"arn:aws:s3:::{bucket}/out/*"))
    narrowed = sts.assume_role(RoleArn=reader, RoleSessionName="me", Policy=narrow)["Credentials"]
    s3 = account.client("s3", **credentials(narrowed))
    s3.get_object(Bucket=bucket, Key="out/two")
    assert fails(s3.get_object, Bucket=bucket, Key="in/one") == "AccessDenied"


def test_sessions_expire(account: Account) -> None:
    # AWS takes no fewer than 900 seconds, which is too long to wait; moto takes any number.
    iam, sts = account.client("iam"), account.client("sts", config=Config(parameter_validation=False))
    me = sts.get_caller_identity()["Arn"]
    role = iam.create_role(RoleName="brief", AssumeRolePolicyDocument=trust({"AWS": me}))["Role"]["Arn"]
    iam.put_role_policy(RoleName="brief", PolicyName="all", PolicyDocument=document(statement("*")))
    over = credentials(sts.assume_role(RoleArn=role, RoleSessionName="me", DurationSeconds=0)["Credentials"])
    for service, call, code in (
        ("ec2", "describe_instances", "RequestExpired"),
        ("s3", "list_buckets", "ExpiredToken"),
        ("sts", "get_caller_identity", "ExpiredToken"),
        ("ssm", "describe_parameters", "ExpiredTokenException"),
    ):
        assert fails(getattr(account.client(service, **over), call)) == code
