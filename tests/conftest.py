"""What `make test` runs at the same time: two workers take one file after the other, those that take long first."""

from __future__ import annotations

from pathlib import Path

import pytest

LONG = [
    "molecule",
    "spark_cluster",
    "cluster_life",
    "resume",
    "failed_nodes",
    "kernel",
    "fleet_options",
    "storage",
    "bad_input",
    "smoke_aws",
]


# Before xdist's own, which reads the marks.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests together and in their order, and files together that share a cluster."""
    shared = {item.path for item in items if "spark_cluster" in getattr(item, "fixturenames", ())}
    groups = {item: "spark_cluster" if item.path in shared else group_of(item.path) for item in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: LONG.index(groups[item]) if groups[item] in LONG else len(LONG))


def group_of(path: Path) -> str:
    """Return the name of a file of tests as it is in `LONG`."""
    return path.stem.removeprefix("test_")
