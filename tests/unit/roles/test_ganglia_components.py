# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what Ganglia is told of Spark and HDFS. That gmond understands it is the scenario's to show."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

NOW = 1_800_000_000.0
MIB = 2**20


@pytest.fixture
def program(load: Callable[[str], ModuleType]) -> ModuleType:
    """The program."""
    return load("ganglia/files/ganglia-components")


def worker(host: str, silent: float = 0, state: str = "ALIVE") -> dict[str, Any]:
    """Return a worker as Spark's master has it."""
    figures = {"cores": 2, "coresused": 1, "memory": 1024, "memoryused": 512}
    return {"host": host, "state": state, "lastheartbeat": int((NOW - silent) * 1000), **figures}


def status(*workers: dict[str, Any]) -> dict[str, Any]:
    """Return what Spark's master says of itself."""
    apps = [{"state": "RUNNING"}, {"state": "WAITING"}, {"state": "RUNNING"}]
    figures = {"aliveworkers": len(workers), "cores": 4, "coresused": 3, "memory": 2048, "memoryused": 1024}
    return {**figures, "activeapps": apps, "workers": list(workers)}


def beans(**live: int) -> list[dict[str, Any]]:
    """Return what the NameNode says, with DataNodes by their addresses and the seconds since they were heard of."""
    space = {"CapacityTotal": 100, "CapacityUsed": 30, "CapacityRemaining": 70, "TotalLoad": 1}
    blocks = {"FilesTotal": 9, "BlocksTotal": 8, "MissingBlocks": 0, "UnderReplicatedBlocks": 1}
    nodes = {
        name: {"xferaddr": f"{name}:9866", "lastContact": seconds}
        | {"capacity": 50, "usedSpace": 15, "remaining": 35, "numBlocks": 4}
        for name, seconds in live.items()
    }
    return [
        {**space, **blocks, "NumLiveDataNodes": len(live), "NumDeadDataNodes": 0},
        {"LiveNodes": json.dumps(nodes)},
        {"HeapMemoryUsage": {"used": 123}},
    ]


def test_spark(program: ModuleType) -> None:
    """Memory is in bytes, and applications are counted by what they do."""
    found = {(figure.address, figure.name): figure.value for figure in program.spark(status(worker("10.0.0.7")), NOW)}
    assert found["", "spark_workers"] == 1
    assert (found["", "spark_cores"], found["", "spark_cores_used"]) == (4, 3)
    assert found["", "spark_memory_used"] == 1024 * MIB
    assert (found["", "spark_apps_running"], found["", "spark_apps_waiting"]) == (2, 1)
    assert found["10.0.0.7", "spark_worker_memory"] == 1024 * MIB
    assert found["10.0.0.7", "spark_worker_cores_used"] == 1


@pytest.mark.parametrize("left", [worker("10.0.0.8", silent=41), worker("10.0.0.8", state="DEAD")])
def test_spark_does_not_keep_a_worker_that_left(program: ModuleType, left: dict[str, Any]) -> None:
    """A figure in the name of a node is a sign of life to Ganglia."""
    found = program.spark(status(worker("10.0.0.7", silent=39), left), NOW)
    assert {figure.address for figure in found} == {"", "10.0.0.7"}


def test_hdfs(program: ModuleType) -> None:
    """What is of the cluster, and what of a DataNode; not of one that left, which the NameNode keeps for minutes."""
    found = {(f.address, f.name): f.value for f in program.hdfs(beans(one=15, two=16))}
    assert found["", "hdfs_capacity"] == 100
    assert found["", "hdfs_datanodes"] == 2
    assert found["", "hdfs_namenode_heap"] == 123
    assert found["one", "hdfs_datanode_used"] == 15
    assert {address for address, _name in found} == {"", "one"}


@pytest.mark.parametrize(
    ("address", "host"),
    [("", "10.0.0.1:master"), ("10.0.0.1", "10.0.0.1:master"), ("10.0.0.7", "10.0.0.7:worker-10.0.0.7")],
)
def test_names_are_those_of_gmond(program: ModuleType, address: str, host: str) -> None:
    """Else a node would be there twice; a master that is alone is a worker, too."""
    assert program.host_of(address, "10.0.0.1") == host


def test_messages(program: ModuleType) -> None:
    """As Ganglia's protocol has them: numbers of four bytes, texts filled up to a multiple of four."""
    figure = program.Figure("hdfs_used", 3 * 2**40, "bytes", "HDFS space in use", "")
    begin = b"\0\0\0\x0a1.2.3.4:ab\0\0" + b"\0\0\0\x09hdfs_used\0\0\0" + b"\0\0\0\x01"
    assert program.message("1.2.3.4:ab", figure) == (
        b"\0\0\0\x85" + begin + b"\0\0\0\x02%s\0\0" + b"\0\0\0\x0d3298534883328\0\0\0"
    )
    told = program.meaning("1.2.3.4:ab", figure)
    assert told.startswith(
        b"\0\0\0\x80" + begin + b"\0\0\0\x06double\0\0\0\0\0\x09hdfs_used\0\0\0\0\0\0\x05bytes\0\0\0"
    )
    assert len(told) % 4 == 0
    assert b"GROUP\0\0\0\0\0\0\x04hdfs" in told


def test_what_does_not_answer_is_told_once(program: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """And that it does again."""
    answers: list[Any] = [ConnectionRefusedError("no"), ConnectionRefusedError("no"), [1], [2], KeyError("cores")]

    def look() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    source = program.Source("Spark", look)
    assert [source.figures() for _turn in range(5)] == [[], [], [1], [2], []]
    assert capsys.readouterr().out.splitlines() == [
        "Spark has no figures: ConnectionRefusedError('no')",
        "Spark answers",
        "Spark has no figures: KeyError('cores')",
    ]
