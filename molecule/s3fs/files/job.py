"""Reads a text from one folder of S3, writes its lines in capitals to another, tries a third that is not to be read.

Usage: spark-submit job.py FROM TO FORBIDDEN. Prints the number of lines, and what it is told of the third.
"""

from __future__ import annotations

import sys

from py4j.protocol import Py4JJavaError
from pyspark import SparkContext

context = SparkContext()
lines = context.textFile(sys.argv[1])
lines.map(str.upper).coalesce(1).saveAsTextFile(sys.argv[2])
print(lines.count())
try:
    print(context.textFile(sys.argv[3]).count())
except Py4JJavaError as error:
    print(error.java_exception.toString())
context.stop()
