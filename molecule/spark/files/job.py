"""Sum 0..N-1 on the executors. Prints JSON: the sum, and on which hosts and as which users the executors ran."""

from __future__ import annotations

import json
import os
import pwd
import socket
import sys
from collections.abc import Iterable, Iterator

from pyspark.sql import SparkSession


def work(numbers: Iterable[int]) -> Iterator[tuple[int, str, str]]:
    """Yield the sum of one partition, and who worked it out."""
    yield sum(numbers), socket.gethostname(), pwd.getpwuid(os.getuid()).pw_name


spark = SparkSession.builder.getOrCreate()
parts = spark.sparkContext.range(int(sys.argv[1]), numSlices=8).mapPartitions(work).collect()
spark.stop()
sums, hosts, users = zip(*parts, strict=True)
print(json.dumps({"sum": sum(sums), "hosts": sorted(set(hosts)), "users": sorted(set(users))}))
