# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the nodes' programs share."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

ROLES = Path(__file__).parents[3] / "roles"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """A function: import a program by its path below roles/, and leave no compiled file there."""

    def run(path: str) -> ModuleType:
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        loader = SourceFileLoader(path.rpartition("/")[2].replace("-", "_"), str(ROLES / path))
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
        # Where dataclasses look their module up.
        monkeypatch.setitem(sys.modules, loader.name, module)
        loader.exec_module(module)
        return module

    return run
