# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the filters for user-data."""

from __future__ import annotations

from email import message_from_string

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.sparkfleet.ec2.plugins.filter import user_data

FILTERS = user_data.FilterModule().filters()
merged, problems = FILTERS["merged_user_data"], FILTERS["user_data_problems"]
CONFIG, SCRIPT, OTHER = "#cloud-config\npackages: [jq]\n", "#!/bin/sh\necho größer\n", "#include\nhttps://x.example\n"


def parts(text: str) -> list[tuple[str, str]]:
    """Return type and text of all parts that cloud-init would find."""
    found = [part for part in message_from_string(text).walk() if not part.is_multipart()]
    return [(part.get_content_type(), bytes(part.get_payload(decode=True)).decode()) for part in found]


@pytest.mark.parametrize("given", [[], ["", " \n"]])
def test_nothing_stays_nothing(given: list[str]) -> None:
    assert merged(given) == ""


def test_one_part_stays_as_it_is() -> None:
    assert merged(["", SCRIPT]) == SCRIPT


def test_several_parts_become_mime_in_their_order() -> None:
    whole = merged([CONFIG, SCRIPT, OTHER])
    assert parts(whole) == [
        ("text/cloud-config", CONFIG),
        ("text/x-shellscript", SCRIPT),
        ("text/x-include-url", OTHER),
    ]
    assert whole == merged([CONFIG, SCRIPT, OTHER])


def test_a_part_that_is_mime_keeps_its_own() -> None:
    theirs = merged([SCRIPT, OTHER])
    assert parts(merged([CONFIG, theirs])) == [("text/cloud-config", CONFIG), *parts(theirs)]


def test_cloud_config_is_merged_and_not_replaced() -> None:
    own = CONFIG.replace("#cloud-config\n", "MIME-Version: 1.0\nContent-Type: text/cloud-config\nMerge-Type: str()\n\n")
    found = message_from_string(merged([CONFIG, own, SCRIPT, merged([CONFIG, SCRIPT])])).walk()
    how = [part["Merge-Type"] for part in found if not part.is_multipart()]
    append = "dict(no_replace,recurse_list)+list(append)+str()"
    assert how == [append, "str()", None, append, None]


@pytest.mark.parametrize("given", [CONFIG, "not a list", [1]])
def test_what_is_no_list_of_texts_is_an_error(given: object) -> None:
    with pytest.raises(AnsibleFilterError, match="takes a list of texts"):
        merged(given)


@pytest.mark.parametrize("text", ["", CONFIG, SCRIPT, OTHER, merged([CONFIG, SCRIPT]), "#!" + "x" * (16 * 1024 - 2)])
def test_what_cloud_init_takes_has_no_problem(text: str) -> None:
    assert problems(text) == []


def test_what_cloud_init_does_not_know_is_told() -> None:
    assert problems("echo hello\nmore") == ["begins with 'echo hello', by which cloud-init does not know what it is"]


def test_size_counts_in_bytes() -> None:
    assert problems("#!" + "ö" * 8192) == ["is 16386 bytes, and EC2 takes 16384"]
