# Managed by Ansible (sparkfleet.ec2.datascience)
"""A job that proves that drivers and executors have the same software: each learns the same, and says what it has.

Usage: spark-submit validate-datascience.py CORES | python validate-datascience.py

With CORES, as many tasks run at one time as Spark has cores, so that each worker takes part. Prints one line of JSON:
{"hosts": ["10.0.0.1", …], "problems": []}. A problem is a line that says what differs, where, and what would do.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression

SEEDS = range(4)
R_SUM = "cat(paste0(R.version$major, '.', R.version$minor), sum(scan('stdin', quiet = TRUE)))"


def learn(seed: int) -> list[float]:
    """Return what a model makes of numbers that are the same wherever they are thrown."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(random.normal(size=(500, 3)), columns=["a", "b", "c"])
    frame["y"] = frame @ [1.0, -2.0, seed] + random.normal(scale=0.1, size=len(frame))
    model = LinearRegression().fit(frame[["a", "b", "c"]], frame["y"])
    return [*model.coef_.tolist(), float(frame["y"].median())]


def ask_r() -> list[str]:
    """Return R's version, and what it makes of 1 + 2 + 39; nothing if there is no R."""
    if not shutil.which("Rscript"):
        return []
    command = ["Rscript", "--vanilla", "-e", R_SUM]
    return subprocess.run(command, input="1 2 39", stdout=subprocess.PIPE, text=True, check=True).stdout.split()


def report() -> str:
    """Return as JSON what was learnt here, and with which software."""
    # Those of the environment: an executor sees PySpark, too, and some see it in another way.
    found = {item.metadata["Name"]: item.version for item in importlib.metadata.distributions()}
    software = {**found, "Python": platform.python_version(), "R": " ".join(ask_r())}
    software.pop("pyspark", None)
    return json.dumps({"learnt": [learn(seed) for seed in SEEDS], "software": software})


def task(batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Yield one row: this executor's address, and what it reports."""
    for _batch in batches:
        pass
    yield pd.DataFrame({"host": [os.environ["SPARK_LOCAL_IP"]], "report": [report()]})


def on_workers(cores: int) -> dict[str, str]:
    """Return what each worker reports, by its address."""
    # Where there is no Spark there are no workers.
    from pyspark.sql import SparkSession  # noqa: PLC0415

    spark = (
        SparkSession.builder.appName("sparkfleet validate datascience")
        .config("spark.cores.max", cores)
        .config("spark.scheduler.minRegisteredResourcesRatio", 1)
        .config("spark.scheduler.maxRegisteredResourcesWaitingTime", "60s")
        .getOrCreate()
    )
    # A barrier: none of the tasks begins before all can.
    rows = spark.range(0, cores, 1, cores).mapInPandas(task, "host string, report string", barrier=True).collect()
    spark.stop()
    return {row.host: row.report for row in rows}


def differences(host: str, theirs: str, ours: str) -> Iterator[str]:
    """Yield a line for each thing in which a worker differs from this node."""
    there, here = json.loads(theirs), json.loads(ours)
    for name in sorted(there["software"].keys() | here["software"].keys()):
        has, wanted = there["software"].get(name) or "none", here["software"].get(name) or "none"
        if has != wanted:
            yield (
                f"{name}: {host} has {has}, the master has {wanted}; give its version in datascience_python_packages, "
                "or run with -e full=yes, which mends what was changed by hand"
            )
    if not np.allclose(there["learnt"], here["learnt"]):
        yield f"{host} learns {there['learnt']} where the master learns {here['learnt']}"


def main() -> None:
    """Learn everywhere and compare."""
    ours = report()
    reports = on_workers(int(sys.argv[1])) if sys.argv[1:] else {}
    problems = [line for host, theirs in sorted(reports.items()) for line in differences(host, theirs, ours)]
    if ask_r()[1:] not in ([], ["42"]):
        problems.append(f"R says that 1 + 2 + 39 is {' '.join(ask_r()[1:])}")
    print(json.dumps({"hosts": sorted(reports), "problems": problems}))


if __name__ == "__main__":
    main()
