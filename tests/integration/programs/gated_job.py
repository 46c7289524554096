"""A job that cannot end before it is let through, and that sends a given text in every way that Spark sends data.

Usage: spark-submit gated_job.py GATE TEXT. Each of its tasks leaves GATE.waiting on its node and waits until GATE
is there too. Prints one line of JSON: {"application": "app-…", "texts": 40000}.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from pyspark.sql import SparkSession

TASKS = 8
COPIES = 5000


def main() -> None:
    """Send the text with the closure, as a broadcast, through a shuffle and back to the driver."""
    gate, text = sys.argv[1:]
    context = SparkSession.builder.getOrCreate().sparkContext
    shared = context.broadcast([f"{text} broadcast {number}" for number in range(COPIES)])

    def wait(task: int) -> list[tuple[int, str]]:
        Path(f"{gate}.waiting").touch()
        while not Path(gate).exists():
            time.sleep(0.1)
        return [(number, f"{text} shuffled {task} {copy}") for number, copy in enumerate(shared.value)]

    groups = context.parallelize(range(TASKS), TASKS).flatMap(wait).groupByKey(TASKS)
    texts = groups.flatMap(lambda group: list(group[1])).filter(lambda copy: copy.startswith(text)).collect()
    print(json.dumps({"application": context.applicationId, "texts": len(set(texts))}))


if __name__ == "__main__":
    main()
