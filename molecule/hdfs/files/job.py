"""Read a table of HDFS, write another one; print how many rows were read by tasks on the node that holds them."""

from __future__ import annotations

import json
import sys

from pyspark.sql import SparkSession

source, target = sys.argv[1:]
spark = SparkSession.builder.getOrCreate()
lines = spark.read.text(source)
words = lines.selectExpr("explode(split(value, '\\\\s+')) AS word").where("word != ''")
words.groupBy("word").count().write.mode("overwrite").parquet(target)
print(
    json.dumps(
        {
            "application": spark.sparkContext.applicationId,
            "words": spark.read.parquet(target).agg({"count": "sum"}).first()[0],
        }
    )
)
spark.stop()
