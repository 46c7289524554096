# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How moto is changed."""

from __future__ import annotations

from typing import Any


def replace(owner: Any, name: str, new: Any) -> Any:
    """Put ``new`` in the place of ``owner.name``, return what was there; AttributeError when nothing was."""
    old = getattr(owner, name)
    setattr(owner, name, new)
    return old


def add(owner: Any, name: str, new: Any) -> None:
    """Give ``owner`` what it lacks; AttributeError when it has that by now."""
    if hasattr(owner, name):
        raise AttributeError(f"{owner.__name__}.{name} is there")
    setattr(owner, name, new)
