# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What our modules that talk to AWS share.

This module util is PRIVATE to the collection and may change without notice.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

with contextlib.suppress(ImportError):  # AnsibleAWSModule says what is missing
    from botocore import exceptions

# The tag of an instance that is not set up yet: pending, or failed with the reason.
SETUP = "sparkfleet:setup"
LOG_IN = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in again"
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
INVALID = {"AuthFailure", "InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException"}
FORBIDDEN = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}


def error_code(error: exceptions.ClientError) -> str:
    """The API's name for the error, such as C(InvalidInstanceType)."""
    return error.response.get("Error", {}).get("Code", "")


def missing_permission(error: exceptions.ClientError) -> str:
    """The permission for want of which a call was refused: its own, or that of what it does beside it."""
    named = re.search(r"not authorized to perform: ([\w-]+:\w+)", error.response.get("Error", {}).get("Message", ""))
    return named[1] if named else f"ec2:{error.operation_name}"


def api_error_reason(error: exceptions.ClientError) -> str:
    """What an error of the API means to a user, in one line."""
    code = error_code(error)
    if code in EXPIRED:
        return f"the AWS credentials have expired ({code}); {LOG_IN}"
    if code in INVALID:
        return f"AWS does not accept the credentials ({code}); {LOG_IN}"
    if code in FORBIDDEN:
        return f"the AWS credentials do not allow {missing_permission(error)}; ask for that permission"
    return f"{code}: {error.response.get('Error', {}).get('Message', '')}"


def refusals_in_one_line(refused: dict[str, exceptions.ClientError], verb: str) -> str:
    """All permissions that are missing, or else what EC2 has against each call. refused: its answers, by call."""
    missing = sorted({missing_permission(error) for error in refused.values() if error_code(error) in FORBIDDEN})
    if missing:
        return f"the AWS credentials do not allow {', '.join(missing)}; ask for what is missing"
    return "; ".join(f"{name} {verb}: {' '.join(api_error_reason(error).split())}" for name, error in refused.items())


def state_in_words(instance: dict[str, Any]) -> str:
    """An instance's state, with EC2's reason in parentheses where it gives one."""
    reason = instance.get("StateReason", {}).get("Message", "")
    return instance["State"]["Name"] + (f" ({reason})" if reason else "")


def aws_reason(error: Exception) -> str:
    """What went wrong with a call to AWS, and what would do, in one line. error: any of botocore's."""
    if isinstance(error, exceptions.ClientError):
        text = api_error_reason(error)
    elif isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
        text = f"there are no AWS credentials; {LOG_IN}"
    elif isinstance(error, (exceptions.SSOError, exceptions.TokenRetrievalError, exceptions.CredentialRetrievalError)):
        text = f"the AWS credentials cannot be had ({error}); {LOG_IN}"
    else:
        text = str(error)
    return " ".join(text.split())


@contextlib.contextmanager
def failing_in_one_line(module: AnsibleAWSModule, action: str) -> Iterator[None]:
    """Turn botocore's errors into the module's failure: "cannot <action>: <reason>"."""
    try:
        yield
    except (exceptions.ClientError, exceptions.BotoCoreError) as error:
        module.fail_json(msg=f"cannot {action}: {aws_reason(error)}")
