# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may call what. moto takes any credentials; its own checks, off by default, know of no time, token or resource."""

from __future__ import annotations

import io
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

import xmltodict
from moto.core.authorization import ActionAuthenticatorMixin
from moto.core.request import Request as MotoRequest
from moto.ec2.models import ec2_backends
from moto.iam import access_control
from moto.iam.models import iam_backends
from moto.s3 import models as s3
from moto.s3.exceptions import BucketAccessDeniedError
from moto.sts.models import sts_backends
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.wrappers import Response

from local_ec2 import policies
from local_ec2.credentials import Credentials
from local_ec2.deviations import patch
from local_ec2.deviations.cloud import Cloud
from local_ec2.policies import Effect
from local_ec2.settings import ACCOUNT, REGION
from local_ec2.signatures import RefusedError, Request, Signature, read, verify

ADMINISTRATOR = "local-ec2"
CALLER = "local_ec2.caller"
# moto's own doors, which ask nobody who he is: its control panel and a metadata service that tells everybody the same.
MOTO_PATHS = ("/moto-api", "/latest/meta-data/", "/latest/api/")


class Style(IntEnum):
    """How a service tells errors; a column of ERRORS."""

    EC2 = 0
    S3 = 1
    XML = 2
    JSON = 3


# Why a request is refused, and the services' words for it.
ERRORS = {
    "absent": (
        "MissingAuthenticationToken",
        "AccessDenied",
        "MissingAuthenticationToken",
        "MissingAuthenticationToken",
    ),
    "unsupported": ("MissingAuthenticationToken", "InvalidRequest", "IncompleteSignature", "IncompleteSignature"),
    "malformed": ("IncompleteSignature", "AuthorizationHeaderMalformed", "IncompleteSignature", "IncompleteSignature"),
    "unknown": ("AuthFailure", "InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"),
    "token": ("AuthFailure", "InvalidToken", "InvalidClientTokenId", "UnrecognizedClientException"),
    "mismatch": ("AuthFailure", "SignatureDoesNotMatch", "SignatureDoesNotMatch", "InvalidSignatureException"),
    "changed": ("AuthFailure", "XAmzContentSHA256Mismatch", "SignatureDoesNotMatch", "InvalidSignatureException"),
    "expired": ("RequestExpired", "ExpiredToken", "ExpiredToken", "ExpiredTokenException"),
    "skewed": ("RequestExpired", "RequestTimeTooSkewed", "SignatureDoesNotMatch", "InvalidSignatureException"),
    "overdue": ("RequestExpired", "AccessDenied", "SignatureDoesNotMatch", "InvalidSignatureException"),
    "denied": ("UnauthorizedOperation", "AccessDenied", "AccessDenied", "AccessDeniedException"),
}
MESSAGES = {
    "absent": "The request has no signature",
    "unsupported": "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
    "malformed": "The signature of the request is malformed",
    "unknown": "AWS was not able to validate the provided access credentials: there is no such access key",
    "token": "The security token included in the request is invalid",
    "mismatch": "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
    "Access Key and signing method.",
    "changed": "The provided 'x-amz-content-sha256' header does not match what was computed.",
    "expired": "The security token included in the request is expired",
    "skewed": "The difference between the request time and the current time is too large.",
    "overdue": "Request has expired",
}
STATUS = {
    "AuthFailure": 401,
    **dict.fromkeys(("RequestExpired", "ExpiredToken", "InvalidToken", "InvalidRequest"), 400),
    **dict.fromkeys(("IncompleteSignature", "AuthorizationHeaderMalformed", "XAmzContentSHA256Mismatch"), 400),
}
XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
BODIES = (
    f"{XML}<Response><Errors><Error><Code>{{}}</Code><Message>{{}}</Message></Error></Errors></Response>",
    f"{XML}<Error><Code>{{}}</Code><Message>{{}}</Message></Error>",
    f"{XML}<ErrorResponse><Error><Type>Sender</Type><Code>{{}}</Code><Message>{{}}</Message></Error></ErrorResponse>",
)

