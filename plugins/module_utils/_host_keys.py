# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a console's output holds: SSH host keys, a panic, last words.

This module util is PRIVATE to the collection and may change without notice.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct

# Fields of a public key after its type, as in RFC 4253, 5656 and 8709.
FIELDS = {
    "ssh-ed25519": 1,
    "ecdsa-sha2-nistp256": 2,
    "ecdsa-sha2-nistp384": 2,
    "ecdsa-sha2-nistp521": 2,
    "ssh-rsa": 2,
}
BLOCK = re.compile(r"-----BEGIN SSH HOST KEY KEYS-----(.*?)-----END SSH HOST KEY KEYS-----", re.DOTALL)
KEY = re.compile(rf"\b({'|'.join(FIELDS)}) +([A-Za-z0-9+/]+={{0,2}})(?![A-Za-z0-9+/=])")
PANIC = re.compile(r"Kernel panic - not syncing.*")
TAIL_LINES = 20
LINE_LENGTH = 200
TERMINAL_CODE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


def fields_of(blob: bytes) -> list[bytes]:
    """The fields of a binary public key, each preceded by its length in 4 bytes. Raises ValueError."""
    fields = []
    while blob:
        if len(blob) < 4:
            raise ValueError("cut off")
        (length,) = struct.unpack(">I", blob[:4])
        if len(blob) < 4 + length:
            raise ValueError("cut off")
        fields.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return fields


def is_public_key(kind: str, encoded: str) -> bool:
    """Whether ENCODED (base64) is a whole public key of KIND, not one that other output cut into."""
    try:
        fields = fields_of(base64.b64decode(encoded, validate=True))
    except (ValueError, binascii.Error):
        return False
    return len(fields) == 1 + FIELDS[kind] and fields[0] == kind.encode()


def host_keys(console: str) -> list[str]:
    """The keys, each as "type base64" and ed25519 first, of the last block that cloud-init printed.

    Whatever precedes a key on its line (time stamps, unit names) and its comment are dropped. A block without an
    end, or whose keys are all damaged, does not count.
    """
    for block in reversed(BLOCK.findall(TERMINAL_CODE.sub("", console))):
        keys = {key for key in KEY.findall(block) if is_public_key(*key)}
        if keys:
            return [" ".join(key) for key in sorted(keys, key=lambda key: (list(FIELDS).index(key[0]), key))]
    return []


def panic(console: str) -> str:
    """The line in which the kernel gave up, or ""."""
    found = PANIC.search(TERMINAL_CODE.sub("", console))
    return found[0].strip() if found else ""


def last_lines(console: str) -> list[str]:
    """The last lines that hold anything, without what only a terminal understands."""
    lines = (
        re.sub(r"[^\x20-\x7e\x80-\uffff]", " ", line).strip() for line in TERMINAL_CODE.sub("", console).split("\n")
    )
    return [line[:LINE_LENGTH] for line in lines if line][-TAIL_LINES:]
