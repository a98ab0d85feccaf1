"""For whom a rule or a rollout is."""

from __future__ import annotations

from typing import Any

import pytest

from policies.conditions import all_hold, conditions
from policies.decide import Context
from policies.document import When

ADA = Context(
    sub="ada",
    client_id="phone",
    channel="tenant",
    roles=frozenset({"viewer", "editor"}),
    platform="android",
    app_version="5.10.1",
    network="cellular",
    state="background",
    sdk="js/1.2",
)


def matches(when: dict[str, Any], context: Context) -> bool:
    return all_hold(conditions(When.model_validate(when)), context)


@pytest.mark.parametrize("context", [ADA, Context()], ids=["known", "unknown"])
def test_no_condition_matches_everyone(context: Context) -> None:
    assert matches({}, context)


YES: list[dict[str, Any]] = [
    {"platform": ["ios", "android"]},
    {"platform": "android"},
    {"network": ["cellular"]},
    {"state": ["background"]},
    {"sdk": ["js/*"]},
    {"sdk": ["swift/*", "js/1.2"]},
    {"sdk": "*"},
    {"sub": ["ada", "bob"]},
    {"sub": "*"},
    {"role": ["admin", "viewer"]},
    {"channel": ["tenant"]},
    {"app_version": ">=5.2"},
    {"app_version": ">=5.2,<6"},
    {"platform": "android", "network": "cellular", "role": "editor", "app_version": ">5"},
]
NO: list[dict[str, Any]] = [
    {"platform": ["ios"]},
    {"platform": ["Android"]},
    {"network": ["wifi"]},
    {"state": ["foreground"]},
    {"sdk": ["swift/*"]},
    {"sdk": ["js"]},
    {"sub": ["bob"]},
    {"role": ["admin"]},
    {"channel": ["main"]},
    {"app_version": ">=6"},
    {"platform": "android", "network": "cellular", "role": "admin"},
]


@pytest.mark.parametrize("when", YES, ids=range(len(YES)))
def test_a_condition_that_holds_matches(when: dict[str, Any]) -> None:
    assert matches(when, ADA)


@pytest.mark.parametrize("when", NO, ids=range(len(NO)))
def test_a_condition_that_does_not_hold_matches_not(when: dict[str, Any]) -> None:
    assert not matches(when, ADA)


@pytest.mark.parametrize("when", [one for one in YES if "channel" not in one], ids=range(len(YES) - 1))
def test_a_condition_on_what_is_unknown_matches_not(when: dict[str, Any]) -> None:
    assert not matches(when, Context())


def test_a_client_without_a_channel_is_in_main() -> None:
    assert matches({"channel": "main"}, Context())


@pytest.mark.parametrize(
    ("version", "matched"),
    [
        ("5.2", True),
        ("5.2.0", True),
        ("v5.2", True),
        ("5.10", True),
        ("5.3b1", True),
        ("5.1.9", False),
        ("6.0", False),
        ("5.2b1", False),
        ("", False),
        ("latest", False),
        ("5.2-build-7-of-main", False),
    ],
)
def test_versions_are_compared_as_versions_and_an_unreadable_one_is_unknown(version: str, matched: bool) -> None:
    assert matches({"app_version": ">=5.2,<6"}, Context(app_version=version)) is matched


def test_an_unreadable_version_is_not_outside_a_range_either() -> None:
    assert not matches({"app_version": "!=5.2"}, Context(app_version="latest"))
