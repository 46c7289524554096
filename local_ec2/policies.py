# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""IAM policies: what a set of documents says about one action on one resource.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from typing import Any

# What is known of a request, by condition key in lower case.
Context = Mapping[str, Sequence[str]]
VARIABLE = re.compile(r"\$\{([^}]+)\}")


class Effect(Enum):
    """What documents say; none of them speaking of the action denies too, but another document may allow then."""

    ALLOW = "Allow"
    DENY = "Deny"
    NEUTRAL = "nothing"


def judge(
    documents: Iterable[Mapping[str, Any]],
    action: str,
    resource: str | None,
    context: Context,
    principals: frozenset[str] | None = None,
) -> Effect:
    """Return what the documents say; None as the resource is any that the action may be on.

    ``principals`` are the names of who asks, for documents that are a resource's own.
    """
    effect = Effect.NEUTRAL
    for document in documents:
        for statement in _as_list(document.get("Statement")):
            denies = statement.get("Effect") == "Deny"
            if _concerns(statement, action, resource, context, principals, denies=denies):
                if denies:
                    return Effect.DENY
                effect = Effect.ALLOW
    return effect


def _concerns(
    statement: Mapping[str, Any],
    action: str,
    resource: str | None,
    context: Context,
    principals: frozenset[str] | None,
    *,
    denies: bool,
) -> bool:
    return (
        _selected(statement, "Action", lambda pattern: matches(pattern.lower(), action.lower()))
        and _selected(statement, "Resource", lambda pattern: _is_on(pattern, resource, context, denies=denies))
        and (principals is None or _is_by(statement, principals))
        and all(
            _holds(operator, key, _as_list(values), context, denies=denies)
            for operator, block in statement.get("Condition", {}).items()
            for key, values in block.items()
        )
    )


def _selected(statement: Mapping[str, Any], element: str, fits: Callable[[str], bool]) -> bool:
    """Judge Action or NotAction, Resource or NotResource; trust policies have no resource."""
    if f"Not{element}" in statement:
        return not any(fits(pattern) for pattern in _as_list(statement[f"Not{element}"]))
    return element not in statement or any(fits(pattern) for pattern in _as_list(statement[element]))


def _is_on(pattern: str, resource: str | None, context: Context, *, denies: bool) -> bool:
    if resource is None:
        return pattern == "*" or not denies
    return matches(_filled(pattern, context), resource)


def _is_by(statement: Mapping[str, Any], principals: frozenset[str]) -> bool:
    def named(principal: Any) -> bool:
        names = _as_list(principal) if isinstance(principal, str) else [*_named(principal)]
        return any(name == "*" or name in principals for name in names)

    if "NotPrincipal" in statement:
        return not named(statement["NotPrincipal"])
    return named(statement.get("Principal", {}))


def _named(principal: Mapping[str, Any]) -> Iterable[str]:
    for names in principal.values():
        yield from _as_list(names)


def _in_network(cidr: str, address: str) -> bool:
    return IPv4Address(address) in IPv4Network(cidr, strict=False)


def _same(wanted: str, given: str) -> bool:
    return wanted == given


def _same_folded(wanted: str, given: str) -> bool:
    return wanted.lower() == given.lower()


def matches(pattern: str, text: str) -> bool:
    """Tell whether the text is what the pattern, with ``*`` and ``?``, means."""
    return _regex(pattern).fullmatch(text) is not None


OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": _same,
    "StringEqualsIgnoreCase": _same_folded,
    "StringLike": matches,
    "ArnEquals": matches,
    "ArnLike": matches,
    "Bool": _same_folded,
    "IpAddress": _in_network,
}
NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NotIpAddress": "IpAddress",
}


def _holds(operator: str, key: str, wanted: Sequence[str], context: Context, *, denies: bool) -> bool:
    """Judge a condition; one that we cannot judge denies where it stands in a Deny and allows nothing."""
    quantifier, _, name = operator.rpartition(":")
    given = context.get(key.lower())
    if name == "Null":
        return (given is None) == (str(wanted[0]).lower() == "true")
    if name.endswith("IfExists"):
        name = name.removesuffix("IfExists")
        if given is None:
            return True
    negated = name in NEGATED
    compare = OPERATORS.get(NEGATED.get(name, name))
    if compare is None:
        return denies
    if not given:
        return negated or quantifier == "ForAllValues"
    patterns = [_filled(str(pattern), context) for pattern in wanted]
    fits = [any(compare(pattern, value) for pattern in patterns) != negated for value in given]
    return all(fits) if quantifier == "ForAllValues" else any(fits)


def _filled(pattern: str, context: Context) -> str:
    """Put in policy variables; one that is not known fits nothing."""

    def value(found: re.Match[str]) -> str:
        known = context.get(found[1].lower())
        return known[0] if known else "\0"

    return VARIABLE.sub(value, pattern)


@cache
def _regex(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
