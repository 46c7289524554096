# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The instance metadata service, asked from within nodes' namespaces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from account import NAME, PLACE, Account, command
from botocore.exceptions import ClientError

SERVICE = "http://169.254.169.254"
SECONDS = "X-aws-ec2-metadata-token-ttl-seconds: 60"
REFUSED, UNREACHABLE, TIMED_OUT = 7, 7, 28


class Reply(NamedTuple):
    """What curl got: its exit code, the status and the body."""

    code: int
    status: int
    body: str


def namespace(instance_id: str) -> Path:
    return Path(f"/run/netns/{NAME}-{instance_id}")


def curl(network: Path, url: str, *options: str) -> Reply:
    """Ask in a network namespace."""
    done = subprocess.run(
        ["nsenter", f"--net={network}", "curl", "-s", "-m", "20", "-w", "\n%{http_code}", *options, url],
        capture_output=True,
        text=True,
        check=False,
    )
    body, _, status = done.stdout.rpartition("\n")
    return Reply(done.returncode, int(status), body)


def put_token(network: Path, *headers: str, seconds: int = 20) -> Reply:
    options = (option for header in headers for option in ("-H", header))
    return curl(network, f"{SERVICE}/latest/api/token", "-X", "PUT", "-m", str(seconds), *options)


def get(instance_id: str, path: str, token: str | None = None) -> Reply:
    """Ask as version 2 has it, with a token of one's own unless one is given."""
    network = namespace(instance_id)
    token = token or put_token(network, SECONDS).body
    return curl(network, f"{SERVICE}/latest/{path}", "-H", f"X-aws-ec2-metadata-token: {token}")


def value(instance_id: str, path: str) -> str:
    reply = get(instance_id, path)
    assert reply.status == 200, (path, reply)
    return reply.body


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def trust(service: str) -> str:
    return document({"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"})


