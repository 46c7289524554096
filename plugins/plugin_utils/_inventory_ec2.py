# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026, The sparkfleet authors
"""Ask EC2 for the instances of clusters. This plugin util is PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError
    from botocore.session import get_session
    from botocore.utils import parse_timestamp
except ImportError:
    pass  # the plugin's require_aws_sdk() says it

from ansible.errors import AnsibleError
from ansible_collections.sparkfleet.ec2.plugins.plugin_utils._inventory_records import CLUSTER_TAG

FILTERS = [
    {"Name": "tag-key", "Values": [CLUSTER_TAG]},
    {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]},
]
PAGE_SIZE = 1000  # EC2's maximum
CONNECT_TIMEOUT = 10  # seconds; botocore's 60, tried five times, are long for an address that does not answer

_HINTS = {
    "check the profile's name, AWS_PROFILE and ~/.aws/config": "ProfileNotFound",
    "found no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY": (
        "NoCredentialsError PartialCredentialsError CredentialRetrievalError"
    ),
    "the AWS credentials have expired: get new ones, with single sign-on by `aws sso login`": (
        "ExpiredToken ExpiredTokenException RequestExpired"
        " SSOTokenLoadError TokenRetrievalError UnauthorizedSSOTokenError"
    ),
    "AWS refuses these credentials: check the keys, this machine's clock, and if the region is enabled": (
        "AuthFailure InvalidClientTokenId OptInRequired SignatureDoesNotMatch"
    ),
    "not permitted: allow ec2:DescribeInstances, or leave the region out by `strict_permissions: false`": (
        "UnauthorizedOperation AccessDenied"
    ),
    "no answer: check the region's name, the network and, where it is set, AWS_ENDPOINT_URL": (
        "ConnectTimeoutError ConnectionClosedError EndpointConnectionError ProxyConnectionError"
        " ReadTimeoutError SSLError"
    ),
}
_HINT_OF = {code: hint for hint, codes in _HINTS.items() for code in codes.split()}


class NotPermittedError(AnsibleError):
    """The caller's AWS identity may not describe instances in this region."""


@contextmanager
def explained(action: str) -> Iterator[None]:
    """Raise boto's errors as AnsibleError that says what could not be done and what to do.

    The hint is by EC2's error code or botocore's class. Ansible appends the cause's own words.
    """
    try:
        yield
    except (BotoCoreError, ClientError, ValueError) as error:
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        hint = _HINT_OF.get(code)
        kind = NotPermittedError if hint == _HINT_OF["UnauthorizedOperation"] else AnsibleError
        raise kind(f"cannot {action}" + (f", {hint}" if hint else "")) from error
    except ResponseParserError:
        # Its words are the whole page that somebody's web server sent.
        advice = "check the region's name and, where it is set, AWS_ENDPOINT_URL"
        raise AnsibleError(f"cannot {action}, what answers is not EC2: {advice}") from None


def default_region(profile: str | None) -> str:
    """Return the region of the profile or environment, or raise AnsibleError that says where to set one."""
    with explained("find a region"):
        region = boto3.session.Session(profile_name=profile or None).region_name
    if not region:
        raise AnsibleError("found no region: set AWS_REGION, or `region` in your AWS profile, or `regions` here")
    return region


def connect(regions: list[str], profile_name: str | None = None, **options: Any) -> list[Any]:
    """Return an EC2 client for each region, with boto's `options`.

    They share a session: credentials are asked for once (they may need a second factor), the API model is read once.
    """
    with explained("connect to EC2"):
        session = get_session()
        session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_timestamp)
        shared = boto3.session.Session(botocore_session=session, profile_name=profile_name)
        config = Config(connect_timeout=CONNECT_TIMEOUT)
        return [shared.client("ec2", region_name=region, config=config, **options) for region in regions]


def describe(client: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return (region, instance) for each instance of any cluster in the client's region."""
    region = client.meta.region_name
    paginator = client.get_paginator("describe_instances")
    pages = paginator.paginate(Filters=FILTERS, PaginationConfig={"PageSize": PAGE_SIZE})
    with explained(f"list the instances in {region}"):
        reservations = [reservation for page in pages for reservation in page["Reservations"]]
    return [(region, instance) for reservation in reservations for instance in reservation["Instances"]]


def _timestamp(value: Any) -> datetime:
    """Read EC2's times; botocore's own reader takes a quarter of the CPU that a large answer costs."""
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return parse_timestamp(value)
