"""What a client gets, step by step, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.buckets import bucket, salted, subject
from policies.decide import Choice, Context, Decision, Reason, decide
from policies.document import parse
from policies.policy import compiled
from policies.steps import STEPS
from tests.policies.policies import BACKGROUND, CATALOGUE, ON_ANDROID, one_arm, policy
from tests.policies.strategies import contexts, documents, slugs

if TYPE_CHECKING:
    from random import Random

PHONE = Context(sub="ada", platform="android", app_version="5.3", network="cellular", state="background")


def names(decision: Decision) -> list[str]:
    return [offer.name for offer in decision.transports]


def why(decision: Decision, step: str) -> str:
    return next(reason.text for reason in decision.reasons if reason.step == step)


def parameters(decision: Decision, name: str) -> dict[str, int]:
    offer = decision.offer(name)
    assert offer is not None
    return dict(offer.parameters)


# --- preference, and the form of a decision ---------------------------------------------------------------------------


def test_who_says_nothing_gets_the_policys_preference_with_all_parameters() -> None:
    decision = decide(policy(17), Context())
    assert decision.revision == 17
    assert decision.arms == {}
    assert names(decision) == ["sse", "long-poll", "polling"]
    assert {offer.name: offer.parameters for offer in decision.transports} == {
        name: CATALOGUE[name] for name in ("sse", "long-poll", "polling")
    }
    assert decision.first == "sse"
    assert decision.offer("ndjson") is None


def test_every_step_leaves_its_reason_in_its_order() -> None:
    steps = ["preference", "rule", "rollouts", "supported", "failed", "switches", "parameters"]
    assert [reason.step for reason in decide(policy(), Context()).reasons] == steps
    assert [step.__name__ for step in STEPS] == steps


def test_a_reason_is_put_into_words_when_it_is_read() -> None:
    assert Reason("a", "nothing {was} filled in").text == "nothing {was} filled in"
    assert Reason("a", "{}: {}, in {}", ("{x}", ("sse", "polling"), {"r": "a"})).text == "{x}: sse, polling, in r: a"


def test_other_steps_can_be_folded() -> None:
    decision = decide(policy(), Context(), STEPS[:1])
    assert names(decision) == ["sse", "long-poll", "polling"]
    assert decision.transports[0].parameters == {}
    assert decide(policy(), Context(), []).first is None


def test_a_choice_keeps_what_the_steps_before_it_found() -> None:
    choice = Choice(("sse",)).with_(["polling"], "a", "why").in_arms({"r": "a"}, ()).by_rule({})
    assert choice.with_(("sse",), "b", "{}", "why")[:4] == (
        ("sse",),
        (Reason("a", "why"), Reason("b", "{}", ("why",))),
        True,
        {"r": "a"},
    )


# --- rule -------------------------------------------------------------------------------------------------------------


def test_a_rule_that_matches_sets_preference_and_parameters() -> None:
    decision = decide(policy(rules=[BACKGROUND]), PHONE)
    assert names(decision) == ["polling"]
    assert parameters(decision, "polling") == {"interval_ms": 60_000}
    assert why(decision, "rule") == 'the rule "metered phones in the background poll" prefers polling'
    assert why(decision, "parameters") == "the rule set parameters for polling"


def test_a_rule_that_does_not_match_changes_nothing() -> None:
    decision = decide(policy(rules=[BACKGROUND]), PHONE._replace(state="foreground"))
    assert names(decision) == ["sse", "long-poll", "polling"]
    assert why(decision, "rule") == "no rule is for this client"
    assert why(decide(policy(), PHONE), "rule") == "the policy has no rules"


def test_the_first_rule_that_matches_wins() -> None:
    rules = [
        {"name": "ios", "when": {"platform": "ios"}, "preference": ["sse"]},
        {"name": "parameters only", "parameters": {"sse": {"heartbeat": "1s"}}},
        {"name": "everyone", "preference": ["polling"], "parameters": {"sse": {"heartbeat": "2s"}}},
    ]
    decision = decide(policy(rules=rules), PHONE)
    assert names(decision) == ["sse", "long-poll", "polling"]
    assert parameters(decision, "sse") == {"heartbeat_ms": 1000, "first_byte_timeout_ms": 5000}
    assert why(decision, "rule") == 'the rule "parameters only" sets parameters'


def test_a_rule_keeps_the_client_out_of_rollouts() -> None:
    made = policy(
        rules=[BACKGROUND], rollouts=[one_arm("a", preference=["sse"], parameters={"polling": {"interval": "1s"}})]
    )
    decision = decide(made, PHONE)
    assert (names(decision), decision.arms) == (["polling"], {})
    assert parameters(decision, "polling") == {"interval_ms": 60_000}
    assert why(decision, "rollouts") == "a rule has decided: no rollout applies"
    assert decide(made, PHONE._replace(state=None)).arms == {"a": "all"}


# --- rollouts ---------------------------------------------------------------------------------------------------------


def test_an_arm_sets_preference_and_parameters() -> None:
    made = policy(rollouts=[one_arm("a", preference=["polling"], parameters={"polling": {"interval": "1s"}})])
    decision = decide(made, PHONE)
    assert decision.arms == {"a": "all"}
    assert names(decision) == ["polling"]
    assert parameters(decision, "polling") == {"interval_ms": 1000}
    assert why(decision, "rollouts") == "the client is in a: all; a prefers polling"
    assert why(decision, "parameters") == "the arms set parameters for polling"


def test_a_client_is_in_the_arm_that_its_bucket_is_in() -> None:
    made = policy(rollouts=[ON_ANDROID])
    for number in range(200):
        sub = f"user-{number}"
        place = bucket(salted("2026-11", "sse-on-android"), subject(sub, None) or b"")
        arm = "sse" if place < 2000 else "control"
        decision = decide(made, PHONE._replace(sub=sub))
        assert decision.arms == {"sse-on-android": arm}
        assert decision.first == {"sse": "sse", "control": "long-poll"}[arm]


def test_a_rollout_for_others_does_not_apply() -> None:
    made = policy(rollouts=[ON_ANDROID])
    for other in (PHONE._replace(platform="ios"), PHONE._replace(app_version="5.1"), PHONE._replace(app_version=None)):
        assert decide(made, other).arms == {}
        assert why(decide(made, other), "rollouts") == "no rollout is for this client"
    assert why(decide(policy(), PHONE), "rollouts") == "the policy has no rollouts"


def test_an_anonymous_client_goes_by_its_id_and_without_one_is_in_no_rollout() -> None:
    made = policy(rollouts=[ON_ANDROID])
    nobody = PHONE._replace(sub=None)
    assert decide(made, nobody).arms == {}
    assert why(decide(made, nobody), "rollouts") == "the client has no subject and no id: it is in no rollout"
    subs = {decide(made, PHONE._replace(sub=f"x{n}")).arms["sse-on-android"] for n in range(100)}
    ids = [decide(made, nobody._replace(client_id=f"x{n}")).arms["sse-on-android"] for n in range(100)]
    assert subs == set(ids) == {"control", "sse"}
    assert ids != [decide(made, PHONE._replace(sub=f"x{n}")).arms["sse-on-android"] for n in range(100)]


def test_a_client_id_does_not_move_a_subject() -> None:
    made = policy(rollouts=[ON_ANDROID])
    assert len({decide(made, PHONE._replace(client_id=f"x{n}")).first for n in range(100)}) == 1


def test_the_first_rollout_whose_arm_has_a_preference_decides_and_all_are_told() -> None:
    rollouts = [
        one_arm("a", parameters={"sse": {"heartbeat": "1s"}}),
        one_arm("b", preference=["polling", "sse"]),
        one_arm("c", preference=["long-poll"]),
    ]
    decision = decide(policy(rollouts=rollouts), PHONE)
    assert names(decision) == ["polling", "sse"]
    assert decision.arms == {"a": "all", "b": "all", "c": "all"}
    assert list(decision.arms) == ["a", "b", "c"]


def test_a_later_rollout_sets_only_parameters_that_none_before_it_set() -> None:
    rollouts = [
        one_arm("a", parameters={"sse": {"heartbeat": "1s"}}),
        one_arm("b", parameters={"sse": {"heartbeat": "2s", "min_interval": "3s"}, "polling": {"interval": "4s"}}),
    ]
    made = policy(rollouts=rollouts, transports={"sse": {"heartbeat": "9s", "first_byte_timeout": "8s"}})
    decision = decide(made, PHONE)
    assert parameters(decision, "sse") == {
        "heartbeat_ms": 1000,
        "first_byte_timeout_ms": 8000,
        "min_interval_ms": 3000,
    }
    assert parameters(decision, "polling") == {"interval_ms": 4000}
    assert parameters(decision, "long-poll") == {"hold_ms": 25_000}


def test_one_clients_parameters_are_not_anothers() -> None:
    made = policy(rules=[BACKGROUND])
    decide(made, PHONE)
    assert parameters(decide(made, Context()), "polling") == {"interval_ms": 5000}


# --- supported, failed ------------------------------------------------------------------------------------------------


def test_what_the_client_does_not_support_is_removed_and_the_order_stays() -> None:
    decision = decide(policy(), Context(("polling", "pigeon", "sse")))
    assert names(decision) == ["sse", "polling"]
    assert why(decision, "supported") == "the client supports polling, pigeon, sse"
    assert why(decide(policy(), Context()), "supported") == "the client did not say what it supports: all"


def test_a_client_that_supports_nothing_gets_nothing() -> None:
    for supported in ((), ("pigeon",)):
        decision = decide(policy(), Context(supported))
        assert (decision.transports, decision.first) == ((), None)
    assert why(decide(policy(), Context(())), "supported") == "the client supports nothing"


def test_a_transport_that_failed_for_the_client_is_removed() -> None:
    decision = decide(policy(), Context(failed=frozenset({"sse", "pigeon"})))
    assert names(decision) == ["long-poll", "polling"]
    assert why(decision, "failed") == "the client reports that sse failed"


def test_when_everything_failed_nothing_is_removed() -> None:
    decision = decide(policy(), Context(failed=frozenset({"sse", "long-poll", "polling"})))
    assert names(decision) == ["sse", "long-poll", "polling"]
    assert why(decision, "failed") == "everything left has failed for the client: none is removed"


# --- switches ---------------------------------------------------------------------------------------------------------


def off(*those: str) -> dict[str, Any]:
    return {name: {"enabled": False} for name in those}


def test_a_transport_that_is_switched_off_is_removed() -> None:
    decision = decide(policy(transports=off("sse")), Context())
    assert names(decision) == ["long-poll", "polling"]
    assert why(decision, "switches") == "sse switched off"
    assert why(decide(policy(), Context()), "switches") == "nothing that is left is switched off"


def test_no_rule_and_no_arm_overrules_a_switch() -> None:
    rule = {"name": "a", "preference": ["sse", "polling"]}
    assert names(decide(policy(transports=off("sse"), rules=[rule]), PHONE)) == ["polling"]
    arm = one_arm("a", preference=["sse", "polling"])
    assert names(decide(policy(transports=off("sse"), rollouts=[arm]), PHONE)) == ["polling"]


def test_when_nothing_remains_the_policys_preference_is_taken_instead() -> None:
    rule = {"name": "a", "preference": ["sse"]}
    decision = decide(policy(transports=off("sse"), rules=[rule]), PHONE)
    assert names(decision) == ["long-poll", "polling"]
    assert why(decision, "switches") == "nothing is left that is switched on: long-poll, polling instead"
    unsupported = decide(policy(rules=[rule]), Context(("polling",)))
    assert names(unsupported) == ["polling"]


def test_when_nothing_of_the_preference_can_be_used_anything_installed_is() -> None:
    decision = decide(policy(preference=["sse"], transports=off("sse", "polling")), Context())
    assert names(decision) == ["long-poll", "ndjson"]


def test_what_failed_is_not_taken_instead_unless_there_is_nothing_else() -> None:
    made = policy(preference=["sse", "polling"], transports=off("sse"))
    assert names(decide(made, Context(("sse", "polling", "ndjson"), frozenset({"polling"})))) == ["ndjson"]
    assert names(decide(made, Context(("sse", "polling"), frozenset({"polling"})))) == ["polling"]


def test_when_everything_is_switched_off_nothing_is_offered() -> None:
    decision = decide(policy(transports=off(*CATALOGUE)), Context())
    assert decision.first is None
    assert why(decision, "switches") == "nothing that the client supports is switched on"


def test_a_gateway_that_lacks_all_of_the_preference_offers_what_it_has() -> None:
    made = compiled(parse({"preference": ["pigeon"]}), CATALOGUE, tolerant=True)
    decision = decide(made, Context(("polling",)))
    assert names(decision) == ["polling"]
    assert why(decision, "preference") == "nothing that the policy prefers is installed on this gateway"


# --- properties -------------------------------------------------------------------------------------------------------


@given(documents(), contexts)
def test_a_decision_is_total(document: dict[str, Any], context: Context) -> None:
    made = policy(**document)
    offered = names(decide(made, context))
    supported = set(CATALOGUE) if context.supported is None else set(context.supported)
    usable = made.enabled & supported
    assert bool(offered) == bool(usable)
    assert set(offered) <= usable <= set(CATALOGUE)
    assert len(offered) == len(set(offered))


@given(documents(), contexts, st.randoms(use_true_random=False))
def test_a_decision_is_stable_whatever_the_order_of_arms(
    document: dict[str, Any], context: Context, order: Random
) -> None:
    first = decide(policy(**document), context)
    assert decide(policy(**document), context) == first
    for rollout in document["rollouts"]:
        arms = list(rollout["arms"].items())
        order.shuffle(arms)
        rollout["arms"] = dict(arms)
    assert decide(policy(**document), context) == first


@given(documents(), contexts)
def test_a_decision_is_explained(document: dict[str, Any], context: Context) -> None:
    decision = decide(policy(**document), context)
    assert [reason.step for reason in decision.reasons] == [step.__name__ for step in STEPS]
    assert all(reason.text and "{}" not in reason.text for reason in decision.reasons)


@given(documents(), contexts)
def test_a_decision_carries_for_each_transport_what_it_takes(document: dict[str, Any], context: Context) -> None:
    for name, given_parameters in decide(policy(**document), context).transports:
        assert CATALOGUE[name].keys() <= given_parameters.keys() <= {*CATALOGUE[name], "min_interval_ms"}


@given(documents(), contexts)
def test_arms_are_those_of_the_rollouts_that_are_for_the_client(document: dict[str, Any], context: Context) -> None:
    arms = decide(policy(**document), context).arms
    known = {rollout["name"]: rollout["arms"] for rollout in document["rollouts"]}
    assert list(arms) == [name for name in known if name in arms]
    assert all(known[rollout][arm]["weight"] > 0 for rollout, arm in arms.items())
    if not context.sub and not context.client_id:
        assert arms == {}


@pytest.mark.parametrize("third", [0, 25], ids=["two-arms", "three-arms"])
@given(name=slugs, salt=st.sampled_from(["", "2026-11"]))
@settings(max_examples=5, deadline=None)
def test_a_ramp_moves_only_clients_from_control_to_the_arm(third: int, name: str, salt: str) -> None:
    def arms(weight: int) -> dict[str, Any]:
        given_arms = {"control": {"weight": 100 - weight - third}, "sse": {"weight": weight}}
        return given_arms | ({"poll": {"weight": third}} if third else {})

    before, after = (policy(rollouts=[{"name": name, "salt": salt, "arms": arms(weight)}]) for weight in (20, 30))
    clients = [Context(sub=f"user-{number}") for number in range(2000)]
    sides = [(decide(before, one).arms[name], decide(after, one).arms[name]) for one in clients]
    moved = [side for side in sides if side[0] != side[1]]
    assert set(moved) == {("control", "sse")}
    assert 120 <= len(moved) <= 280  # a tenth of 2,000, within six standard deviations
