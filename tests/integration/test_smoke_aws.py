"""`make smoke-aws` with local EC2 in the place of Amazon's: the one way to run it without an account."""

from __future__ import annotations

import re

from cluster_user import PLACE, ROOT, User, local_ec2

SMOKE = str(ROOT / "tests" / "smoke" / "smoke_aws.py")


def smoke(user: User, *options: str, agreed: bool) -> tuple[int, str]:
    """Run the program as `make smoke-aws` does; return its exit code and output."""
    env = {**user.env, "SMOKE_AWS": "yes"} if agreed else user.env
    done = User(env, user.home).run("python", SMOKE, *options)
    return done.returncode, done.stdout


def test_nothing_is_launched_unasked(user: User) -> None:
    """Where nobody can answer and nobody has said yes, it says what it would do and what it would take."""
    code, output = smoke(user, agreed=False)
    assert code == 2
    assert "1 master and 1 worker" in output
    assert "SMOKE_AWS=yes" in output
    assert "ansible-playbook" not in output


def test_local_ec2_is_as_thought(user: User) -> None:
    """All its checks hold for local EC2 too, and it leaves nothing behind."""
    code, output = smoke(user, "-e", '{"components": ["java"]}', agreed=True)
    assert code == 0, output
    assert len(re.findall("^as thought", output, re.MULTILINE)) == 14
    assert "Nothing of the cluster is left." in output


def test_what_fails_is_destroyed_too(user: User) -> None:
    """A run that fails ends with the cluster destroyed, and says that it failed."""
    local_ec2("fault", "no-ssh", "--count", "2", "--name", PLACE.name)
    code, output = smoke(user, "-e", "fleet_boot_timeout=2", agreed=True)
    assert code == 1, output
    assert "FAILED: site.yml" in output
    assert "Nothing of the cluster is left." in output
    assert "or the run failed" in output
