"""The other side of the mounts: S3 as boto3 sees it, which knows nothing of s3fs.

Usage: s3.py prepare INSTANCE... | make BUCKET | key | text BUCKET KEY [TEXT] | random BUCKET KEY MB | sum BUCKET KEY |
list BUCKET
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from typing import Any

import boto3
from botocore.exceptions import ClientError

OURS = ("molecule-ours", "molecule-cached")
THEIRS = "molecule-theirs"
LATER = "molecule-later"
NAME = "molecule-s3fs"
MB = 1_000_000

s3 = boto3.client("s3")


def policy(*buckets: str) -> str:
    """Return what the nodes may do: all that s3fs does, in these buckets."""
    arns = [f"arn:aws:s3:::{bucket}" for bucket in buckets]
    objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    statements = [
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": arns},
        {"Effect": "Allow", "Action": objects, "Resource": [f"{arn}/*" for arn in arns]},
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def prepare(*instances: str) -> None:
    """Make buckets and a role for the nodes, unless they are there; one comes later."""
    iam, ec2 = boto3.client("iam"), boto3.client("ec2")
    if any(bucket["Name"] == LATER for bucket in s3.list_buckets()["Buckets"]):
        s3.delete_bucket(Bucket=LATER)
    for bucket in (*OURS, THEIRS):
        make(bucket)
    s3.put_object(Bucket=OURS[0], Key="archive/2026/old", Body=b"old")
    if not any(profile["InstanceProfileName"] == NAME for profile in iam.list_instance_profiles()["InstanceProfiles"]):
        who = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
        trust = json.dumps({"Version": "2012-10-17", "Statement": [who]})
        iam.create_role(RoleName=NAME, AssumeRolePolicyDocument=trust)
        iam.put_role_policy(RoleName=NAME, PolicyName="s3", PolicyDocument=policy(*OURS, LATER))
        iam.create_instance_profile(InstanceProfileName=NAME)
        iam.add_role_to_instance_profile(InstanceProfileName=NAME, RoleName=NAME)
    have = {
        found["InstanceId"]
        for found in ec2.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"]
    }
    for instance in set(instances) - have:
        ec2.associate_iam_instance_profile(IamInstanceProfile={"Name": NAME}, InstanceId=instance)


def make(bucket: str) -> None:
    """Have a bucket."""
    s3.create_bucket(Bucket=bucket)


def key() -> None:
    """Print an access key, for a new user who may do what the nodes may."""
    iam, name = boto3.client("iam"), f"{NAME}-{time.time():.0f}"
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="s3", PolicyDocument=policy(*OURS))
    made = iam.create_access_key(UserName=name)["AccessKey"]
    print(json.dumps({"id": made["AccessKeyId"], "secret": made["SecretAccessKey"]}))


def text(bucket: str, name: str, content: str | None = None) -> None:
    """Write an object, or print it."""
    if content is None:
        print(s3.get_object(Bucket=bucket, Key=name)["Body"].read().decode())
    else:
        s3.put_object(Bucket=bucket, Key=name, Body=content.encode())


def random(bucket: str, name: str, size: str) -> None:
    """Write an object that cannot be compressed, print its SHA-256."""
    content = os.urandom(int(size) * MB)
    s3.put_object(Bucket=bucket, Key=name, Body=content)
    print(hashlib.sha256(content).hexdigest())


def total(bucket: str, name: str) -> None:
    """Print an object's SHA-256, and in how many parts it was uploaded."""
    found: dict[str, Any] = s3.get_object(Bucket=bucket, Key=name)
    parts = found["ETag"].strip('"').partition("-")[2] or "1"
    print(json.dumps({"sha256": hashlib.sha256(found["Body"].read()).hexdigest(), "parts": int(parts)}))


def names(bucket: str) -> None:
    """Print the names of all objects."""
    print(json.dumps([found["Key"] for found in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]))


def main() -> None:
    """Do what the first argument says."""
    verbs = {"prepare": prepare, "make": make, "key": key, "text": text, "random": random, "sum": total, "list": names}
    try:
        verbs[sys.argv[1]](*sys.argv[2:])
    except ClientError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
