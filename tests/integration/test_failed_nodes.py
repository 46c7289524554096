"""Nodes that never come up: named with their consoles, left out, replaced by the next run."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from cluster_user import PLACE, User, local_ec2

# A node needs a few seconds; this machine may have other things to do.
COMMAND = ("site.yml", "-e", "cluster=frail", "-e", '{"components": ["java"]}', "-e", "fleet_boot_timeout=60")

# How a boot goes wrong: what is said of it, and what the console shows last.
FAULTS = {
    "panics": ("Kernel panic - not syncing", "Unable to mount root fs"),
    "no-ssh": ("does not answer SSH", "END SSH HOST KEY KEYS"),
}


@pytest.fixture(autouse=True)
def no_faults(user: User) -> Iterator[None]:
    """Leave local EC2 in order."""
    yield
    local_ec2("fault", "clear", "--name", PLACE.name)


def by_setup(user: User) -> dict[str, str]:
    """Return the live instances of the cluster with their tag sparkfleet:setup, "" if they have none."""
    filters = [
        {"Name": "tag:sparkfleet:cluster", "Values": ["frail"]},
        {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]},
    ]
    groups = user.client("ec2").describe_instances(Filters=filters)["Reservations"]
    found = [instance for group in groups for instance in group["Instances"]]
    return {
        one["InstanceId"]: {tag["Key"]: tag["Value"] for tag in one["Tags"]}.get("sparkfleet:setup", "")
        for one in found
    }


def failing(*args: str) -> None:
    """Have something go wrong with the next instance that is launched."""
    local_ec2("fault", *args, "--count", "1", "--name", PLACE.name)


def test_without_a_master_nothing_is_set_up(user: User) -> None:
    """One line says so, and EC2 keeps what is to be replaced."""
    failing("dies-at-boot")
    output = user.play(*COMMAND, "-e", "workers=1", fails=True)
    assert re.search(
        r"^master \(i-\w+, m6i.large\): is (terminated|shutting-down) \(Server.InternalError", output, re.M
    )
    assert "No master of cluster frail came up" in output
    assert "-- install --" not in output
    # What did come up is said to cost.
    assert re.search(r"^  1 worker  m6i.large  running$", output, re.M)
    assert list(by_setup(user).values()) == ["pending"]


def test_the_next_run_makes_it_whole(user: User) -> None:
    """The worker that had come up stays."""
    before = by_setup(user)
    assert "Cluster frail: 2 nodes" in user.play(*COMMAND)
    after = by_setup(user)
    assert set(before) < set(after)
    assert list(after.values()) == ["", ""]


def test_workers_that_never_come_up_are_left_out_and_replaced(user: User) -> None:
    """The others are set up and proved; the run says what is missing and ends badly; the next one replaces them."""
    before = by_setup(user)
    for fault in FAULTS:
        failing(fault)
    output = user.play(*COMMAND, "-e", f"workers={len(before) + len(FAULTS)}", fails=True)
    setups = by_setup(user)
    failed = sorted(one for one, setup in setups.items() if setup)
    assert len(failed) == len(FAULTS)
    well = set(setups) - set(failed)
    assert set(before) < well
    for reason, last_words in FAULTS.values():
        (one,) = (instance for instance in failed if setups[instance].startswith(f"failed: {reason}"))
        said = output.split(f"({one}, m6i.large): ", 1)[1]
        assert said.startswith(reason)
        assert last_words in "\n".join(said.splitlines()[:23])
    assert "works: " in output
    assert f"Cluster frail: {len(well)} nodes" in output
    shown = user.play("playbooks/list.yml", "-e", "cluster=frail")
    for one in failed:
        assert re.search(rf"{one} .* FAILED, but runs and costs$", output, re.M)
        assert re.search(rf"^.*Cluster frail is not whole: .*{one} did not come up", output, re.M)
        assert re.search(rf"{one} .*it still costs, the next run of site.yml replaces it$", shown, re.M)
    assert re.search(r"^  2 workers? +m6i.large  running, failed$", output, re.M)

    assert f"Cluster frail: {len(setups)} nodes" in user.play(*COMMAND)
    after = by_setup(user)
    assert not set(failed) & set(after)
    assert well < set(after)
    assert set(after.values()) == {""}


def test_a_worker_that_was_set_up_is_never_replaced_by_itself(user: User) -> None:
    """It may hold data: it is named and left out, and its instance stays as it is."""
    before = by_setup(user)
    (lost,) = re.findall(r"^Host worker-1 (i-\w+)$", (user.home / "frail" / "ssh_config").read_text(), re.M)
    name = user.run("podman", "ps", "--format", "{{.Names}}", "--filter", f"name={lost}").stdout.strip()
    user.run("podman", "exec", name, "systemctl", "stop", "ssh.service")
    # Sessions outlive the service.
    user.run("podman", "exec", name, "pkill", "-9", "sshd")
    output = user.play(*COMMAND, "-e", "fleet_boot_timeout=20", fails=True)
    assert "it was set up once and may hold data, so it is not replaced by itself" in output
    assert f"{lost} did not come up" in output
    assert by_setup(user) == before
    user.run("podman", "exec", name, "systemctl", "start", "ssh.service")
    user.play(*COMMAND)
    user.play("playbooks/destroy.yml", "-e", "cluster=frail", "-e", "confirm=yes")
