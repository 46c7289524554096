# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what apt_package_info makes of apt-get's words; the molecule scenario asks apt itself."""

from __future__ import annotations

import pytest
from ansible_collections.sparkfleet.ec2.plugins.modules.apt_package_info import lines, missing

KNOWN = ["cmake", "htop", "r-cran-ggplot2", "vim"]


@pytest.mark.parametrize(
    ("said", "packages"),
    [
        ("E: Unable to locate package htpo", ["htpo"]),
        ("E: Package 'julia' has no installation candidate\nE: Unable to locate package a.b", ["julia", "a.b"]),
        ("E: Version '99' for 'cmake' was not found", ["cmake"]),
        (
            "E: Unable to locate package a.b\nE: Couldn't find any package by glob 'a.b'\n"
            "E: Couldn't find any package by regex 'a.b'",
            ["a.b"],
        ),
        ("E: Unable to correct problems, you have held broken packages.", []),
    ],
)
def test_what_apt_does_not_know(said: str, packages: list[str]) -> None:
    assert missing(said) == packages


def test_a_line_for_each_names_its_setting_and_what_would_do() -> None:
    packages = {"libraries": ["r-cran-ggplot3", "htop"], "others": ["cmake=99", "xyz", "vim"]}
    assert lines(["r-cran-ggplot3", "cmake", "xyz"], packages, KNOWN) == [
        "libraries: the node's distribution has no package r-cran-ggplot3; did you mean r-cran-ggplot2?",
        "others: there is no cmake=99 for the node; leave the version out",
        "others: the node's distribution has no package xyz; see https://packages.debian.org or "
        "https://packages.ubuntu.com",
    ]
