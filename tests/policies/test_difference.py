"""Differences: from what is told, and the document before, the document after can be made."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings

from policies.difference import Change, differences
from policies.document import parse
from tests.policies.strategies import documents

if TYPE_CHECKING:
    from policies.document import Document

DOCUMENTS = documents().map(parse)
PART = re.compile(r"\[([^\]]*)\]|([^.\[]+)")


def applied(before: dict[str, Any], changes: tuple[Change, ...]) -> dict[str, Any]:
    """Make the document after out of the one before, as a reader of the changes would."""
    value = _by_name(deepcopy(before))
    for path, _, after in changes:
        if path.endswith(" (order)"):
            name = path.removesuffix(" (order)")
            value[name] = {one: value[name][one] for one in after}
            continue
        *way, last = [bracketed or plain for bracketed, plain in PART.findall(path)]
        holder = value
        for name in way:
            holder = holder[name]
        if after is None:
            del holder[last]
        else:
            holder[last] = after
    return value


def _by_name(document: dict[str, Any]) -> dict[str, Any]:
    named = {key: {one["name"]: one for one in document[key]} for key in ("rules", "rollouts")}
    return {**document, **named}


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(DOCUMENTS, DOCUMENTS)
def test_a_document_can_be_made_out_of_another_and_what_changed(before: Document, after: Document) -> None:
    old, new = before.dump(), after.dump()
    changes = differences(old, new)
    made, wanted = applied(old, changes), _by_name(new)
    assert made == wanted
    kept = {key: [name for name in _by_name(old)[key] if name in wanted[key]] for key in ("rules", "rollouts")}
    for key, names in kept.items():
        moved = [name for name in wanted[key] if name in names] != names
        assert moved is any(change.path == f"{key} (order)" for change in changes)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(DOCUMENTS)
def test_what_is_the_same_is_no_change(document: Document) -> None:
    assert differences(document.dump(), json.loads(json.dumps(document.dump()))) == ()


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(DOCUMENTS, DOCUMENTS)
def test_going_back_is_told_the_other_way_round(before: Document, after: Document) -> None:
    there = differences(before.dump(), after.dump())
    back = differences(after.dump(), before.dump())
    assert {(path, old, new) for path, old, new in _hashable(there)} == {
        (path, old, new) for path, new, old in _hashable(back)
    }


def _hashable(changes: tuple[Change, ...]) -> list[tuple[str, str, str]]:
    return [(path, json.dumps(before), json.dumps(after)) for path, before, after in changes]


def test_a_rule_is_compared_with_the_one_of_its_name() -> None:
    one, two = {"name": "one", "preference": ["sse"]}, {"name": "two", "preference": ["polling"]}
    assert differences({"rules": [one, two]}, {"rules": [two]}) == (Change("rules[one]", one, None),)
    assert differences({"rules": [one, two]}, {"rules": [two, one]}) == (
        Change("rules (order)", ["one", "two"], ["two", "one"]),
    )
