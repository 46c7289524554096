# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The administrator's access key, made anew by each ``up`` and kept for whoever ran it."""

from __future__ import annotations

import json
import os
from typing import NamedTuple

from local_ec2.settings import LocalEC2Error, Settings


class Credentials(NamedTuple):
    """An access key."""

    key_id: str
    secret: str

    def save(self, settings: Settings) -> None:
        """Keep the key, readable for the user who called sudo, else for root."""
        owner = int(os.environ.get("SUDO_UID", "0"))
        with open(os.open(settings.credentials_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            os.fchown(file.fileno(), owner, -1)
            json.dump(self._asdict(), file)

    @classmethod
    def load(cls, settings: Settings) -> Credentials:
        """Return the key of a local EC2 that is up."""
        try:
            return cls(**json.loads(settings.credentials_file.read_text()))
        except PermissionError as error:
            raise LocalEC2Error(f"{error.filename} is for the user who ran `up`: run this as that user") from error
