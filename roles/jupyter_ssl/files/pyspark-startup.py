# Managed by Ansible (sparkfleet.ec2.jupyter_ssl)
"""What each notebook of the kernel PySpark begins with: `spark` and `sc`, a session on the cluster."""

from pyspark import SparkContext
from pyspark.sql import SparkSession

# The session's own address is one of the cluster's. This one works for who has an SSH session open, as `connect` says.
SparkContext.uiWebUrl = property(lambda context: f"http://localhost:8080/proxy/{context.applicationId}/")

spark = SparkSession.builder.getOrCreate()
sc = spark.sparkContext
del SparkContext
