"""The molecule scenarios, in their order and on the same two nodes. `molecule test --all` would sort them by name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = [
    "blank",
    "common",
    "storage",
    "java",
    "spark",
    "datascience",
    "hdfs",
    "fuse_dfs",
    "nfs_gateway",
    "s3fs",
    "ganglia",
    "jupyter_ssl",
]
Molecule = Callable[..., None]


def down() -> None:
    """Remove the scenarios' local EC2 with all that is in it, if it is there."""
    subprocess.run([sys.executable, "-m", "local_ec2", "down", "--name", "molecule"], cwd=ROOT, check=True)


@pytest.fixture(scope="module")
def molecule(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Molecule]:
    """Create the nodes, destroy them after the last test; what runs a command of molecule, which must succeed."""
    logs = tmp_path_factory.mktemp("molecule")

    def run(*command: str) -> None:
        log = logs / "-".join(command).replace("/", "-")
        with log.open("wb") as output:
            done = subprocess.run(["molecule/run", *command], cwd=ROOT, stdout=output, stderr=output, check=False)
        assert done.returncode == 0, f"molecule/run {' '.join(command)}\n{log.read_text(errors='replace')}"

    # What an interrupted run has left would not be blank.
    down()
    try:
        run("create")
        yield run
        run("destroy")
    finally:
        down()


def test_every_scenario_is_run() -> None:
    """A scenario that nobody runs proves nothing."""
    assert sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")) == sorted([*SCENARIOS, "default"])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(molecule: Molecule, scenario: str) -> None:
    """Dry run, converge, second run without a change, verify."""
    molecule("test", "-s", scenario, "--destroy", "never")


def test_dry_run_shows_no_drift(molecule: Molecule) -> None:
    """Where nothing has to be done, a dry run says so."""
    molecule("idempotence", "-s", "spark", "--", "--check")
