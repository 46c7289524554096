# Managed by Ansible (sparkfleet.ec2.spark)
"""A job that proves a cluster by using it: computes pi on every worker and counts the words of text files.

Usage: spark-submit validate-spark.py WORKERS CORES FILE...

Waits for executors with CORES cores in all, so that each of the WORKERS takes part. Prints one line of JSON:
{"application": "app-…", "pi": 3.14…, "hosts": ["10.0.0.1", …], "words": 12345}.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Iterable, Iterator
from operator import add

from pyspark.sql import SparkSession

SAMPLES = 200_000


def throw(seeds: Iterable[int]) -> Iterator[tuple[str, int]]:
    """Yield, for each seed, this executor's address and how many of SAMPLES random points fell into the circle."""
    for seed in seeds:
        point = random.Random(seed).random
        yield os.environ["SPARK_LOCAL_IP"], sum(point() ** 2 + point() ** 2 <= 1 for _sample in range(SAMPLES))


def main() -> None:
    """Run both jobs."""
    workers, cores, files = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    spark = (
        SparkSession.builder.appName("sparkfleet validate")
        .config("spark.cores.max", cores)
        .config("spark.scheduler.minRegisteredResourcesRatio", 1)
        .config("spark.scheduler.maxRegisteredResourcesWaitingTime", "60s")
        .getOrCreate()
    )
    context = spark.sparkContext
    tasks = max(cores, workers) * 2
    hits = context.parallelize(range(tasks), tasks).mapPartitions(throw).collect()
    # Bytes, not text: the figure is compared with that of coreutils in the C locale.
    lines = context.textFile(",".join(f"file://{name}" for name in files), use_unicode=False)
    result = {
        "application": context.applicationId,
        "pi": 4 * sum(hit for _host, hit in hits) / (tasks * SAMPLES),
        "hosts": sorted({host for host, _hit in hits}),
        "words": lines.map(lambda line: len(line.split())).reduce(add),
    }
    spark.stop()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
