# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: what the list `s3fs_mounts` means."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from ansible_collections.sparkfleet.ec2.plugins.plugin_utils._settings import fits_type, shown

Mount = dict[str, Any]

KEYS = ("bucket", "path", "prefix", "region", "read_only", "cache", "cache_mb", "options")
BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
# Names of folders that need no quoting in a unit, and that stand for nothing but themselves.
PATH = r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)+"
PREFIX = r"|/?[A-Za-z0-9._=-]+(?:/[A-Za-z0-9._=-]+)*/?"
REGION = r"[a-z]{2}(?:-[a-z]+)+-\d"
OPTION = r"[a-z][a-z0-9_]*(?:=[^\s,\"'%$\\]+)?"
# An object is put together on the disk in parts of 10 MB, some at a time.
LEAST_CACHE_MB = 100
# What units say themselves: another value would break them, or let a secret out.
OURS = (
    "allow_other",
    "allow_root",
    "bucket",
    "curldbg",
    "dbglevel",
    "del_cache",
    "endpoint",
    "ensure_diskfree",
    "gid",
    "host",
    "iam_role",
    "imdsv1only",
    "logfile",
    "nonempty",
    "passwd_file",
    "ro",
    "rw",
    "sigv2",
    "sigv4",
    "tmpdir",
    "uid",
    "umask",
    "url",
    "use_cache",
    "use_path_request_style",
)


def normalized(mounts: list[Mount], region: str = "", endpoint_url: str = "") -> list[Mount]:
    """Return each mount with all that its unit has to say."""
    return [_normalized(mount, region, endpoint_url) for mount in mounts]


def _normalized(mount: Mount, region: str, endpoint_url: str) -> Mount:
    """Return one."""
    prefix = str(mount.get("prefix") or "").strip("/")
    cache_mb = int(mount.get("cache_mb") or 0)
    return {
        "bucket": mount["bucket"],
        "region": mount.get("region") or "",
        "path": path(mount),
        "name": name(mount),
        "unit": f"s3fs-{name(mount)}.service",
        "source": f"{mount['bucket']}:/{prefix}" if prefix else mount["bucket"],
        "read_only": _truth(mount.get("read_only")),
        # None where there is no cache, "" for the usual place.
        "cache": str(mount.get("cache") or "") if cache_mb else None,
        "cache_mb": cache_mb,
        "options": [*_where(mount, region, endpoint_url), *(mount.get("options") or [])],
    }


def _where(mount: Mount, region: str, endpoint_url: str) -> list[str]:
    """Return the options that say where the bucket is; s3fs itself looks for the region where it is not told."""
    region = mount.get("region") or region
    url = endpoint_url or (f"https://s3.{region}.amazonaws.com" if region else "")
    # A name with a dot would be no name of the certificate.
    by_path = ["use_path_request_style"] if endpoint_url or "." in mount["bucket"] else []
    return [*([f"url={url}"] if url else []), *([f"endpoint={region}"] if region else []), *by_path]


def path(mount: Mount) -> str:
    """Return where a mount is."""
    return str(mount.get("path") or f"/s3/{mount['bucket']}")


def name(mount: Mount) -> str:
    """Return a mount's name in those of its unit and its folders."""
    return path(mount).strip("/").replace("/", "-")


def _truth(value: Any) -> bool:
    """Return a truth value; `-e` makes it a text."""
    return str(value).lower() in {"yes", "true", "on", "1"}


def problems(mounts: list[Mount]) -> list[str]:
    """Return a line for each thing about the mounts that will not do."""
    found = [f"s3fs_mounts: {problem}" for mount in mounts for problem in _own(mount)]
    # How they go together is to be told only of those that are sound.
    return found or [f"s3fs_mounts: {problem}" for problem in _between(mounts)]


