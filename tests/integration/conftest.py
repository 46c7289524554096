"""Local EC2s of the tests' own, for as long as any test wants them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cluster_user import PLACE, User, local_ec2_at
from place import place
from spark_cluster import PLACE as SPARK_PLACE
from spark_cluster import WORKERS, SparkCluster, until


@pytest.fixture(scope="session")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """Bring local EC2 up for the whole session, with a home folder of its own for keys."""
    with local_ec2_at(PLACE, tmp_path_factory.mktemp("sparkfleet")) as user:
        yield user


@pytest.fixture(scope="module")
def storage_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """Bring another local EC2 up for the tests of disks."""
    with local_ec2_at(place(7, "storage"), tmp_path_factory.mktemp("storage") / "home") as user:
        yield user


@pytest.fixture(scope="session")
def spark_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    """Launch a cluster on another local EC2, which the tests of faults and those of security share."""
    folder = tmp_path_factory.mktemp("spark_cluster")
    with local_ec2_at(SPARK_PLACE, folder / "home") as user:
        cluster = SparkCluster(user, "proof", folder)
        (folder / "launch.log").write_text(cluster.play("-vvv", "--diff"))
        cluster.copy_programs()
        until(lambda: len(cluster.alive()) == len(WORKERS))
        yield cluster
