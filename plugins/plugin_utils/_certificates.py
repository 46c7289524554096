# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: judges a certificate of the user's own before a server is given it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

# ansible-core needs it, so it is there wherever this runs; what only looks at the documentation has it not.
try:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
    from cryptography.x509 import Certificate, load_pem_x509_certificates
except ImportError:
    pass


def problems(certificate: str, key: str) -> list[str]:
    """Return a line for each thing that is wrong with the files of a certificate and of its key."""
    return list(_problems(certificate, key))


def _problems(certificate: str, key: str) -> Iterator[str]:
    """Yield the lines; the files are named by the role's variables."""
    unread = [
        f'{name}: got "{path}", and there is no such file; give the path of a file in PEM'
        for name, path in (("web_certificate", certificate), ("web_key", key))
        if not Path(path).expanduser().is_file()
    ]
    yield from unread
    if unread:
        return
    shown, private = read_certificate(certificate), read_key(key)
    if shown is None:
        yield f'web_certificate: got "{certificate}", which holds no certificate; give one in PEM'
    if isinstance(private, str):
        yield f'web_key: got "{key}", {private}'
    if shown is None or isinstance(private, str):
        return
    if fingerprint(shown) != fingerprint(private):
        yield f'web_key: got "{key}", which is not the key of the certificate in "{certificate}"; give the one that is'
    now = datetime.now(UTC)
    if shown.not_valid_after_utc < now:
        ended = f"{shown.not_valid_after_utc:%Y-%m-%d}"
        yield f'web_certificate: got "{certificate}", which has ended on {ended}; give one that is valid'
    if shown.not_valid_before_utc > now:
        begins = f"{shown.not_valid_before_utc:%Y-%m-%d}"
        yield f'web_certificate: got "{certificate}", which is valid from {begins} only; give one that is valid now'


def read_certificate(path: str) -> Certificate | None:
    """Return the first certificate of a file, which is the server's own; None if it holds none."""
    try:
        return load_pem_x509_certificates(Path(path).expanduser().read_bytes())[0]
    except ValueError:
        return None


def read_key(path: str) -> PrivateKeyTypes | str:
    """Return the private key of a file, or what is wrong with it and would do."""
    try:
        return load_pem_private_key(Path(path).expanduser().read_bytes(), password=None)
    except TypeError:
        return "which takes a passphrase, and nobody is there to give it when a node boots; give the key without one"
    except (ValueError, UnsupportedAlgorithm):
        return "which holds no private key; give one in PEM"


def fingerprint(thing: Certificate | PrivateKeyTypes) -> bytes:
    """Return the public key of a certificate or a private key."""
    return thing.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
