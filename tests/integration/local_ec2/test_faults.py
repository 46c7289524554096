# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong on demand, as a client sees it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from account import SSH_SECONDS, Account, command, wait_until
from botocore.config import Config
from botocore.exceptions import ClientError


def fault(*args: str) -> str:
    """Run ``python -m local_ec2 fault``, return what it prints."""
    done = command("fault", *args)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(call: Any, **parameters: Any) -> tuple[str, int]:
    """Make a call that must fail; return the error's code and HTTP status."""
    with pytest.raises(ClientError) as error:
        call(**parameters)
    answer = error.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def client(account: Account, attempts: int) -> Any:
    """Return a client that tries so many times."""
    return boto3.client(
        "ec2",
        endpoint_url=account.environment["AWS_ENDPOINT_URL"],
        region_name=account.environment["AWS_REGION"],
        aws_access_key_id=account.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=account.environment["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"total_max_attempts": attempts}),
    )


@pytest.fixture
def ec2(account: Account) -> Iterator[Any]:
    """Return a client that does not try again by itself; leave no fault."""
    patient = account.ec2
    account.ec2 = client(account, attempts=1)
    yield account.ec2
    account.ec2 = patient
    fault("clear")


def test_throttled_calls_go_through_after_the_count(account: Account, ec2: Any) -> None:
    fault("throttle", "DescribeInstances", "--count", "2")
    assert ec2.describe_key_pairs()["KeyPairs"]
    for _ in range(2):
        assert refused(ec2.describe_instances) == ("RequestLimitExceeded", 503)
    ec2.describe_instances()
    assert fault("list") == ""


def test_clients_try_again_when_throttled(account: Account, ec2: Any) -> None:
    fault("throttle", "DescribeInstances", "--count", "1")
    assert client(account, attempts=2).describe_instances()["ResponseMetadata"]["RetryAttempts"] == 1


def test_any_error_of_any_action_until_cleared(account: Account, ec2: Any) -> None:
    fault("error", "CreateSecurityGroup", "UnauthorizedOperation", "--message", "You are not authorized.")
    group = {"GroupName": "never", "Description": "never"}
    for _ in range(2):
        assert refused(ec2.create_security_group, **group) == ("UnauthorizedOperation", 403)
    with pytest.raises(ClientError, match=r"You are not authorized\."):
        ec2.create_security_group(**group)
    assert not ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["never"]}])["SecurityGroups"]
    assert fault("list") == "error CreateSecurityGroup UnauthorizedOperation: until cleared\n"
    assert fault("clear") == ""
    ec2.delete_security_group(GroupId=ec2.create_security_group(**group)["GroupId"])


def test_no_capacity_launches_and_starts_nothing(account: Account, ec2: Any) -> None:
    before = len(ec2.describe_instances()["Reservations"])
    fault("capacity", "--type", "m5.large")
    assert refused(account.run, count=2) == ("InsufficientInstanceCapacity", 500)
    with pytest.raises(ClientError, match=r"sufficient m5\.large capacity .* \(us-east-1b\)"):
        account.run(Placement={"AvailabilityZone": "us-east-1b"})
    assert len(ec2.describe_instances()["Reservations"]) == before
    other = account.run(InstanceType="t3.small")["Instances"][0]["InstanceId"]
    # Once it has booted, so that it shuts down at once.
    wait_until(lambda: account.host_keys(other), SSH_SECONDS, f"{other} shows its host keys")
    ec2.stop_instances(InstanceIds=[other])
    account.wait(other, "stopped")
    fault("capacity", "--count", "1")
    assert refused(ec2.start_instances, InstanceIds=[other]) == ("InsufficientInstanceCapacity", 500)
    assert account.get(other)["State"]["Name"] == "stopped"
    ec2.start_instances(InstanceIds=[other])
    account.wait(other, "running")
    ec2.terminate_instances(InstanceIds=[other])


