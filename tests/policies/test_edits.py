"""The small changes: a switch, a ramp. Everything else of a document stays as it was."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from policies.document import Document, parse
from policies.edits import ramped, switched
from realtime.errors import InvalidField, NotFound
from tests.policies.strategies import documents

DOCUMENTS = documents().map(parse)
INSTALLED = ("sse", "long-poll", "polling")


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(DOCUMENTS, st.sampled_from(INSTALLED), st.booleans())
def test_a_switch_changes_one_value_and_nothing_else(document: Document, name: str, enabled: bool) -> None:
    document = document.with_transports(INSTALLED)
    edited = switched(document, name, enabled=enabled)
    assert edited.transports[name].enabled is enabled
    assert switched(edited, name, enabled=document.transports[name].enabled) == document


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(DOCUMENTS, st.data())
def test_a_ramp_changes_weights_and_nothing_else(document: Document, data: st.DataObject) -> None:
    assume(document.rollouts)
    rollout = data.draw(st.sampled_from(document.rollouts))
    arms = list(rollout.arms)
    cuts = sorted(data.draw(st.lists(st.integers(0, 10_000), min_size=len(arms) - 1, max_size=len(arms) - 1)))
    shares = [after - before for before, after in zip([0, *cuts], [*cuts, 10_000], strict=True)]
    weights = {arm: share / 100 for arm, share in zip(arms, shares, strict=True)}
    edited = ramped(document, rollout.name, weights)
    (changed,) = [one for one in edited.rollouts if one.name == rollout.name]
    assert {name: arm.weight for name, arm in changed.arms.items()} == weights
    assert ramped(edited, rollout.name, {name: arm.weight for name, arm in rollout.arms.items()}) == document


ROLLOUT = {"name": "polls", "arms": {"control": {"weight": 80}, "polls": {"weight": 20, "preference": ["polling"]}}}
DOCUMENT = parse({"rollouts": [ROLLOUT]}).with_transports(INSTALLED)


def test_an_arm_that_is_not_named_keeps_its_weight() -> None:
    assert ramped(DOCUMENT, "polls", {"polls": 20}) == DOCUMENT
    with pytest.raises(InvalidField, match="sum to 100; these sum to 110") as raised:
        ramped(DOCUMENT, "polls", {"polls": 30})
    assert raised.value.fields["field"] == "weights"


@pytest.mark.parametrize("weights", [{"polls": -1, "control": 101}, {"polls": 0.001, "control": 99.999}])
def test_weights_that_are_none_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(InvalidField, match=r"^weights: "):
        ramped(DOCUMENT, "polls", weights)


def test_what_is_not_there_is_named_with_the_nearest() -> None:
    with pytest.raises(NotFound, match="did you mean long-poll"):
        switched(DOCUMENT, "longpoll", enabled=True)
    with pytest.raises(NotFound, match="did you mean polls"):
        ramped(DOCUMENT, "pols", {"polls": 20})
    with pytest.raises(InvalidField, match="did you mean control") as raised:
        ramped(DOCUMENT, "polls", {"contol": 80})
    assert raised.value.fields["field"] == "weights.contol"
    with pytest.raises(NotFound, match="there is none"):
        ramped(parse({}), "polls", {"polls": 20})
