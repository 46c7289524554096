"""What is in a file or on a command line is in one order, whatever run it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted(
    path for folder in ("playbooks", "roles") for path in (ROOT / folder).rglob("*") if path.suffix in {".yml", ".j2"}
)
# Ansible's filters of this kind go by way of sets, whose order is another one in each process.
BY_SETS = re.compile(r"\|\s*(?:difference|intersect|symmetric_difference|union)\(")


def after_call(text: str, start: int) -> str:
    """Return what follows the parenthesis that closes the one before `start`."""
    depth = 1
    for place in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if not depth:
            return text[place + 1 :]
    raise AssertionError(text[start:])


def orderless(text: str) -> list[str]:
    """Return the calls whose order somebody may see: those that are neither sorted nor counted."""
    return [
        call.group()
        for call in BY_SETS.finditer(text)
        if not re.match(r"\s*\|\s*(?:length|sort)\b", after_call(text, call.end()))
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_order_is_left_to_chance(path: Path) -> None:
    """`reject('in', …)`, `select('in', …)` and `unique` keep it. apt takes Apache or PHP's own server by it."""
    assert orderless(path.read_text()) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a | difference(b)", ["| difference("]),
        ("a | union(b | map('x', (1))) | join(', ')", ["| union("]),
        ("a | difference(b | map('x')) | sort", []),
        ("a\n| intersect(b) | length", []),
    ],
)
def test_what_is_found(text: str, found: list[str]) -> None:
    """Calls are followed to their end."""
    assert orderless(text) == found
