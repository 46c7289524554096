"""What will not do is refused in one line, which says what would, before anything is changed in EC2."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_calls import ReadOnly
from botocore.config import Config
from cluster_user import ROOT, User

AT_ONCE = 3
PRIVATE_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n"
NOBODYS = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}


def extra(**variables: Any) -> str:
    """Return what follows -e to set variables that are not texts."""
    return json.dumps(variables)


# The settings of what is not installed unless asked for are judged where it is.
COMPONENTS = ["java", "hdfs", "fuse_dfs", "nfs_gateway"]
FACES = f"components={','.join(COMPONENTS)}"

# What is given by -e, and how the line goes on after the names of host and task.
SETTINGS = [
    # The cluster as a whole
    ("workers=-1", 'workers: got "-1"; give a whole number from 0 up'),
    ("workers=three", 'workers: got "three"; give a whole number from 0 up'),
    ("workers=2.5", 'workers: got "2.5"; give a whole number from 0 up'),
    ("workers=", 'workers: got ""; give a whole number from 0 up'),
    (extra(workers=None), "workers: is not set; give a whole number from 0 up"),
    (extra(workers=[3]), "workers: got [3]; give a whole number from 0 up"),
    ("fleet_workers=x", 'workers: got "x"; give a whole number from 0 up'),
    ("wokers=3", "wokers: no such setting; did you mean workers?"),
    ("fleet_cluster=Mine", 'cluster: got "Mine"; give a name of up to 40 lower-case letters'),
    ("full=perhaps", 'full: got "perhaps"; give true or false'),
    ("confirm=perhaps", 'confirm: got "perhaps"; give yes or no, as in -e confirm=yes'),
    ("fleet_confirm=perhaps", 'confirm: got "perhaps"; give yes or no'),
    ("sparkfleet_validate=perhaps", 'sparkfleet_validate: got "perhaps"; give true or false'),
    ("sparkfleet_mirrors=https://a.example", 'sparkfleet_mirrors: got "https://a.example"; give a list'),
    # Components
    ("components=java,spork", 'components: there is no component "spork"; did you mean spark?'),
    ("components=", 'components: got ""; give names, as in -e components=java,spark'),
    (extra(components=5), "components: got 5; give names"),
    (extra(components={"java": 17}), 'components: got {"java": 17}; give names'),
    (extra(components=[5]), "components: got 5; give names, or dictionaries with role, phase and hosts"),
    ("components=spark", "components: spark needs java; give -e components=java,spark"),
    ("components=java,java", 'components: "java" is there twice'),
    ("components=java,fleet", 'components: there is no component "fleet"; give any of'),
    (
        "components=amazon.aws.x",
        "components: amazon.aws.x is no component of ours; for the role of that name give {role:",
    ),
    (extra(components=["java", {"phase": "run"}]), 'components: {"phase": "run"} has no full name of a role; give one'),
    (extra(components=["java", {"role": "no.such.role"}]), "names a role that is not there; install the collection"),
    (
        extra(components=[{"role": "sparkfleet.ec2.java", "phase": "boot"}]),
        "has an unknown phase; give one of preflight",
    ),
    (
        extra(components=[{"role": "sparkfleet.ec2.java", "hosts": "node7"}]),
        "has unknown hosts; give one of all, master",
    ),
    (
        extra(components=[{"role": "sparkfleet.ec2.java", "host": "all"}]),
        "has no use for host; give role, phase and hosts",
    ),
    ("componets=java", "componets: no such setting; did you mean components?"),
    ("validate_components=spork", 'validate_components: "spork" is not in components; give any of java, spark'),
    ("validate_components=", 'validate_components: got ""; give names, as in -e validate_components=java,spark'),
    (
        "components=java validate_components=spark",
        'validate_components: "spark" is not in components; give any of java',
    ),
    # fleet
    ("fleet_master_instance_type=big", 'fleet_master_instance_type: got "big"; give an instance type of EC2'),
    ("fleet_master_instance_type=t3.nano", "fleet_master_instance_type: t3.nano has less than the 2 GiB of memory"),
    (
        "fleet_master_instance_type=m6g.large",
        "fleet_worker_instance_type: m6i.large and m6g.large have no architecture",
    ),
    ("fleet_worker_instance_type=m5.medium", 'type "m5.medium" does not exist in us-east-1; did you mean m5.large?'),
    (
        extra(fleet_worker_instance_type=["m5.large"]),
        'fleet_worker_instance_type: got ["m5.large"]; give an instance type',
    ),
    ("fleet_image=windows", 'fleet_image: got "windows"; give debian-12, ubuntu-24.04 or the id of an image'),
    ("fleet_image=ami-12345678", "fleet_image: ami-12345678 is not to be had in this region; give an image for x86_64"),
    (extra(fleet_login_user="Jo Doe"), 'fleet_login_user: got "Jo Doe"; give a user name such as admin'),
    (
        "fleet_ssh_public_key=/no/such.pub",
        'got "/no/such.pub", and there is no such file; give the path of a public key',
    ),
    (
        "fleet_ssh_public_key=/etc/passwd",
        'got "/etc/passwd", a file that is no public key of SSH; give one that begins',
    ),
    (
        extra(fleet_ssh_public_key="ssh-rsa me"),
        "fleet_ssh_public_key: got a text that is no public key of SSH; give one",
    ),
    (
        extra(fleet_ssh_public_key=PRIVATE_KEY),
        "fleet_ssh_public_key: got a text that is no public key, and there is no",
    ),
    ("fleet_allowed_cidrs=10.0.0.0/8", 'fleet_allowed_cidrs: got "10.0.0.0/8"; give a list of IPv4 networks'),
    (extra(fleet_allowed_cidrs=["10.0.0.300/24"]), 'got ["10.0.0.300/24"]; give a list of IPv4 networks'),
    (extra(fleet_allowed_cidrs=["10.0.0.5/24"]), 'got ["10.0.0.5/24"]; give a list of IPv4 networks'),
    (extra(fleet_allowed_cidrs=["2001:db8::/32"]), 'got ["2001:db8::/32"]; give a list of IPv4 networks'),
    (
        extra(fleet_allowed_cidrs=["0.0.0.0/0"]),
        "got 0.0.0.0/0, which lets in the whole world; give smaller networks, or say",
    ),
    ("fleet_allow_the_whole_world=perhaps", 'fleet_allow_the_whole_world: got "perhaps"; give true or false'),
    ("fleet_root_volume_gb=7", 'fleet_root_volume_gb: got "7"; give a number of GiB from 8 to 65536'),
    ("fleet_root_volume_gb=30GB", 'fleet_root_volume_gb: got "30GB"; give a number of GiB from 8 to 65536'),
    ("fleet_state_dir=keys", 'fleet_state_dir: got "keys"; give an absolute path, or one that begins with ~'),
    ("fleet_state_dir=/etc/passwd", 'fleet_state_dir: got "/etc/passwd", which is a file; give a folder'),
    (
        extra(fleet_nodes=["i-1"]),
        'fleet_nodes: got ["i-1"], which the inventory does not have; give names of its hosts',
    ),
    (extra(fleet_open_ports=[0]), "fleet_open_ports: got [0]; give a list of ports"),
    (extra(fleet_forwarded_loopback_ports=["a"]), 'fleet_forwarded_loopback_ports: got ["a"]; give a list of ports'),
    ("fleet_socks_port=70000", 'fleet_socks_port: got "70000"; give a port, or 0 for none'),
    (extra(fleet_forwarded_ports=[99999]), "fleet_forwarded_ports: got [99999]; give a list of ports"),
    ("fleet_subnet_id=default", 'fleet_subnet_id: got "default"; give the id of a subnet, such as subnet-'),
    ("fleet_subnet_id=subnet-12345678", "fleet_subnet_id: "),
    (extra(fleet_instance_profile="my role"), 'fleet_instance_profile: got "my role"; give the name or the ARN of an'),
    ("fleet_placement_group=ä", 'fleet_placement_group: got "ä"; give cluster, or the name of a placement group'),
    (extra(fleet_tags=["Team"]), 'fleet_tags: got ["Team"]; give a dictionary, as in -e'),
    (extra(fleet_tags={"aws:x": "1"}), 'fleet_tags: got the key "aws:x"; give keys of up to 128 letters'),
    (extra(fleet_tags={"Team": ["a"]}), "fleet_tags: got the value"),
    ("fleet_user_data=/no/such.yml", 'fleet_user_data: got "/no/such.yml", and there is no such file; give the path'),
    ("fleet_boot_timeout=0", 'fleet_boot_timeout: got "0"; give a number of seconds, such as 300'),
    ("fleet_capacity_wait=long", 'fleet_capacity_wait: got "long"; give a number of seconds from 0 to 86400'),
    ("fleet_wokers=3", "fleet_wokers: no such setting; did you mean fleet_workers?"),
    # common
    ("common_cluster=Mine", 'common_cluster: got "Mine"; give a name of up to 40 lower-case letters'),
    ("common_master_host=nobody", 'common_master_host: got "nobody", which the inventory does not have; give the name'),
    (extra(common_master_address="a b"), 'common_master_address: got "a b"; give an IPv4 address or a name'),
    ("common_node_role=slave", 'common_node_role: got "slave"; give one of master, worker'),
    ("common_alone=perhaps", 'common_alone: got "perhaps"; give true or false'),
    # storage
    (
        "components=storage,java,spark storage_layout=striped",
        'storage_layout: got "striped"; give one of separate',
    ),
    # java
    ("java_version=8", 'java_version: got "8"; give 17, or 21 for nodes that run Ubuntu 24.04'),
    ("java_version=seventeen", 'java_version: got "seventeen"; give 17'),
    ("java_verison=17", "java_verison: no such setting; did you mean java_version?"),
    # hdfs
    ("components=hdfs", "components: hdfs needs java; give -e components=java,hdfs"),
    (
        "components=java,hdfs hdfs_version=3.3.6",
        'hdfs_version: got "3.3.6"; give a version from 3.4.0 up, such as 3.5.0',
    ),
    (
        extra(components=["java", "hdfs"], hdfs_mirrors=["a.example"]),
        'hdfs_mirrors: got ["a.example"]; give a list of http or https URLs',
    ),
    (extra(components=["java", "hdfs"], hdfs_mirrors=[]), "hdfs_mirrors: got []; give at least one base URL"),
    (
        "components=java,hdfs hdfs_sha512=abc",
        'hdfs_sha512: got "abc"; give the 128 hex digits of the archive\'s sha512',
    ),
    ("components=java,hdfs hdfs_java_home=java", 'hdfs_java_home: got "java"; give an absolute path'),
    ("components=java,hdfs hdfs_replication=0", 'hdfs_replication: got "0"; give the number of copies of each block'),
    ("components=java,hdfs hdfs_datanodes=0", 'hdfs_datanodes: got "0"; give the number of DataNodes, from 1 up'),
    (extra(components=["java", "hdfs"], hdfs_users=[]), "hdfs_users: got []; give at least one user name"),
    (extra(components=["java", "hdfs"], hdfs_users=["hdfs"]), 'hdfs_users: got "hdfs", the superuser; give the users'),
    (
        extra(components=["java", "hdfs"], hdfs_conf={"x": 1, "dfs.x": 1}),
        'hdfs_conf: got ["x"]; give names that begin with "dfs."',
    ),
    (
        extra(components=["java", "hdfs"], hdfs_conf={"dfs.x": [1]}),
        'hdfs_conf: got {"dfs.x": [1]}; give each a text or',
    ),
    (
        extra(components=["java", "hdfs"], hdfs_conf={"dfs.namenode.name.dir": "/x"}),
        "hdfs_conf: got dfs.namenode.name.dir; leave the folders as they are",
    ),
    # spark
    ("spark_version=4", 'spark_version: got "4"; give a version from 4.0.0 up, such as 4.2.1'),
    ("spark_version=3.5.1", 'spark_version: got "3.5.1"; give a version from 4.0.0 up'),
    ("spark_verson=4.2.1", "spark_verson: no such setting; did you mean spark_version?"),
    (
        extra(spark_mirrors=["ftp://a.example"]),
        'spark_mirrors: got ["ftp://a.example"]; give a list of http or https URLs',
    ),
    (extra(spark_mirrors=[]), "spark_mirrors: got []; give at least one base URL"),
    (
        "spark_sha512=abc",
        'spark_sha512: got "abc"; give the 128 hex digits of the archive\'s sha512, or leave it empty',
    ),
    ("spark_java_home=java", 'spark_java_home: got "java"; give an absolute path'),
    ("spark_submit_users=admin", 'spark_submit_users: got "admin"; give a list of user names'),
    (extra(spark_submit_users=["Jo Doe"]), 'spark_submit_users: got ["Jo Doe"]; give a list of user names'),
    ("spark_workers=0", 'spark_workers: got "0"; give the number of workers, from 1 up'),
    ("spark_conf=spark.x=1", 'spark_conf: got "spark.x=1"; give a dictionary, as in -e'),
    (
        extra(spark_conf={"shuffle": 1, "spark.x": 1}),
        'spark_conf: got ["shuffle"]; give names that begin with "spark."',
    ),
    (extra(spark_conf={"spark.x": [1]}), 'spark_conf: got {"spark.x": [1]}; give each a text or a number of one line'),
    (extra(spark_conf={"spark.x": "1\nspark.y 2"}), 'got {"spark.x": "1\\nspark.y 2"}; give each a text or a number'),
    (extra(spark_conf={"spark.authenticate": "false"}), "spark_conf: got spark.authenticate; leave authentication and"),
    # fuse_dfs
    (f"{FACES} fuse_dfs_path=hdfs", 'fuse_dfs_path: got "hdfs"; give an absolute path such as /fuse_dfs'),
    (f"{FACES} fuse_dfs_path=/a/../b", 'fuse_dfs_path: got "/a/../b"; give an absolute path such as /fuse_dfs'),
    (f"{FACES} fuse_dfs_path=/", 'fuse_dfs_path: got "/"; give an absolute path such as /fuse_dfs'),
    (
        f"{FACES} fuse_dfs_path=/hdfs_nfs",
        'fuse_dfs_path: got "/hdfs_nfs", and nfs_gateway_path is "/hdfs_nfs"; give paths of which none is in the other',
    ),
    (f"{FACES} fuse_dfs_path=/hdfs_nfs/fuse", 'fuse_dfs_path: got "/hdfs_nfs/fuse", and nfs_gateway_path is'),
    (f"{FACES} fuse_dfs_user=hdfs", 'fuse_dfs_user: got "hdfs", who may do anything in HDFS; give a user whose'),
    (f"{FACES} fuse_dfs_user=Jo", 'fuse_dfs_user: got "Jo"; give the name of a user'),
    (f"{FACES} fuse_dfs_writers=jo", 'fuse_dfs_writers: got "jo"; give a list of user names'),
    (extra(components=COMPONENTS, fuse_dfs_writers=[]), "fuse_dfs_writers: got []; give at least one user"),
    (f"{FACES} fuse_dfs_pth=/a", "fuse_dfs_pth: no such setting; did you mean fuse_dfs_path?"),
    ("components=java,fuse_dfs", "components: fuse_dfs needs hdfs; give -e components=java,hdfs,fuse_dfs"),
    # nfs_gateway
    (f"{FACES} nfs_gateway_version=3", 'nfs_gateway_version: got "3"; give a version of Hadoop 3, such as 3.4.2'),
    (
        extra(components=COMPONENTS, nfs_gateway_mirrors=["ftp://a.example"]),
        'nfs_gateway_mirrors: got ["ftp://a.example"]; give a list of http or https URLs',
    ),
    (extra(components=COMPONENTS, nfs_gateway_mirrors=[]), "nfs_gateway_mirrors: got []; give at least one base URL"),
    (f"{FACES} nfs_gateway_sha512=abc", 'nfs_gateway_sha512: got "abc"; give the 128 hex digits of the archive'),
    (f"{FACES} nfs_gateway_java_home=java", 'nfs_gateway_java_home: got "java"; give an absolute path'),
    (f"{FACES} nfs_gateway_path=nfs", 'nfs_gateway_path: got "nfs"; give an absolute path such as /hdfs_nfs'),
    (
        extra(components=["java", "hdfs", "nfs_gateway"], nfs_gateway_path="/fuse_dfs"),
        'nfs_gateway_path: got "/fuse_dfs", and fuse_dfs_path is "/fuse_dfs"; give paths of which none is in the other',
    ),
    (
        extra(components=COMPONENTS, nfs_gateway_networks=["10.0.0.5/8"]),
        'nfs_gateway_networks: got ["10.0.0.5/8"]; give a list of IPv4 networks',
    ),
    (
        extra(components=COMPONENTS, nfs_gateway_networks=["0.0.0.0/0"]),
        "nfs_gateway_networks: got 0.0.0.0/0, which lets in the whole world; give smaller networks",
    ),
    (extra(components=COMPONENTS, nfs_gateway_user=["a"]), 'nfs_gateway_user: got ["a"]; give the name of a user'),
    ("components=java,nfs_gateway", "components: nfs_gateway needs hdfs; give -e components=java,hdfs,nfs_gateway"),
]


def s3fs(**variables: Any) -> str:
    """Return what follows -e for a cluster with buckets."""
    return extra(components=["s3fs"], **variables)


def notebooks(**variables: Any) -> str:
    """Return what follows -e for a cluster with notebooks."""
    return extra(components=["java", "spark", "jupyter_ssl"], **variables)


SETTINGS += [
    # web and jupyter_ssl
    (notebooks(jupyter_access="open"), 'jupyter_access: got "open"; give one of ssl, tunnel'),
    (notebooks(web_access="open"), 'jupyter_access: got "open"; give one of ssl, tunnel'),
    (notebooks(jupyter_acess="tunnel"), "jupyter_acess: no such setting; did you mean jupyter_access?"),
    (notebooks(web_port=443), "web_port: got 443; give a port from 1024 to 32767 that nothing else uses"),
    (notebooks(web_port=8080), "web_port: got 8080, which is Spark's; give another port"),
    (notebooks(web_password="short"), "web_password: got a value that is kept secret; give one of 8 to 256 characters"),
    (notebooks(web_password_file="here"), 'web_password_file: got "here"; give an absolute path, or one that'),
    (notebooks(web_key="/etc/hostname"), "web_certificate: is not set, but web_key is; give both or none"),
    (notebooks(web_certificate="/etc/hostname"), "web_key: is not set, but web_certificate is; give both or none"),
    (
        notebooks(web_certificate="/no/such", web_key="/etc/hostname"),
        'web_certificate: got "/no/such", and there is no such file; give the path of a file in PEM',
    ),
    (
        notebooks(web_certificate="/etc/hostname", web_key="/etc/hostname"),
        'web_certificate: got "/etc/hostname", which holds no certificate; give one in PEM',
    ),
    (notebooks(jupyter_ssl_packages=["--pre"]), 'jupyter_ssl_packages: got ["--pre"]; give names of packages'),
    (notebooks(jupyter_ssl_pip_index="pypi.org"), 'jupyter_ssl_pip_index: got "pypi.org"; give an http or https URL'),
    (notebooks(jupyter_ssl_folder="notebooks"), 'jupyter_ssl_folder: got "notebooks"; give an absolute path such as'),
    (
        notebooks(jupyter_ssl_spark_conf={"cores": 1, "spark.cores.max": 8}),
        'jupyter_ssl_spark_conf: got ["cores"]; give names that begin',
    ),
    (
        notebooks(jupyter_ssl_spark_conf={"spark.authenticate": "false"}),
        "jupyter_ssl_spark_conf: got spark.authenticate; leave authentication and encryption as",
    ),
    (
        notebooks(jupyter_ssl_spark_conf={"spark.app.name": "two words"}),
        'jupyter_ssl_spark_conf: got {"spark.app.name": "two words"}; give each a text without blanks',
    ),
    ("components=java,jupyter_ssl", "components: jupyter_ssl needs spark; give -e components=java,spark,jupyter_ssl"),
    ("components=java,spark,web", 'components: there is no component "web"; give any of'),
    (s3fs(s3fs_mounts="data"), 's3fs_mounts: got "data"; give a list of dictionaries'),
    (s3fs(s3fs_mounts=["data"]), 's3fs_mounts: got ["data"]; give a list of dictionaries'),
    (s3fs(s3fs_mounts=[{"bukcet": "data"}]), "has no use for bukcet; did you mean bucket?"),
    (s3fs(s3fs_mounts=[{"path": "/s3"}]), 's3fs_mounts: {"path": "/s3"} names no bucket; give one'),
    (s3fs(s3fs_mounts=[{"bucket": "data", "path": "s3"}]), 'path of "data": got "s3"; give an absolute path'),
    (s3fs(s3fs_mounts=[{"bucket": "data"}] * 2), "s3fs_mounts: /s3/data is there twice; give each mount a path"),
    (s3fs(s3fs_mounts=[{"bucket": "data", "cache": "/x"}]), 'cache of "data": got "/x"; give cache_mb too'),
    (s3fs(s3fs_endpoint_url="s3.example"), 's3fs_endpoint_url: got "s3.example"; give an http or https URL'),
    (s3fs(s3fs_region="Frankfurt"), 's3fs_region: got "Frankfurt"; give a region such as eu-central-1'),
    (
        s3fs(s3fs_access_key_id="AKIAIOSFODNN7EXAMPLE"),
        "s3fs_access_key_id: goes with s3fs_secret_access_key; give both",
    ),
    (s3fs(s3fs_secret_access_key="c2VjcmV0"), "s3fs_access_key_id: goes with s3fs_secret_access_key; give both"),
    (s3fs(s3fs_secret_access_key="c2VjcmV0 x"), "s3fs_secret_access_key: got a value that is kept secret; give the"),
    (
        s3fs(s3fs_password_file="/no/such"),
        's3fs_password_file: got "/no/such", and there is no such file; give the path',
    ),
    (s3fs(s3fs_password_file="/etc/hostname"), "which does not hold ID:SECRET in one line; give a file that does"),
    (
        s3fs(s3fs_access_key_id="AKIA1", s3fs_secret_access_key="abc", s3fs_password_file="/etc/hostname"),
        "s3fs_password_file: s3fs_access_key_id is given too; give one of them",
    ),
    (s3fs(s3fs_users=["Jo Doe"]), 's3fs_users: got ["Jo Doe"]; give a list of user names'),
    (s3fs(s3fs_keep_free_mb=-1), "s3fs_keep_free_mb: got -1; give a number of MiB from 0 to 1048576"),
    (s3fs(s3fs_s3a="perhaps"), 's3fs_s3a: got "perhaps"; give true or false'),
    (
        s3fs(s3fs_s3a=True, s3fs_access_key_id="AKIA1", s3fs_secret_access_key="abc"),
        "s3fs_s3a: works by the nodes' role only; leave out s3fs_access_key_id",
    ),
    (
        s3fs(s3fs_maven_repositories=["ftp://a.example"]),
        's3fs_maven_repositories: got ["ftp://a.example"]; give a list',
    ),
    (s3fs(s3fs_maven_repositories=[]), "s3fs_maven_repositories: got []; give at least one base URL"),
    (s3fs(s3fs_mount=[]), "s3fs_mount: no such setting; did you mean s3fs_mounts?"),
]


def science(**variables: Any) -> str:
    """Return what follows -e for a cluster with the data science software."""
    return extra(components=["datascience"], **variables)


SETTINGS += [
    (science(datascience_python_base=["pandas"]), "datascience_python_base: got none of numpy, pyarrow, scikit-learn"),
    (
        "components=datascience datascience_python_packages=polars",
        'datascience_python_packages: got "polars"; give a list of names with or without versions, as in',
    ),
    (science(datascience_python_packages=["-e ."]), 'datascience_python_packages: got ["-e ."]; give a list of names'),
    (science(datascience_python_packages=["dask=1.0"]), 'got ["dask=1.0"]; give a list of names with or without'),
    (science(datascience_python_packages=["a @ https://b.example/a.whl"]), "datascience_python_packages: got"),
    (
        science(datascience_python_constraints=["pillow"]),
        'datascience_python_constraints: got ["pillow"]; give a list such as',
    ),
    (science(datascience_pip_index="pypi.org"), 'datascience_pip_index: got "pypi.org"; give an http or https URL'),
    (science(datascience_r="perhaps"), 'datascience_r: got "perhaps"; give true or false'),
    (science(datascience_r_packages=["gg plot"]), 'datascience_r_packages: got ["gg plot"]; give a list of names such'),
    (
        science(datascience_r=False, datascience_r_packages=["ggplot2"]),
        'datascience_r_packages: got ["ggplot2"], and datascience_r is false; leave one of them out',
    ),
    (science(datascience_compilers="perhaps"), 'datascience_compilers: got "perhaps"; give true or false'),
    (science(datascience_apt_packages=["--purge"]), 'datascience_apt_packages: got ["--purge"]; give a list of'),
    (science(datascience_julia_version="1"), 'datascience_julia_version: got "1"; give a version such as 1.12.2'),
    (
        science(datascience_julia_version="1.12.2"),
        'datascience_julia_sha512: got "", and datascience_julia_version is 1.12.2; give the SHA-512',
    ),
    (science(datascience_julia_sha512="abc"), 'datascience_julia_sha512: got "abc"; give the 128 hex digits of'),
    (science(datascience_julia_mirrors=[]), "datascience_julia_mirrors: got []; give at least one base URL"),
    (
        science(datascience_python_package=[]),
        "datascience_python_package: no such setting; did you mean datascience_python_packages?",
    ),
]

SETTINGS += [
    # ganglia
    ("components=ganglia ganglia_forget_seconds=5", 'ganglia_forget_seconds: got "5"; give a number of seconds'),
    (extra(components=["ganglia"], ganglia_forget_seconds="soon"), 'ganglia_forget_seconds: got "soon"; give a number'),
    (
        "components=ganglia ganglia_forget_second=60",
        "ganglia_forget_second: no such setting; did you mean ganglia_forget_seconds?",
    ),
]

# Name and content of an inventory file, and what the line has.
INVENTORIES = [
    ("no.sparkfleet.yml", None, 'save the line "plugin: sparkfleet.ec2.cluster" as spark.sparkfleet.yml'),
    ("hosts.yml", "all: {hosts: {one: }}", 'save the line "plugin: sparkfleet.ec2.cluster" as spark.sparkfleet.yml'),
    ("wrong.yml", "plugin: sparkfleet.ec2.cluster", 'save the line "plugin: sparkfleet.ec2.cluster" as spark.'),
    ("empty.sparkfleet.yml", "", "the file must hold at least the line 'plugin: sparkfleet.ec2.cluster'"),
    ("list.sparkfleet.yml", "- plugin", "the file must hold at least the line 'plugin: sparkfleet.ec2.cluster'"),
    ("other.sparkfleet.yml", "plugin: sparkfleet.ec2.clusters", "the file must hold at least the line 'plugin:"),
    ("broken.sparkfleet.yml", "plugin: [sparkfleet", "YAML parsing failed: While parsing a flow sequence"),
    ("misspelt.sparkfleet.yml", "region: x\nregoins: [a]", "there is no option 'regoins', perhaps you mean regions"),
    ("unknown.sparkfleet.yml", "zzz: 1", "there is no option 'zzz', perhaps you mean"),
    ("type.sparkfleet.yml", "regions: us-east-1", "option regions takes a list, as in [one, two], and not 'us-east-1'"),
    ("bool.sparkfleet.yml", "strict: perhaps", "option strict takes true or false, and not 'perhaps'"),
    ("choice.sparkfleet.yml", "connect_with: pigeon", "option connect_with takes one of public_ip, private_ip"),
    ("name.sparkfleet.yml", "cluster: Mine", "the option cluster is 'Mine', which cannot name a cluster: take 1 to 40"),
    ("region.sparkfleet.yml", "regions: ['Frankfurt!']", "Provided region_name 'Frankfurt!' doesn't match"),
    (
        "one.sparkfleet.yml",
        "regions: [us-east-1, us-eats-1]",
        "cannot list the instances in us-eats-1, what answers is",
    ),
    ("prefix.sparkfleet.yml", "hostvars_prefix: 1-", "option hostvars_prefix is '1-': take letters, digits and '_'"),
]

# What is in the environment, and what the line has.
ENVIRONMENTS = [
    (NOBODYS, "found no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    ({"AWS_SECRET_ACCESS_KEY": None}, "found no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and"),
    ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "AWS refuses these credentials: check the keys"),
    ({"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE"}, "AWS refuses these credentials: check the keys"),
    ({**NOBODYS, "AWS_PROFILE": "nobody"}, "check the profile's name, AWS_PROFILE and ~/.aws/config"),
    ({"AWS_PROFILE": "nobody"}, "both a profile and an access key are given: unset AWS_PROFILE or AWS_ACCESS_KEY_ID"),
    ({"AWS_REGION": None, "AWS_DEFAULT_REGION": None}, "found no region: set AWS_REGION"),
    ({"AWS_REGION": "us-eats-1"}, "check the region's name"),
    (
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
        "no answer: check the region's name, the network and, where it is set",
    ),
    ({"AWS_ENDPOINT_URL": "localhost:4580"}, "cannot connect to EC2: Invalid endpoint: localhost:4580"),
    ({"SPARKFLEET_CLUSTER": "Mine"}, "the environment variable SPARKFLEET_CLUSTER is 'Mine', which cannot name a"),
    ({"SPARKFLEET_ALLOWED_CIDRS": "10.0.0.1"}, 'fleet_allowed_cidrs: got ["10.0.0.1"]; give a list of IPv4 networks'),
    ({"SPARKFLEET_MIRROR": "a.example"}, 'spark_mirrors: got ["a.example"]; give a list of http or https URLs'),
]

# What of a launch may be forbidden. What acts on a new group can be asked for only once there is one.
LAUNCH = [
    "DescribeInstances",
    "DescribeInstanceTypes",
    "DescribeInstanceTypeOfferings",
    "DescribeImages",
    "DescribeKeyPairs",
    "DescribeSecurityGroups",
    "ImportKeyPair",
    "CreateSecurityGroup",
    "CreateTags",
    "RunInstances",
]


@dataclass(frozen=True)
class Case:
    """One command that is to be refused: what it is given, and what its line has to say."""

    name: str
    said: str
    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str | None] = field(default_factory=dict)
    inventory: tuple[str, str | None] | None = None
    denied: str = ""
    expired: bool = False


CASES = [
    *(Case(given, said, ["-e", given]) for given, said in SETTINGS),
    Case("cluster=Mine", "the extra var cluster is 'Mine', which cannot name a cluster", ["-e", "cluster=Mine"]),
    Case("cluster=", "the extra var cluster is '', which cannot name a cluster", ["-e", "cluster="]),
    Case("theirs", "there is a key pair and a security group named sparkfleet-theirs", ["-e", "cluster=theirs"]),
    *(Case(name, said, inventory=(name, content)) for name, content, said in INVENTORIES),
    *(Case(str(environment), said, environment=environment) for environment, said in ENVIRONMENTS),
    Case("expired", "the AWS credentials have expired: get new ones", expired=True),
    *(Case(f"without {action}", action, denied=action) for action in LAUNCH),
]


@dataclass
class Answer:
    """What came of a case."""

    code: int
    output: str
    changing: list[str]


def document(*statements: dict[str, Any]) -> str:
    """Return a policy."""
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def exported(key: dict[str, str]) -> dict[str, str | None]:
    """Return credentials as variables of the environment."""
    names = {"AccessKeyId": "ACCESS_KEY_ID", "SecretAccessKey": "SECRET_ACCESS_KEY", "SessionToken": "SESSION_TOKEN"}
    return {f"AWS_{name}": key[given] for given, name in names.items() if given in key}


class Account:
    """Who asks: users of the account who may do all but one thing, and what belongs to somebody else."""

    def __init__(self, user: User, folder: Path) -> None:
        """Make what the cases find."""
        self.user, self.folder = user, folder
        self.ec2 = user.client("ec2")
        self.ec2.create_key_pair(KeyName="sparkfleet-theirs")
        self.ec2.create_security_group(GroupName="sparkfleet-theirs", Description="Of somebody else")

    def clear(self) -> None:
        """Take that away: the tests that follow count what there is."""
        self.ec2.delete_key_pair(KeyName="sparkfleet-theirs")
        self.ec2.delete_security_group(GroupName="sparkfleet-theirs")

    def without(self, action: str) -> dict[str, str | None]:
        """Return the credentials of a user who may do all but this."""
        iam, name = self.user.client("iam"), f"without-{action}"
        statements = [("Allow", "*"), ("Deny", f"ec2:{action}")]
        policy = [{"Effect": effect, "Action": what, "Resource": "*"} for effect, what in statements]
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="most", PolicyDocument=document(*policy))
        return exported(iam.create_access_key(UserName=name)["AccessKey"])

    def session_of_the_past(self) -> dict[str, str | None]:
        """Return the credentials of a session that has ended. AWS takes no fewer than 900 seconds for one."""
        iam, sts = self.user.client("iam"), self.user.client("sts", config=Config(parameter_validation=False))
        me = {"AWS": sts.get_caller_identity()["Arn"]}
        trust = document({"Effect": "Allow", "Principal": me, "Action": "sts:AssumeRole"})
        role = iam.create_role(RoleName="brief", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        return exported(sts.assume_role(RoleArn=role, RoleSessionName="me", DurationSeconds=0)["Credentials"])

    def credentials(self, case: Case) -> dict[str, str | None]:
        """Return what the case wants instead of the administrator's."""
        if case.expired:
            return self.session_of_the_past()
        return self.without(case.denied) if case.denied else {}

    def ask(self, case: Case) -> Answer:
        """Run the playbook as the case has it."""
        arguments = list(case.arguments)
        if case.inventory:
            name, content = case.inventory
            path = self.folder / name
            if content is not None:
                head = (
                    "plugin: sparkfleet.ec2.cluster\n"
                    if re.match(r"[a-z_]+: (?!sparkfleet|\[spark|\{)", content)
                    else ""
                )
                path.write_text(head + content)
            arguments = ["-i", str(path)]
        with ReadOnly(self.user.env["AWS_ENDPOINT_URL"]) as way:
            changes = case.environment | self.credentials(case)
            environment = {**self.user.env, "AWS_ENDPOINT_URL": way.endpoint, "HOME": str(self.folder), **changes}
            someone = User({key: value for key, value in environment.items() if value is not None}, self.user.home)
            done = someone.run("ansible-playbook", "site.yml", *arguments)
            return Answer(done.returncode, done.stdout, [call.action for call in way.calls if call.changes])


