"""A local EC2 of the tests' own, for as long as any test wants it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from cluster_user import BIN, PLACE, User, local_ec2


@pytest.fixture(scope="session")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """Bring local EC2 up for the whole session, with a home folder of its own for keys."""
    local_ec2("up", *PLACE.options)
    exports = re.findall(r"^export (\w+)=(.*)$", local_ec2("env", "--name", PLACE.name), re.MULTILINE)
    home = tmp_path_factory.mktemp("sparkfleet")
    env = {**os.environ, **dict(exports), "SPARKFLEET_HOME": str(home), "ANSIBLE_FORCE_COLOR": "0"}
    env["PATH"] = f"{BIN}:{env['PATH']}"
    yield User({key: value for key, value in env.items() if key not in {"AWS_PROFILE", "AWS_CA_BUNDLE"}}, home)
    local_ec2("down", "--name", PLACE.name)
