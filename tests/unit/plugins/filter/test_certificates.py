# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of certificate_problems on certificates that openssl makes."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ansible_collections.sparkfleet.ec2.plugins.filter.certificates import FilterModule
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import CertificateBuilder, Name, NameAttribute
from cryptography.x509.oid import NameOID

NOW = datetime.now(UTC)
problems = FilterModule().filters()["certificate_problems"]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    """Paths of a certificate and its key."""
    return make(tmp_path, "pages", "-days", "10")


def make(folder: Path, name: str, *options: str) -> tuple[str, str]:
    """Make a certificate and its key; return their paths."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*command, "-subj", "/CN=x", "-keyout", key, "-out", certificate, *options], check=True)
    return str(certificate), str(key)


def test_a_pair_will_do(pair: tuple[str, str]) -> None:
    assert problems(*pair) == []


def test_so_does_a_chain(pair: tuple[str, str], tmp_path: Path) -> None:
    authority, _key = make(tmp_path, "authority", "-days", "10")
    Path(pair[0]).write_text(Path(pair[0]).read_text() + Path(authority).read_text())
    assert problems(*pair) == []


def test_another_key(pair: tuple[str, str], tmp_path: Path) -> None:
    _certificate, key = make(tmp_path, "other", "-days", "10")
    (line,) = problems(pair[0], key)
    assert line == f'web_key: got "{key}", which is not the key of the certificate in "{pair[0]}"; give the one that is'


def test_one_that_has_ended(tmp_path: Path) -> None:
    certificate, key = make(tmp_path, "old", "-days", "1")
    # openssl makes none that has ended.
    private = load_pem_private_key(Path(key).read_bytes(), None)
    name = Name([NameAttribute(NameOID.COMMON_NAME, "x")])
    day = timedelta(days=1)
    builder = CertificateBuilder(name, name, private.public_key(), 1, NOW - 3 * day, NOW - day)
    Path(certificate).write_bytes(builder.sign(private, SHA256()).public_bytes(Encoding.PEM))
    (line,) = problems(certificate, key)
    assert line.startswith(f'web_certificate: got "{certificate}", which has ended on 20')
    assert line.endswith("; give one that is valid")


def test_files_that_are_not_there_or_hold_something_else(pair: tuple[str, str], tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.write_text("words")
    assert [line.split(";")[0] for line in problems("/no/such", "/no/key")] == [
        'web_certificate: got "/no/such", and there is no such file',
        'web_key: got "/no/key", and there is no such file',
    ]
    assert problems(str(words), str(words)) == [
        f'web_certificate: got "{words}", which holds no certificate; give one in PEM',
        f'web_key: got "{words}", which holds no private key; give one in PEM',
    ]
    assert problems(pair[1], pair[0]) != []


def test_a_key_with_a_passphrase(pair: tuple[str, str], tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    command = ["openssl", "pkey", "-in", pair[1], "-aes256", "-passout", "pass:word", "-out", locked]
    subprocess.run(command, check=True)
    (line,) = problems(pair[0], str(locked))
    assert "which takes a passphrase" in line