@pytest.fixture(scope="module")
def answers(
    user: User, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Answer]]]:
    """What comes of the cases that are to be tested, some at a time."""
    account = Account(user, tmp_path_factory.mktemp("input"))
    marks = (getattr(item, "callspec", None) for item in request.session.items)
    cases = [case for mark in marks if mark and isinstance(case := mark.params.get("case"), Case)]
    pool = ThreadPoolExecutor(AT_ONCE)
    yield {case.name + case.said: pool.submit(account.ask, case) for case in cases}
    pool.shutdown(cancel_futures=True)
    account.clear()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refused_in_one_line(answers: dict[str, Future[Answer]], case: Case) -> None:
    """One line with what was given and what would do; nothing else that looks like an error; nothing was changed."""
    answer = answers[case.name + case.said].result()
    assert answer.changing == [], answer.output
    assert answer.code != 0
    told = answer.output.split("PLAY RECAP")[0].splitlines()
    (number,) = [number for number, line in enumerate(told) if line.startswith(("FAILED", "[ERROR]"))]
    assert case.said in told[number], answer.output
    # Where a file is no YAML, Ansible shows the spot.
    assert not any(told[number + 1 :]) or "YAML" in case.said, answer.output
    for word in ("Traceback", "is undefined", "c2VjcmV0"):
        assert word not in answer.output


@pytest.mark.parametrize("role", sorted(path.parents[1].name for path in ROOT.glob("roles/*/meta/argument_specs.yml")))
def test_every_setting_has_a_case(role: str) -> None:
    """Whoever adds a setting adds what is not to be given."""
    specs = yaml.safe_load((ROOT / f"roles/{role}/meta/argument_specs.yml").read_text())["argument_specs"]
    given = {name for given, _said in SETTINGS for name in re.findall(r'(?:^|\W)([a-z_0-9]+)"?[=:]', given)}
    assert set(specs["main"]["options"]) - given == set()
