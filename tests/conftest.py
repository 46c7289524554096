"""What `make test` runs at the same time: two workers take one file after the other, those that take long first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

LONG = [
    "molecule",
    "cluster_life",
    "on the same cluster",
    "resume",
    "failed_nodes",
    "kernel",
    "fleet_options",
    "storage",
    "bad_input",
    "smoke_aws",
]
ON_THE_SAME_CLUSTER = {"notebooks", "security", "spark_faults", "spark_on_hdfs"}


def group_of(file: str) -> str:
    """Return what the tests of a file have to be run together with: that file, or those that share its cluster."""
    name = Path(file).stem.removeprefix("test_")
    return "on the same cluster" if name in ON_THE_SAME_CLUSTER else name


class ByGroup(LoadFileScheduling):
    """Gives a worker one group after the other."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid.partition("::")[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByGroup:
    """Have it used by xdist."""
    return ByGroup(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put first what takes long."""
    groups = {item: group_of(str(item.path)) for item in items}
    items.sort(key=lambda item: LONG.index(groups[item]) if groups[item] in LONG else len(LONG))