# Resources of EC2 by the beginning of their ids.
KINDS = {
    "ami": "image",
    "eni": "network-interface",
    "i": "instance",
    "igw": "internet-gateway",
    "lt": "launch-template",
    "rtb": "route-table",
    "sg": "security-group",
    "snap": "snapshot",
    "subnet": "subnet",
    "vol": "volume",
    "vpc": "vpc",
}
ID = re.compile(rf"({'|'.join(KINDS)})-[0-9a-f]{{8,}}")
# What a call makes, and so must be allowed on, before there is an id.
MADE = {
    "RunInstances": ("instance", "network-interface", "volume"),
    "CreateImage": ("image",),
    "CreateKeyPair": ("key-pair",),
    "CreatePlacementGroup": ("placement-group",),
    "CreateSecurityGroup": ("security-group",),
    "CreateSnapshot": ("snapshot",),
    "CreateSubnet": ("subnet",),
    "CreateVolume": ("volume",),
    "CreateVpc": ("vpc",),
    "ImportKeyPair": ("key-pair",),
}
TAG = re.compile(r"(?:TagSpecification\.(\d+)\.)?Tag\.\d+\.Key")


def install(_cloud: Cloud) -> None:
    """Judge every call by the policies of its caller, a bucket's policy and a role's trust policy."""

    def authorize(response: Any, _request_class: type, resource: str = "*") -> None:
        caller: Caller = response.normalized_request.environ[CALLER]
        for demand in demands(caller, response, resource):
            if not caller.may(demand):
                raise denial(caller, demand)

    patch.replace(ActionAuthenticatorMixin, "_authenticate_and_authorize_action", authorize)
    # A bucket's policy is judged with the caller's own, above.
    patch.replace(s3.FakeBucket, "get_permission", lambda *_: access_control.PermissionResult.NEUTRAL)


def create_administrator() -> Credentials:
    """Make the user whose key ``env`` prints."""
    backend = iam_backends[ACCOUNT]["aws"]
    backend.create_user(REGION, ADMINISTRATOR)
    backend.attach_user_policy("arn:aws:iam::aws:policy/AdministratorAccess", ADMINISTRATOR)
    key = backend.create_access_key(ADMINISTRATOR)
    return Credentials(key.access_key_id, key.secret_access_key)


class Authenticator:
    """WSGI: lets requests pass that somebody of the account has signed. No service of moto's is left out."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        """Stand before the application."""
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Note the caller in the environment, or refuse."""
        received = MotoRequest(environ)
        body = received.get_data()
        environ["wsgi.input"] = io.BytesIO(body)
        headers = {name.lower(): value for name, value in received.headers}
        request = Request(received.method, received.raw_path, environ.get("QUERY_STRING", ""), headers, body)
        try:
            environ[CALLER] = authenticate(request, environ["REMOTE_ADDR"])
        except RefusedError as reason:
            return refusal(style(request), str(reason), MESSAGES[str(reason)])(environ, start_response)
        if request.path.startswith(MOTO_PATHS):
            return NotFound()(environ, start_response)
        return self._application(environ, start_response)