def _own(mount: Mount) -> Iterator[str]:
    """Yield what is wrong with one mount."""
    unknown = sorted(map(str, set(mount) - set(KEYS)))
    for key in unknown:
        near = difflib.get_close_matches(key, KEYS, n=1)
        yield f"{shown(mount)} has no use for {key}; {f'did you mean {near[0]}?' if near else f'give {_words(KEYS)}'}"
    if "bucket" in mount:
        yield from (
            f"{key} of {shown(mount['bucket'])}: got {shown(value)}; {hint}" for key, value, hint in _wrong(mount)
        )
    elif not unknown:
        yield f'{shown(mount)} names no bucket; give one, as in -e \'{{"s3fs_mounts": [{{"bucket": "my-bucket"}}]}}\''


def _wrong(mount: Mount) -> Iterator[tuple[str, Any, str]]:
    """Yield the keys of a mount whose values will not do, and what would."""
    texts = {
        "bucket": (BUCKET, "give the name of a bucket: 3 to 63 lower-case letters, digits, dashes and dots"),
        "path": (PATH, "give an absolute path of letters, digits, '.', '_' and '-', such as /s3/data"),
        "prefix": (PREFIX, "give the first part of the objects' names, such as raw/2026"),
        "region": (REGION, "give a region such as eu-central-1"),
        "cache": (PATH, "give an absolute path, such as /scratch/s3fs"),
    }
    for key, (pattern, hint) in texts.items():
        value = mount.get(key)
        if value is not None and not (isinstance(value, str) and re.fullmatch(pattern, value)):
            yield key, value, hint
    if "read_only" in mount and not fits_type(mount["read_only"], "bool"):
        yield "read_only", mount["read_only"], "give true or false"
    yield from _wrong_cache(mount)
    yield from _wrong_options(mount)


def _wrong_cache(mount: Mount) -> Iterator[tuple[str, Any, str]]:
    """Yield what is wrong with the size of a cache."""
    size = mount.get("cache_mb")
    if size is None and "cache" in mount:
        yield "cache", mount["cache"], "give cache_mb too, the size that the cache is held at"
    elif size is not None and not (fits_type(size, "int") and int(size) >= LEAST_CACHE_MB):
        yield "cache_mb", size, f"give a number of MiB from {LEAST_CACHE_MB} up, or leave it out for no cache"


def _wrong_options(mount: Mount) -> Iterator[tuple[str, Any, str]]:
    """Yield what is wrong with the options for s3fs."""
    options = mount.get("options") or []
    if not isinstance(options, list):
        yield "options", options, 'give a list, as in ["parallel_count=25"]'
        return
    for option in options:
        if not isinstance(option, str) or not re.fullmatch(OPTION, option):
            yield "options", option, "give options of s3fs, each NAME or NAME=VALUE without blanks, commas and quotes"
        elif option.partition("=")[0] in OURS:
            yield "options", option, "which the role sets itself; leave it out"


def _between(mounts: list[Mount]) -> Iterator[str]:
    """Yield what is wrong between mounts."""
    paths = [path(mount) for mount in mounts]
    for number, mount in enumerate(mounts):
        for other in sorted(set(paths[:number])):
            yield from _clash(paths[number], other)
        for around in sorted(set(paths)):
            if mount.get("cache") and _within(mount["cache"], around):
                yield f"cache {mount['cache']} is on {around}, which is a bucket; give a folder of a disk"


def _clash(here: str, other: str) -> Iterator[str]:
    """Yield what is wrong with two paths."""
    if here == other:
        yield f"{here} is there twice; give each mount a path of its own"
    elif _within(here, other) or _within(other, here):
        inner, outer = sorted((here, other), key=len, reverse=True)
        yield f"{inner} is inside of {outer}; give paths beside each other"
    elif name({"path": here, "bucket": ""}) == name({"path": other, "bucket": ""}):
        yield f"{here} and {other} differ in '/' and '-' only; give another path"


def _within(inner: str, outer: str) -> bool:
    """Tell whether a path is another one or below it."""
    return PurePosixPath(inner).is_relative_to(outer)


def _words(names: tuple[str, ...]) -> str:
    """Return names as one writes them in a sentence."""
    return f"{', '.join(names[:-1])} or {names[-1]}"
