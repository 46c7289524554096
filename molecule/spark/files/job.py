"""Sum 0..N-1 on the executors. Prints JSON: the sum, and on which hosts, as which users and in which folders."""

from __future__ import annotations

import json
import os
import pwd
import socket
import sys
from collections.abc import Iterable, Iterator

from pyspark.sql import SparkSession


def work(numbers: Iterable[int]) -> Iterator[tuple[int, str, str, list[str]]]:
    """Yield the sum of one partition, and who worked it out; the folders are those that the executor really uses."""
    folders = [os.getcwd(), *os.environ["SPARK_LOCAL_DIRS"].split(",")]
    yield sum(numbers), socket.gethostname(), pwd.getpwuid(os.getuid()).pw_name, folders


spark = SparkSession.builder.getOrCreate()
parts = spark.sparkContext.range(int(sys.argv[1]), numSlices=8).mapPartitions(work).collect()
spark.stop()
sums, hosts, users, folders = zip(*parts, strict=True)
result = {"sum": sum(sums), "hosts": sorted(set(hosts)), "users": sorted(set(users)), "folders": folders[0]}
print(json.dumps(result))