@dataclass(frozen=True)
class Demand:
    """One thing that a call must be allowed; None as the resource is any."""

    action: str
    resource: str | None
    context: Mapping[str, list[str]] = field(default_factory=dict)
    # Policies of the resource's own.
    documents: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Caller:
    """A user, or a role as somebody or an instance has assumed it."""

    key: access_control.IAMUserAccessKey | access_control.AssumedRoleAccessKey
    signature: Signature
    address: str
    style: Style
    session_policy: str | None

    @property
    def arn(self) -> str:
        """Name of the user or of the role's session."""
        return self.key.arn

    def may(self, demand: Demand) -> bool:
        """Judge by https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html."""
        context = {**self._context(), **demand.context}
        own = [access_control.IAMPolicy(policy)._policy_json for policy in self.key.collect_policies()]
        effects = [policies.judge(own, demand.action, demand.resource, context)]
        if self.session_policy:
            session = [json.loads(self.session_policy)]
            effects.append(policies.judge(session, demand.action, demand.resource, context))
        role = re.sub(r":sts:(.*):assumed-role/([^/]+)/.*", r":iam:\1:role/\2", self.arn)
        itself = frozenset({self.arn, role})
        account = frozenset({ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root"})
        theirs = policies.judge(demand.documents, demand.action, demand.resource, context, itself | account)
        if Effect.DENY in (*effects, theirs):
            return False
        allowed = all(effect is Effect.ALLOW for effect in effects)
        if theirs is Effect.ALLOW and not allowed:
            # Naming the account leaves it to the account's own policies.
            allowed = policies.judge(demand.documents, demand.action, demand.resource, context, itself) is Effect.ALLOW
        return allowed and (theirs is Effect.ALLOW or demand.action != "sts:AssumeRole")

    def _context(self) -> dict[str, list[str]]:
        context = {
            "aws:principalarn": [self.arn],
            "aws:principalaccount": [ACCOUNT],
            "aws:requestedregion": [self.signature.region],
            "aws:securetransport": ["false"],
            "aws:sourceip": [self.address],
        }
        if isinstance(self.key, access_control.IAMUserAccessKey):
            context["aws:username"] = [self.arn.rpartition("/")[2]]
        return context


def authenticate(request: Request, address: str) -> Caller:
    """Return who signed the request."""
    signature = read(request)
    headers = {"X-Amz-Security-Token": signature.token} if signature.token is not None else {}
    try:
        key = access_control.create_access_key(ACCOUNT, "aws", signature.key_id, headers)
    except access_control.CreateAccessKeyFailure as error:
        raise RefusedError("token" if error.reason == "InvalidToken" else "unknown") from error
    now = datetime.now(UTC)
    verify(request, signature, key.create_credentials().secret_key, now)
    session = sts_backends[ACCOUNT]["aws"].get_assumed_role_from_access_key(signature.key_id)
    if session and session.expiration.replace(tzinfo=UTC) <= now:
        raise RefusedError("expired")
    stored = iam_backends[ACCOUNT]["aws"].access_keys.get(signature.key_id)
    if stored and stored.status != "Active":
        raise RefusedError("unknown")
    return Caller(key, signature, address, style(request), session.policy if session else None)


def style(request: Request) -> Style:
    """Return how errors are told to the sender of a request."""
    if "x-amz-target" in request.headers:
        return Style.JSON
    if scope := re.search(r"/([\w-]+)/aws4_request", request.headers.get("authorization", "")):
        return {"ec2": Style.EC2, "s3": Style.S3}.get(scope[1], Style.XML)
    if b"Action=" in request.body:
        return Style.EC2 if b"Version=2016-11-15" in request.body else Style.XML
    return Style.S3


def refusal(told: Style, why: str, message: str) -> HTTPException:
    """Return the error as the service words it."""
    code = ERRORS[why][told]
    status = STATUS.get(code, 400 if told is Style.JSON else 403)
    if told is Style.JSON:
        response = Response(json.dumps({"__type": code, "message": message}), status, content_type="application/json")
    else:
        response = Response(BODIES[told].format(code, escape(message)), status, content_type="text/xml")
    error = HTTPException(response.get_data(as_text=True), response)
    error.code = status
    return error


def denial(caller: Caller, demand: Demand) -> Exception:
    """Return the error for a call that is not allowed."""
    if caller.style is Style.S3:
        return BucketAccessDeniedError((demand.resource or "").rpartition(":::")[2].partition("/")[0])
    message = (
        f"You are not authorized to perform this operation. User: {caller.arn} is not authorized to perform: "
        f"{demand.action} on resource: {demand.resource or '*'}"
    )
    return refusal(caller.style, "denied", message)


def demands(caller: Caller, response: Any, resource: str) -> Iterator[Demand]:
    """Yield all that a call must be allowed. Of other services than these, policies' resources are not looked at."""
    service, name = caller.signature.service, response._get_action()
    if service == "ec2":
        parameters = {key: str(values[0]) for key, values in response.querystring.items()}
        yield from ec2_demands(name, parameters, caller.signature.region)
    elif service == "s3":
        yield from s3_demands(name, resource, response)
    elif (service, name) == ("sts", "AssumeRole"):
        yield Demand("sts:AssumeRole", resource, documents=_trust(resource))
    elif (service, name) != ("sts", "GetCallerIdentity"):
        yield Demand(f"{service}:{name}", None)


def _trust(role_arn: str) -> tuple[dict[str, Any], ...]:
    roles = iam_backends[ACCOUNT]["aws"].roles.values()
    return tuple(json.loads(role.assume_role_policy_document) for role in roles if role.arn == role_arn)


def s3_demands(name: str, resource: str, response: Any) -> Iterator[Demand]:
    """Yield what a call of S3 needs. moto asks for several deletes by the bucket's name, for a copy's source never."""
    resources = [(name, resource)]
    if name == "HeadBucket":
        resources = [("ListBucket", resource)]
    elif name == "DeleteObject" and "/" not in resource:
        objects = xmltodict.parse(response.raw_body, force_list=("Object",))["Delete"].get("Object", [])
        resources = [(name, f"{resource}/{each['Key']}") for each in objects]
    if source := response.headers.get("x-amz-copy-source"):
        resources.append(("GetObject", f"arn:aws:s3:::{unquote(source).lstrip('/').partition('?')[0]}"))
    prefix = response.querystring.get("prefix")
    for action, each in resources:
        bucket = s3.s3_backends[ACCOUNT]["aws"].buckets.get(each.rpartition(":::")[2].partition("/")[0])
        documents = (json.loads(bucket.policy),) if bucket and bucket.policy else ()
        yield Demand(f"s3:{action}", each, {"s3:prefix": prefix} if prefix else {}, documents)


def ec2_demands(name: str, parameters: Mapping[str, str], region: str) -> Iterator[Demand]:
    """Yield what a call of EC2 needs: itself on each resource, tags for what it makes, the role it hands over."""
    if name.startswith("Describe"):
        yield Demand(f"ec2:{name}", "*")
        return
    tags = _request_tags(parameters)
    kinds = {}
    for value in parameters.values():
        if found := ID.fullmatch(value):
            kinds[_ec2_arn(KINDS[found[1]], value, region)] = _resource_tags(value, region)
    if key := parameters.get("KeyName"):
        kinds[_ec2_arn("key-pair", key, region)] = {}
    for kind in MADE.get(name, ()):
        arn = _ec2_arn(kind, "*", region)
        kinds[arn] = tags[kind]
        if tags[kind]:
            yield Demand("ec2:CreateTags", arn, {"ec2:createaction": [name], **tags[kind]})
    for arn, context in (kinds or {"*": {}}).items():
        yield Demand(f"ec2:{name}", arn, {**tags[""], **context})
    for role in _profile_roles(parameters):
        yield Demand("iam:PassRole", role, {"iam:passedtoservice": ["ec2.amazonaws.com"]})


def _ec2_arn(kind: str, identifier: str, region: str) -> str:
    account = "" if kind in ("image", "snapshot") else ACCOUNT
    return f"arn:aws:ec2:{region}:{account}:{kind}/{identifier}"


def _resource_tags(identifier: str, region: str) -> dict[str, list[str]]:
    tags = ec2_backends[ACCOUNT][region].tags.get(identifier, {})
    names = ("aws:resourcetag", "ec2:resourcetag")
    return {f"{name}/{key}".lower(): [value] for key, value in tags.items() for name in names}


def _request_tags(parameters: Mapping[str, str]) -> dict[str, dict[str, list[str]]]:
    """Return conditions' keys of the tags in a request, by kind of resource; "" is what the request is about."""
    tags: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for name, key in parameters.items():
        if found := TAG.fullmatch(name):
            kind = parameters[f"TagSpecification.{found[1]}.ResourceType"] if found[1] else ""
            value = parameters.get(f"{name.removesuffix('Key')}Value", "")
            tags[kind][f"aws:requesttag/{key}".lower()] = [value]
            tags[kind].setdefault("aws:tagkeys", []).append(key)
    return tags


def _profile_roles(parameters: Mapping[str, str]) -> list[str]:
    given = {parameters.get("IamInstanceProfile.Name"), parameters.get("IamInstanceProfile.Arn")} - {None}
    profiles = iam_backends[ACCOUNT]["aws"].get_instance_profiles() if given else ()
    return [role.arn for profile in profiles if given & {profile.name, profile.arn} for role in profile.roles]
