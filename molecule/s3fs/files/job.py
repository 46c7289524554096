"""Reads a text from one folder of S3, writes its lines in capitals to another. Usage: spark-submit job.py FROM TO"""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
lines = spark.sparkContext.textFile(sys.argv[1])
lines.map(str.upper).coalesce(1).saveAsTextFile(sys.argv[2])
print(lines.count())
spark.stop()
