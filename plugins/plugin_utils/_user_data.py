# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: user-data for cloud-init out of several parts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from email import message_from_string
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

LIMIT = 16 * 1024
# What cloud-init goes by; the order matters where one begins with the other.
SUBTYPES = {
    "#cloud-config-archive": "cloud-config-archive",
    "#cloud-config": "cloud-config",
    "#cloud-boothook": "cloud-boothook",
    "#include-once": "x-include-once-url",
    "#include": "x-include-url",
    "#part-handler": "part-handler",
    "## template: jinja": "jinja2",
    "#!": "x-shellscript",
}
# Left alone, cloud-init would drop what an earlier part has under a key that a later one has too.
MERGE = "dict(no_replace,recurse_list)+list(append)+str()"
MIME = ("Content-Type:", "MIME-Version:")


def subtype(text: str) -> str | None:
    """Return what kind of text a part is to cloud-init, None if it would not know."""
    return next((kind for beginning, kind in SUBTYPES.items() if text.startswith(beginning)), None)


def is_user_data(text: str) -> bool:
    """Tell whether a text begins as user-data does, rather than being the name of a file."""
    return subtype(text) is not None or text.startswith(MIME)


def merged(parts: Sequence[str]) -> str:
    """Return one text for all parts that hold anything, in their order; a part may be MIME itself."""
    parts = [part for part in parts if part.strip()]
    if len(parts) < 2:
        return "".join(parts)
    # The same parts make the same text: to EC2 another one would be another launch.
    whole = MIMEMultipart(boundary=hashlib.sha256("".join(parts).encode()).hexdigest()[:32])
    for part in parts:
        whole.attach(_message(part))
    for message in whole.walk():
        if message.get_content_type() == "text/cloud-config" and "Merge-Type" not in message:
            message["Merge-Type"] = MERGE
    return whole.as_string()


def _message(part: str) -> Message:
    kind = subtype(part)
    if kind is None:
        return message_from_string(part)
    return MIMEText(part, kind, "us-ascii" if part.isascii() else "utf-8")


def problems(text: str) -> list[str]:
    """Return what is wrong with user-data: nothing, or one thing."""
    size = len(text.encode())
    if text and not is_user_data(text):
        return [f"begins with {text.splitlines()[0][:40]!r}, by which cloud-init does not know what it is"]
    return [f"is {size} bytes, and EC2 takes {LIMIT}"] if size > LIMIT else []