def test_new_instances_are_not_seen_at_once(account: Account, ec2: Any) -> None:
    fault("invisible", "3", "--count", "1")
    hidden, shown = (one["InstanceId"] for one in account.run(2)["Instances"])
    seen = [one["InstanceId"] for group in ec2.describe_instances()["Reservations"] for one in group["Instances"]]
    assert shown in seen
    assert hidden not in seen
    tag = {"Tags": [{"Key": "a", "Value": "b"}]}
    assert refused(ec2.create_tags, Resources=[shown, hidden], **tag)[0] == "InvalidInstanceID.NotFound"
    assert refused(ec2.describe_instances, InstanceIds=[hidden])[0] == "InvalidInstanceID.NotFound"
    assert "Tags" not in account.get(shown)

    def found() -> bool:
        try:
            return bool(account.get(hidden))
        except ClientError:
            return False

    wait_until(found, 20, f"{hidden} is visible")
    ec2.create_tags(Resources=[shown, hidden], **tag)
    assert account.get(hidden)["Tags"] == tag["Tags"]
    ec2.terminate_instances(InstanceIds=[shown, hidden])


@pytest.fixture(scope="module")
def boots(account: Account) -> dict[str, str]:
    """Ids of instances by what is wrong with their boot."""
    for kind in ("no-ssh", "dies-at-boot", "panics"):
        fault(kind, "--count", "1")
    ids = [one["InstanceId"] for one in account.run(4)["Instances"]]
    assert fault("list") == ""
    return dict(zip(("no-ssh", "dies-at-boot", "panics", ""), ids, strict=True))


def test_instance_that_never_answers_ssh(account: Account, boots: dict[str, str]) -> None:
    assert account.ssh(boots[""], "true") == ""
    wait_until(lambda: account.host_keys(boots["no-ssh"]), SSH_SECONDS, "host keys on the console")
    node = account.wait(boots["no-ssh"], "running")
    with pytest.raises(TimeoutError):
        socket.create_connection((node["PublicIpAddress"], 22), timeout=2)
    # It lives, and keeps its fault when it boots again.
    account.ec2.stop_instances(InstanceIds=[node["InstanceId"]])
    account.wait(node["InstanceId"], "stopped")
    account.ec2.start_instances(InstanceIds=[node["InstanceId"]])
    address = account.wait(node["InstanceId"], "running")["PublicIpAddress"]
    with pytest.raises(TimeoutError):
        socket.create_connection((address, 22), timeout=2)


def test_instance_that_dies_at_boot(account: Account, boots: dict[str, str]) -> None:
    gone = account.wait(boots["dies-at-boot"], "terminated")
    assert gone["StateReason"]["Code"] == "Server.InternalError"
    assert "PrivateIpAddress" not in gone
    attached = [{"Name": "attachment.instance-id", "Values": [boots["dies-at-boot"]]}]
    assert not account.ec2.describe_volumes(Filters=attached)["Volumes"]


def test_instance_whose_kernel_panics(account: Account, boots: dict[str, str]) -> None:
    account.wait(boots["panics"], "running")
    wait_until(lambda: "Kernel panic" in account.console(boots["panics"]), 20, "panic on the console")
    account.wait(boots[""], "running")
    found = account.ec2.describe_instance_status(InstanceIds=[boots["panics"], boots[""]])["InstanceStatuses"]
    status = {one["InstanceId"]: one["InstanceStatus"]["Status"] for one in found}
    assert status == {boots["panics"]: "impaired", boots[""]: "ok"}
    account.ec2.terminate_instances(InstanceIds=[boots["panics"]])
    account.wait(boots["panics"], "terminated")


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["throttle", "RunInstance"], "EC2 has no action 'RunInstance'; give one such as RunInstances"),
        (["capacity", "--type", "m5.huge"], "EC2 has no instance type 'm5.huge'; give one such as m6i.large"),
        (["panics", "--count", "0"], "give a whole number from 1 up"),
    ],
)
def test_fault_that_would_never_strike_is_refused(account: Account, args: list[str], problem: str) -> None:
    done = command("fault", *args)
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].endswith(problem)
    assert fault("list") == ""
