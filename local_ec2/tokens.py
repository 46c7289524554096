# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Client tokens: the same request twice does its work once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any


class TokenMismatchError(Exception):
    """A token came again with other parameters."""


class TokenStore:
    """What each token's first request asked for and got. One request at a time."""

    def __init__(self) -> None:
        """Start without tokens."""
        self._done: dict[Hashable, tuple[Any, Any]] = {}
        self._lock = threading.Lock()

    def once(self, token: Hashable, parameters: Any, act: Callable[[], Any]) -> Any:
        """Return what ``act`` returned for this token at first; a failure is not kept."""
        with self._lock:
            if token in self._done:
                earlier, result = self._done[token]
                if earlier != parameters:
                    raise TokenMismatchError
                return result
            result = act()
            self._done[token] = (parameters, result)
            return result