@pytest.fixture(scope="module")
def pair(account: Account) -> list[str]:
    """Two running instances with a role that may read one of two buckets, and a tag."""
    iam, s3 = account.client("iam"), account.client("s3")
    for bucket in ("ours", "theirs"):
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="object", Body=f"of {bucket}".encode())
    iam.create_role(RoleName="node", AssumeRolePolicyDocument=trust("ec2.amazonaws.com"))
    reads = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::ours/*"}
    iam.put_role_policy(RoleName="node", PolicyName="reads", PolicyDocument=document(reads))
    iam.create_instance_profile(InstanceProfileName="node")
    iam.add_role_to_instance_profile(InstanceProfileName="node", RoleName="node")
    launched = account.run(
        2,
        IamInstanceProfile={"Name": "node"},
        MetadataOptions={"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "team:name", "Value": "a team"}]}],
        UserData="#!/bin/sh\necho given\n",
    )
    ids = [instance["InstanceId"] for instance in launched["Instances"]]
    for instance_id in ids:
        account.wait(instance_id, "running")
    return ids


def test_a_token_is_required_and_its_instances_own(account: Account, pair: list[str]) -> None:
    network = namespace(pair[0])
    assert curl(network, f"{SERVICE}/latest/meta-data/instance-id").status == 401
    assert get(pair[0], "meta-data/instance-id", "wrong").status == 401
    token = put_token(network, SECONDS).body
    assert get(pair[0], "meta-data/instance-id", token) == Reply(0, 200, pair[0])
    assert get(pair[1], "meta-data/instance-id", token).status == 401


def test_options_take_effect_at_once(account: Account, pair: list[str]) -> None:
    network = namespace(pair[0])

    def ask(**options: Any) -> int:
        changed = account.ec2.modify_instance_metadata_options(InstanceId=pair[0], **options)
        assert changed["InstanceMetadataOptions"]["InstanceMetadataTags"] == "enabled"
        return curl(network, f"{SERVICE}/latest/meta-data/instance-id").status

    assert ask(HttpTokens="optional") == 200
    assert ask(HttpEndpoint="disabled") == 403
    assert put_token(network, SECONDS).status == 403
    assert account.get(pair[0])["MetadataOptions"]["HttpTokens"] == "optional"
    assert ask(HttpEndpoint="enabled") == 200
    assert ask(HttpTokens="required") == 401
    with pytest.raises(ClientError, match=r"InvalidParameterValue.*HttpPutResponseHopLimit"):
        ask(HttpPutResponseHopLimit=65)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((), 400),
        (("X-aws-ec2-metadata-token-ttl-seconds: 0",), 400),
        (("X-aws-ec2-metadata-token-ttl-seconds: 21601",), 400),
        (("X-aws-ec2-metadata-token-ttl-seconds: 21600",), 200),
        ((SECONDS, "X-Forwarded-For: 10.0.0.1"), 403),
    ],
)
def test_requests_for_tokens(pair: list[str], headers: tuple[str, ...], status: int) -> None:
    assert put_token(namespace(pair[0]), *headers).status == status


@pytest.fixture
def inner(pair: list[str]) -> Iterator[Path]:
    """A namespace inside that of the first node, one hop behind it, as a container's there would be."""
    name, node = f"{NAME}-inner", namespace(pair[0])
    script = f"""
        set -e
        ip netns add {name}
        ip link add inner type veth peer name eth0 netns {name}
        ip link set inner netns {node}
        ip -netns {name} address add 192.0.2.2/30 dev eth0
        ip -netns {name} link set eth0 up
        ip -netns {name} route add default via 192.0.2.1
        nsenter --net={node} sh -ec '
            ip address add 192.0.2.1/30 dev inner
            ip link set inner up
            echo 1 > /proc/sys/net/ipv4/ip_forward
            nft "table ip inner {{ chain nat {{ type nat hook postrouting priority 100; masquerade; }}; }}"'
    """
    try:
        subprocess.run(["sh", "-c", script], check=True)
        yield Path("/run/netns") / name
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False)
        subprocess.run(["nsenter", f"--net={node}", "nft", "delete", "table", "ip", "inner"], check=False)


def test_hop_limit(account: Account, pair: list[str], inner: Path) -> None:
    def limit(hops: int) -> None:
        account.ec2.modify_instance_metadata_options(InstanceId=pair[0], HttpPutResponseHopLimit=hops)

    assert account.get(pair[0])["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert put_token(namespace(pair[0]), SECONDS).status == 200
    assert put_token(inner, SECONDS, seconds=5).code == TIMED_OUT
    limit(2)
    token = put_token(inner, SECONDS).body
    limit(1)
    # Only answers to PUT are held back.
    assert curl(inner, f"{SERVICE}/latest/", "-H", f"X-aws-ec2-metadata-token: {token}").status == 200


def test_what_an_instance_knows_of_itself(account: Account, pair: list[str]) -> None:
    for launch_index, instance_id in enumerate(pair):
        described = account.get(instance_id)
        interface = described["NetworkInterfaces"][0]
        macs = f"network/interfaces/macs/{interface['MacAddress']}"
        expected = {
            "ami-id": described["ImageId"],
            "ami-launch-index": str(launch_index),
            "block-device-mapping/root": described["RootDeviceName"],
            "hostname": described["PrivateDnsName"],
            "instance-id": instance_id,
            "instance-life-cycle": "on-demand",
            "instance-type": described["InstanceType"],
            "local-hostname": described["PrivateDnsName"],
            "local-ipv4": described["PrivateIpAddress"],
            "mac": interface["MacAddress"],
            f"{macs}/interface-id": interface["NetworkInterfaceId"],
            f"{macs}/local-ipv4s": described["PrivateIpAddress"],
            f"{macs}/security-group-ids": account.group,
            f"{macs}/subnet-id": described["SubnetId"],
            f"{macs}/vpc-id": described["VpcId"],
            "placement/availability-zone": described["Placement"]["AvailabilityZone"],
            "placement/region": "us-east-1",
            "public-ipv4": described["PublicIpAddress"],
            "public-keys/": "0=test",
            "public-keys/0/openssh-key": account.key.with_suffix(".pub").read_text().rpartition(" ")[0],
            "security-groups": "ssh",
            "services/domain": "amazonaws.com",
        }
        found = {path: value(instance_id, f"meta-data/{path}") for path in expected}
        found["public-keys/0/openssh-key"] = " ".join(found["public-keys/0/openssh-key"].split()[:2])
        assert found == expected
    identity = json.loads(value(pair[0], "dynamic/instance-identity/document"))
    assert (identity["instanceId"], identity["region"], identity["accountId"]) == (
        pair[0],
        "us-east-1",
        account.client("sts").get_caller_identity()["Account"],
    )
    assert value(pair[0], "user-data") == "#!/bin/sh\necho given\n"
    listed = value(pair[0], "meta-data/").split("\n")
    assert {"instance-id", "iam/", "network/", "public-keys/", "tags/"} <= set(listed)
    for absent in ("meta-data/absent", "meta-data/instance-id/x", "meta-data/spot/instance-action"):
        assert get(pair[0], absent).status == 404


def test_tags_as_they_are_now(account: Account, pair: list[str]) -> None:
    def tags() -> dict[str, str]:
        names = value(pair[0], "meta-data/tags/instance/").split("\n")
        return {name: value(pair[0], f"meta-data/tags/instance/{name}") for name in names}

    assert tags() == {"team:name": "a team"}
    account.ec2.create_tags(
        Resources=[pair[0]], Tags=[{"Key": "team:name", "Value": "b"}, {"Key": "a=b", "Value": "c"}]
    )
    assert tags() == {"team:name": "b", "a=b": "c"}
    account.ec2.delete_tags(Resources=[pair[0]], Tags=[{"Key": "a=b"}])
    assert tags() == {"team:name": "b"}
    account.ec2.modify_instance_metadata_options(InstanceId=pair[0], InstanceMetadataTags="disabled")
    assert get(pair[0], "meta-data/tags/instance/").status == 404
    account.ec2.create_tags(Resources=[pair[0]], Tags=[{"Key": "not a path", "Value": ""}])
    enable = {"InstanceId": pair[0], "InstanceMetadataTags": "enabled"}
    with pytest.raises(ClientError, match="'not a path' is not a valid tag key"):
        account.ec2.modify_instance_metadata_options(**enable)
    account.ec2.delete_tags(Resources=[pair[0]], Tags=[{"Key": "not a path"}])
    account.ec2.modify_instance_metadata_options(**enable)


@pytest.mark.parametrize("key", ["a/b", "a b", ".", "..", "_index"])
def test_tags_that_are_no_paths(account: Account, pair: list[str], key: str) -> None:
    tags = [{"Key": key, "Value": "x"}]
    with pytest.raises(ClientError, match=r"InvalidParameterValue.*is not a valid tag key"):
        account.ec2.create_tags(Resources=[pair[0]], Tags=tags)
    before = account.ec2.describe_instances()["Reservations"]
    with pytest.raises(ClientError, match=r"InvalidParameterValue.*is not a valid tag key"):
        account.run(
            MetadataOptions={"InstanceMetadataTags": "enabled"},
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )
    assert len(account.ec2.describe_instances()["Reservations"]) == len(before)


def test_role_credentials(account: Account, pair: list[str]) -> None:
    assert value(pair[0], "meta-data/iam/security-credentials/") == "node"
    assert json.loads(value(pair[0], "meta-data/iam/info"))["InstanceProfileArn"].endswith(":instance-profile/node")
    # boto3 finds them by itself: it is told where the API is and nothing else.
    script = """
import boto3, botocore.exceptions
print(boto3.client("sts").get_caller_identity()["Arn"])
s3 = boto3.client("s3")
print(s3.get_object(Bucket="ours", Key="object")["Body"].read().decode())
for call in (s3.get_object, s3.put_object):
    try:
        call(Bucket="theirs", Key="object")
    except botocore.exceptions.ClientError as error:
        print(error.response["Error"]["Code"])
"""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(account.folder),
        "AWS_ENDPOINT_URL": account.environment["SPARKFLEET_NODES_ENDPOINT_URL"],
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    done = subprocess.run(
        ["nsenter", f"--net={namespace(pair[0])}", sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    arn, *rest = done.stdout.splitlines()
    assert arn.endswith(f":assumed-role/node/{pair[0]}")
    assert rest == ["of ours", "AccessDenied", "AccessDenied"]


def test_role_credentials_in_a_node(account: Account, pair: list[str]) -> None:
    script = r"""
        ask() { curl -sSf "$@"; }
        token=$(ask -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)
        ask -H "X-aws-ec2-metadata-token: $token" \
            http://169.254.169.254/latest/meta-data/iam/security-credentials/node > credentials
        of() { python3 -c "import json; print(json.load(open('credentials'))['$1'])"; }
        for bucket in ours theirs; do
            curl -s --aws-sigv4 aws:amz:us-east-1:s3 --user "$(of AccessKeyId):$(of SecretAccessKey)" \
                -H "x-amz-security-token: $(of Token)" -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' \
                ENDPOINT/$bucket/object
        done
        curl -s -o /dev/null -w ' %{http_code}' ENDPOINT/ours/object"""
    endpoint = account.environment["SPARKFLEET_NODES_ENDPOINT_URL"]
    pid = Path(f"/run/sparkfleet-local-ec2/{NAME}/nodes/{pair[0]}/pid").read_text()
    inside = ["nsenter", f"--target={pid}", "--mount", "--net", "--pid", "--wd=/tmp", "sh", "-ec"]
    done = subprocess.run([*inside, script.replace("ENDPOINT", endpoint)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert said.startswith("of ours")
    assert "<Code>AccessDenied</Code>" in said
    assert said.endswith(" 403")


def test_a_role_that_is_not_for_ec2(account: Account, pair: list[str]) -> None:
    def change(service: str) -> str:
        account.client("iam").update_assume_role_policy(RoleName="node", PolicyDocument=trust(service))
        return str(json.loads(value(pair[1], "meta-data/iam/security-credentials/node"))["Code"])

    assert change("lambda.amazonaws.com") == "AssumeRoleUnauthorizedAccess"
    assert change("ec2.amazonaws.com") == "Success"


def test_only_nodes_are_answered(account: Account, pair: list[str]) -> None:
    node, gateway = namespace(pair[0]), PLACE.vpc[1]
    rules = subprocess.run(["nsenter", f"--net={node}", "nft", "list", "ruleset"], capture_output=True, check=True)
    port = rules.stdout.decode().partition(f"dnat to {gateway}:")[2].split()[0]
    assert curl(node, f"{SERVICE}/", "-X", "POST").status == 405
    # Nothing else has an address of that kind, and the port behind is no way around the redirection.
    assert curl(node, "http://169.254.169.253/").code == UNREACHABLE
    assert curl(node, f"{SERVICE}:8080/").code == UNREACHABLE
    assert curl(node, f"http://{gateway}:{port}/latest/").code == REFUSED
    # This machine is no instance.
    assert curl(Path("/proc/self/ns/net"), f"http://{gateway}:{port}/latest/").status == 404
    addresses = subprocess.run(["ip", "-json", "address"], capture_output=True, text=True, check=True).stdout
    assert "169.254.169.254" not in addresses


@pytest.fixture
def beyond() -> Iterator[Path]:
    """A namespace that is another machine on this machine's network."""
    name = f"{NAME}-beyond"
    script = f"""
        set -e
        ip netns add {name}
        ip link add {name} type veth peer name eth0 netns {name}
        ip address add 192.0.2.5/30 dev {name}
        ip link set {name} up
        ip -netns {name} address add 192.0.2.6/30 dev eth0
        ip -netns {name} link set eth0 up
        ip -netns {name} route add default via 192.0.2.5
    """
    try:
        subprocess.run(["sh", "-c", script], check=True)
        yield Path("/run/netns") / name
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False)


def test_nothing_answers_beyond_this_machine(account: Account, pair: list[str], beyond: Path) -> None:
    endpoint = account.environment["SPARKFLEET_NODES_ENDPOINT_URL"]
    assert curl(namespace(pair[0]), endpoint).status == 403
    assert curl(namespace(pair[0]), f"{endpoint}/_local_ec2/faults", "-d", '{"do": "list"}').status == 403
    assert endpoint in command("status").stdout
    for url in (endpoint, account.environment["SPARKFLEET_MIRROR"]):
        assert curl(beyond, url).code == REFUSED


def test_spot_notices(account: Account, pair: list[str]) -> None:
    assert "no running instance" in command("spot-notice", "i-0123456789abcdef0").stderr
    said = command("spot-notice", pair[1], "--action", "stop")
    assert said.returncode == 0, said.stderr
    notice = json.loads(value(pair[1], "meta-data/spot/instance-action"))
    assert notice["action"] == "stop"
    assert notice["time"] in said.stdout
    assert get(pair[1], "meta-data/spot/termination-time").status == 404
    assert json.loads(value(pair[1], "meta-data/events/recommendations/rebalance"))["noticeTime"] < notice["time"]
    assert get(pair[0], "meta-data/spot/instance-action").status == 404
    # The later notice counts.
    command("spot-notice", pair[1], "--action", "stop", "--in", "1")
    assert account.wait(pair[1], "stopped")["StateReason"]["Code"] == "Server.SpotInstanceShutdown"
    account.ec2.start_instances(InstanceIds=[pair[1]])
    account.wait(pair[1], "running")
    assert get(pair[1], "meta-data/spot/instance-action").status == 404
    command("spot-notice", pair[1])
    assert value(pair[1], "meta-data/spot/termination-time") in value(pair[1], "meta-data/spot/instance-action")
    command("spot-notice", pair[1], "--in", "1")
    assert account.wait(pair[1], "terminated")["StateReason"]["Code"] == "Server.SpotInstanceTermination"
