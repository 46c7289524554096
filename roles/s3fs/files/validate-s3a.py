# Managed by Ansible (sparkfleet.ec2.s3fs)
"""A job that proves s3a:// by using it: the executors write numbers into a folder, and sum up what they read there.

Usage: spark-submit validate-s3a.py s3a://BUCKET/FOLDER

The folder is removed. Prints the sum.
"""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

NUMBERS = 1000


def main() -> None:
    """Write, read and remove."""
    folder = sys.argv[1]
    spark = SparkSession.builder.appName("sparkfleet validate s3a").getOrCreate()
    spark.range(NUMBERS).write.parquet(folder)
    found = spark.read.parquet(folder).groupBy().sum("id").collect()[0][0]
    java = spark._jvm.org.apache.hadoop.fs
    path = java.Path(folder)
    path.getFileSystem(spark._jsc.hadoopConfiguration()).delete(path, True)
    spark.stop()
    print(found)


if __name__ == "__main__":
    main()
