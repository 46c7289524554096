# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the filters over the list `s3fs_mounts`."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.sparkfleet.ec2.plugins.filter import s3_mounts as filters

FILTERS = filters.FilterModule().filters()
mounts, problems = FILTERS["s3_mounts"], FILTERS["s3_mount_problems"]


def one(**keys: Any) -> dict[str, Any]:
    return {"bucket": "data", **keys}


def test_a_bucket_alone_is_enough() -> None:
    assert mounts([one()]) == [
        {
            "bucket": "data",
            "region": "",
            "path": "/s3/data",
            "name": "s3-data",
            "unit": "s3fs-s3-data.service",
            "source": "data",
            "read_only": False,
            "cache": None,
            "cache_mb": 0,
            "options": [],
        }
    ]


@pytest.mark.parametrize(
    ("given", "key", "wanted"),
    [
        (one(path="/data/raw"), "name", "data-raw"),
        (one(prefix="raw/2026"), "source", "data:/raw/2026"),
        (one(prefix="/raw/"), "source", "data:/raw"),
        (one(prefix=""), "source", "data"),
        (one(read_only="yes"), "read_only", True),
        (one(read_only="no"), "read_only", False),
        (one(cache_mb="500"), "cache_mb", 500),
        (one(cache_mb=500), "cache", ""),
        (one(cache_mb=500, cache="/mnt/disk1/s3"), "cache", "/mnt/disk1/s3"),
        (one(options=["parallel_count=25"]), "options", ["parallel_count=25"]),
        (one(bucket="a.b"), "options", ["use_path_request_style"]),
        (one(region="eu-west-1"), "options", ["url=https://s3.eu-west-1.amazonaws.com", "endpoint=eu-west-1"]),
    ],
)
def test_what_is_said_of_a_mount(given: dict[str, Any], key: str, wanted: Any) -> None:
    assert mounts([given])[0][key] == wanted


def test_where_s3_is() -> None:
    region = ["url=https://s3.eu-west-1.amazonaws.com", "endpoint=eu-west-1"]
    own = ["url=https://s3.us-west-2.amazonaws.com", "endpoint=us-west-2"]
    found = mounts([one(), one(path="/own", region="us-west-2")], "eu-west-1")
    assert [mount["options"] for mount in found] == [region, own]
    elsewhere = ["url=http://10.0.0.1:4580", "use_path_request_style"]
    assert mounts([one()], "", "http://10.0.0.1:4580")[0]["options"] == elsewhere
    # What a user says comes last, where it counts.
    assert mounts([one(options=["retries=9"])], "", "http://10.0.0.1:4580")[0]["options"] == [*elsewhere, "retries=9"]


@pytest.mark.parametrize(
    "given",
    [
        [],
        [one(), one(bucket="other")],
        [one(), one(path="/other")],
        [one(), one(path="/s3/data2")],
        [one(cache="/s3/cache", cache_mb=100)],
        [one(path="/a..b/c_d"), one(bucket="a-b.c1", prefix="year=2026/month=1")],
        [one(options=["use_sse", "storage_class=standard_ia", "default_acl=public-read"])],
    ],
)
def test_sound(given: list[dict[str, Any]]) -> None:
    assert problems(given) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([{"bukcet": "data"}], '{"bukcet": "data"} has no use for bukcet; did you mean bucket?'),
        ([one(zzz=1)], "has no use for zzz; give bucket, path, prefix, region, read_only, cache, cache_mb or options"),
        ([{"path": "/s3"}], 'names no bucket; give one, as in -e \'{"s3fs_mounts": [{"bucket": "my-bucket"}]}\''),
        ([one(bucket="My_Bucket")], 'bucket of "My_Bucket": got "My_Bucket"; give the name of a bucket'),
        ([one(bucket=5)], "bucket of 5: got 5; give the name"),
        ([one(bucket="s3://data")], 'got "s3://data"; give the name'),
        ([one(bucket="ab")], 'got "ab"; give the name'),
        ([one(path="data")], 'path of "data": got "data"; give an absolute path'),
        ([one(path="/")], 'got "/"; give an absolute path'),
        ([one(path="/a/../b")], 'got "/a/../b"; give an absolute path'),
        ([one(path="/a/./b")], 'got "/a/./b"; give an absolute path'),
        ([one(path="/a//b")], 'got "/a//b"; give an absolute path'),
        ([one(path="/a/")], 'got "/a/"; give an absolute path'),
        ([one(path="/a b")], 'got "/a b"; give an absolute path'),
        ([one(path="/a%i")], 'got "/a%i"; give an absolute path'),
        ([one(path="/a\n")], 'got "/a\\n"; give an absolute path'),
        ([one(prefix="a b")], 'prefix of "data": got "a b"; give the first part'),
        ([one(region="Frankfurt")], 'region of "data": got "Frankfurt"; give a region such as eu-central-1'),
        ([one(read_only="perhaps")], 'read_only of "data": got "perhaps"; give true or false'),
        ([one(cache="/x")], 'cache of "data": got "/x"; give cache_mb too'),
        ([one(cache="x", cache_mb=100)], 'cache of "data": got "x"; give an absolute path'),
        ([one(cache_mb="lots")], 'cache_mb of "data": got "lots"; give a number of MiB from 100 up'),
        ([one(cache_mb=99)], 'cache_mb of "data": got 99; give a number of MiB from 100 up'),
        ([one(options="parallel_count=25")], 'got "parallel_count=25"; give a list, as in ["parallel_count=25"]'),
        ([one(options=["a=1,allow_other"])], 'got "a=1,allow_other"; give options of s3fs'),
        ([one(options=["a=$HOME"])], 'got "a=$HOME"; give options of s3fs'),
        ([one(options=["a b"])], 'got "a b"; give options of s3fs'),
        ([one(options=[{"a": 1}])], 'got {"a": 1}; give options of s3fs'),
        ([one(options=["passwd_file=/x"])], 'got "passwd_file=/x"; which the role sets itself; leave it out'),
        ([one(options=["nonempty"])], 'got "nonempty"; which the role sets itself'),
        ([one(), one()], "/s3/data is there twice; give each mount a path of its own"),
        ([one(), one(bucket="b2b", path="/s3/data")], "/s3/data is there twice"),
        ([one(), one(bucket="b2b", path="/s3/data/in")], "/s3/data/in is inside of /s3/data; give paths beside each"),
        ([one(path="/a/b"), one(path="/a")], "/a/b is inside of /a; give paths"),
        ([one(path="/a/b"), one(path="/a-b")], "/a-b and /a/b differ in '/' and '-' only; give another path"),
        ([one(), one(bucket="b2b", cache="/s3/data/x", cache_mb=100)], "cache /s3/data/x is on /s3/data, which is a"),
        ([one(cache="/s3/data", cache_mb=100)], "cache /s3/data is on /s3/data, which is a bucket; give a folder of"),
    ],
)
def test_refused_in_one_line(given: list[dict[str, Any]], said: str) -> None:
    (line,) = problems(given)
    assert line.startswith("s3fs_mounts: ")
    assert said in line
    with pytest.raises(AnsibleFilterError, match="s3fs_mounts: "):
        mounts(given)


def test_each_mount_is_judged() -> None:
    assert len(problems([one(path="a"), one(bucket="B"), one(), one()])) == 2
