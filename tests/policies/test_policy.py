"""A document made ready for the transports of one gateway."""

from __future__ import annotations

from typing import Any

import pytest

from policies.document import parse
from policies.policy import compiled
from realtime.errors import InvalidField
from tests.policies.policies import CATALOGUE, FULL, policy


def test_a_policy_has_the_documents_values_in_milliseconds() -> None:
    made = policy(7, **FULL)
    assert (made.revision, made.document) == (7, parse(FULL))
    assert made.installed == ("sse", "long-poll", "polling", "ndjson")
    assert made.preference == ("sse", "long-poll", "polling")
    assert made.enabled == {"sse", "long-poll", "ndjson"}
    assert (made.move_within_ms, made.fallback_retry_after_ms) == (10_000, 300_000)
    assert (made.retry_base_ms, made.retry_max_ms) == (1000, 30_000)


def test_the_parameters_of_a_transport_are_laid_over_its_defaults() -> None:
    made = policy(transports={"sse": {"heartbeat": "20s", "min_interval": "250ms"}})
    assert made.parameters == {
        **CATALOGUE,
        "sse": {"heartbeat_ms": 20_000, "first_byte_timeout_ms": 5_000, "min_interval_ms": 250},
    }


def test_policies_are_the_same_when_document_and_revision_are() -> None:
    assert policy(1, **FULL) == policy(1, **FULL) != policy(2, **FULL)


def arm(**given: object) -> dict[str, Any]:
    return {"rollouts": [{"name": "a", "arms": {"b": {"weight": 100, **given}}}]}


def rule(**given: object) -> dict[str, Any]:
    return {"rules": [{"name": "a", **given}]}


HOLD = {"sse": {"hold": "1s"}}
WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"preference": ["polling", "ssse"]}, "preference[1]", "did you mean sse?"),
    ({"preference": ["pigeon"]}, "preference[0]", "sse, long-poll, polling, ndjson"),
    ({"transports": {"longpoll": {}}}, "transports.longpoll", "did you mean long-poll?"),
    ({"transports": {"longpoll": {"enabled": False}}}, "transports.longpoll", "did you mean long-poll?"),
    ({"transports": HOLD}, "transports.sse.hold", "heartbeat, first_byte_timeout, min_interval"),
    (
        {"transports": {"polling": {"min_interval": "1s"}}},
        "transports.polling.min_interval",
        "did you mean interval?",
    ),
    ({"transports": {"long-poll": {"interval": "1s"}}}, "transports.long-poll.interval", "did you mean min_interval?"),
    (rule(preference=["sse", "pol"]), "rules[0].preference[1]", "did you mean polling?"),
    (rule(parameters={"pol": {}}), "rules[0].parameters.pol", "did you mean polling?"),
    (rule(parameters=HOLD), "rules[0].parameters.sse.hold", '"hold"'),
    (arm(preference=["ss"]), "rollouts[0].arms.b.preference[0]", "did you mean sse?"),
    (arm(parameters={"ss": {}}), "rollouts[0].arms.b.parameters.ss", "did you mean sse?"),
    (arm(parameters=HOLD), "rollouts[0].arms.b.parameters.sse.hold", '"hold"'),
]


@pytest.mark.parametrize(("document", "field", "said"), WRONG, ids=range(len(WRONG)))
def test_what_is_not_installed_or_not_taken_is_refused_with_the_nearest(
    document: dict[str, Any], field: str, said: str
) -> None:
    with pytest.raises(InvalidField) as caught:
        policy(**document)
    assert caught.value.fields["field"] == f"policy.{field}"
    assert caught.value.detail.startswith(f"policy.{field}: ")
    assert said in caught.value.detail


@pytest.mark.parametrize("document", [one[0] for one in WRONG], ids=range(len(WRONG)))
def test_a_tolerant_gateway_leaves_out_what_it_does_not_know(document: dict[str, Any]) -> None:
    made = compiled(parse(document), CATALOGUE, tolerant=True)
    assert set(made.preference) <= set(CATALOGUE)
    assert made.parameters == CATALOGUE
    wishes = [(rule.preference, rule.parameters) for rule in made.rules]
    wishes += [(arm.preference, arm.parameters) for rollout in made.rollouts for arm in rollout.arms.values()]
    for preference, parameters in wishes:
        assert set(preference or ()) <= {"sse"}
        assert not any(parameters.values())


def test_a_preference_of_which_nothing_is_installed_here_is_none() -> None:
    made = compiled(parse(rule(preference=["pigeon"])), CATALOGUE, tolerant=True)
    assert made.rules[0].preference is None
