"""The molecule scenarios, in their order and on the same two nodes. `molecule test --all` would sort them by name.

Dry run and second run are of all roles in one: by scenario, each would do again what the ones before it have done.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = [
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
    """A scenario that nobody runs proves nothing, and a role that the dry runs do not have neither."""
    scenarios = {path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")}
    assert scenarios == {"default", "blank", *ROLES}
    everything = yaml.safe_load((ROOT / "molecule/default/converge.yml").read_text())
    assert everything[-1]["roles"] == [f"sparkfleet.ec2.{role}" for role in ROLES]


def test_dry_run_on_blank_nodes(molecule: Molecule) -> None:
    """It passes where nothing is, and leaves nothing behind."""
    molecule("test", "-s", "blank", "--destroy", "never")


@pytest.mark.parametrize("role", ROLES)
def test_scenario(molecule: Molecule, role: str) -> None:
    """Converge, verify."""
    molecule("converge", "-s", role)
    molecule("verify", "-s", role)


def test_second_run_changes_nothing(molecule: Molecule) -> None:
    """What all scenarios have left behind is as it should be."""
    molecule("idempotence", "-s", "default")


def test_dry_run_shows_no_drift(molecule: Molecule) -> None:
    """Where nothing has to be done, a dry run says so."""
    molecule("idempotence", "-s", "default", "--", "--check")
