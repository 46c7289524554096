"""Sum the squares below N on the executors in several ways, and let each learn a line. Prints JSON.

Each way is one that goes by what is installed there: numpy and pandas in a UDF of SQL, R behind a pipe. What Vowpal
Wabbit learns is y = 2x + 1.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
import sklearn
from pyspark.sql import SparkSession
from pyspark.sql.functions import pandas_udf
from pyspark.sql.types import DoubleType
from vowpalwabbit import Workspace

R = "x <- as.numeric(readLines('stdin')); cat(format(sum(x^2), digits = 20), '\n')"


def learn(_numbers: Iterable[int]) -> Iterator[tuple[str, str, float, str]]:
    """Yield the host, its Python, what a model trained here says of 0.5, and the version of scikit-learn."""
    model = Workspace(quiet=True, learning_rate=1)
    for x in np.random.default_rng(1).random(5000):
        model.learn(f"{2 * x + 1} | x:{x}")
    yield socket.gethostname(), os.path.dirname(sys.executable), model.predict("| x:0.5"), sklearn.__version__
    model.finish()


@pandas_udf(DoubleType())
def square(numbers: pd.Series) -> pd.Series:
    """Return the squares."""
    return pd.Series(np.square(numbers.to_numpy(dtype="float64")))


spark = SparkSession.builder.getOrCreate()
count = int(sys.argv[1])
numbers = spark.range(count).repartition(4)
sums = numbers.select(square("id").alias("square")).groupBy().sum("square").first()
by_r = numbers.rdd.map(lambda row: row.id).pipe(f'Rscript --vanilla -e "{R}"').collect()
learnt = spark.sparkContext.parallelize(range(4), 4).mapPartitions(learn).collect()
hosts, pythons, predictions, versions = zip(*learnt, strict=True)
spark.stop()
print(
    json.dumps(
        {
            "pandas": sums and sums[0],
            "r": sum(map(float, by_r)),
            "hosts": sorted(set(hosts)),
            "pythons": sorted({*pythons, os.path.dirname(sys.executable)}),
            "predictions": sorted(set(predictions)),
            "versions": sorted(set(versions)),
        }
    )
)
