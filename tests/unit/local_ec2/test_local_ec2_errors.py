# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers of the API."""

from __future__ import annotations

from typing import Any, cast

import pytest
from moto.ec2.responses import EC2Response

from local_ec2.deviations import errors


def test_answers_share_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are served at the same time; moto keeps what DescribeKeyPairs leaves out with the class."""
    for name in ("__init__", "serialized"):
        monkeypatch.setattr(EC2Response, name, getattr(EC2Response, name))
    errors.install(cast(Any, None))
    one, other = EC2Response(), EC2Response()
    one._exclude_from_response("KeyPairs.KeyPair.PublicKey")
    assert "KeyPairs.KeyPair.PublicKey" in one.RESPONSE_KEY_PATH_TO_TRANSFORMER
    for answer in (other, EC2Response()):
        assert "KeyPairs.KeyPair.PublicKey" not in answer.RESPONSE_KEY_PATH_TO_TRANSFORMER
