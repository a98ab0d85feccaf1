"""The document: what it takes, how it is written back, and what is said of what it doesn't take."""

from __future__ import annotations

import json
import tomllib
from contextlib import suppress
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from policies.document import Document, TransportSwitch, parse
from realtime.errors import InvalidField
from tests.policies.policies import FULL
from tests.policies.strategies import documents

TOML = """
preference = ["sse", "long-poll", "polling"]
move_within = "10s"
fallback_retry_after = "300s"
retry_base = "1s"
retry_max = "30s"
[transports.sse]
enabled = true
heartbeat = "20s"
[transports.polling]
enabled = false
[[rules]]
name = "metered phones in the background poll"
when = { platform = ["ios", "android"], network = "cellular", state = ["background"] }
preference = ["polling"]
parameters = { polling = { interval = "60s" } }
[[rollouts]]
name = "sse-on-android"
when = { platform = "android", app_version = ">=5.2" }
salt = "2026-11"
[rollouts.arms.control]
weight = 80
preference = ["long-poll", "polling"]
[rollouts.arms.sse]
weight = 20.0
preference = ["sse", "long-poll", "polling"]
"""


def refused(value: object) -> InvalidField:
    with pytest.raises(InvalidField) as caught:
        parse(value)
    assert not isinstance(caught.value.__context__, ValidationError)
    return caught.value


# --- what it takes ----------------------------------------------------------------------------------------------------


def test_a_document_is_the_same_as_toml_and_as_json() -> None:
    assert parse(tomllib.loads(TOML)) == parse(json.loads(json.dumps(FULL))) == parse(FULL)


def test_an_empty_document_is_the_defaults() -> None:
    document = parse({})
    assert document == Document()
    assert document.preference == ("sse", "long-poll", "polling")
    assert document.move_within == 10_000


def test_a_dump_is_what_was_written_with_defaults_and_without_what_is_not_set() -> None:
    dumped = Document.model_validate(tomllib.loads(TOML)).dump()
    assert dumped == {
        **FULL,
        "rules": [{**FULL["rules"][0], "parameters": {"polling": {"interval": "1m"}}}],
    }
    assert list(dumped) == list(FULL)
    assert list(dumped["transports"]["sse"]) == ["enabled", "heartbeat"]
    assert parse({"rollouts": [{"name": "a", "arms": {"b": {"weight": 100}}}]}).dump()["rollouts"] == [
        {"name": "a", "arms": {"b": {"weight": 100}}}
    ]


@given(documents())
def test_a_dump_is_json_and_reads_back_as_the_same_document(value: dict[str, Any]) -> None:
    document = parse(value)
    again = parse(json.loads(json.dumps(document.dump())))
    assert again == document
    assert again.dump() == document.dump()
    assert [list(one.arms) for one in again.rollouts] == [list(one.arms) for one in document.rollouts]


def test_every_transport_gets_a_switch_and_keeps_the_one_it_has() -> None:
    document = parse(FULL).with_transports(["sse", "long-poll", "polling"])
    assert document.transports == {
        "sse": TransportSwitch(heartbeat=20),
        "polling": TransportSwitch(enabled=False),
        "long-poll": TransportSwitch(),
    }
    assert parse(document.dump()) == document


def test_a_document_is_frozen() -> None:
    with pytest.raises(ValidationError):
        parse(FULL).move_within = 1  # type: ignore[misc]


@pytest.mark.parametrize("weights", [(100,), (0, 100), (33.33, 33.33, 33.34), (0.01, 99.99), (12.5, 87.5)])
def test_weights_that_sum_to_100_are_taken(weights: tuple[float, ...]) -> None:
    arms = {f"a{index}": {"weight": weight} for index, weight in enumerate(weights)}
    assert parse({"rollouts": [{"name": "a", "arms": arms}]}).rollouts[0].arms.keys() == arms.keys()


# --- what it doesn't take ---------------------------------------------------------------------------------------------


def changed(path: str, value: object) -> dict[str, Any]:
    """Return the full document with something else at one place."""
    document: Any = deepcopy(FULL)
    *way, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    table = document
    for part in way:
        table = table[part]
    table[last] = value
    return document  # type: ignore[no-any-return]


LONG = "x" * 256
MANY = [f"v{number}" for number in range(1001)]


WRONG: list[tuple[str, object, str, str]] = [
    ("preferance", ["sse"], "preferance", "there is no such key; did you mean policy.preference?"),
    ("preference", [], "preference", "expected at least one entry"),
    ("preference", None, "preference", "expected a list"),
    ("preference", "sse", "preference", 'did you mean ["sse"]?'),
    ("preference", ["sse", "sse"], "preference", 'each entry once, but "sse" is there twice'),
    ("preference", ["SSE"], "preference[0]", "expected the name of a transport"),
    ("preference", [3], "preference[0]", "expected a string"),
    ("preference", MANY, "preference", "expected at most 1000 entries; these are 1001"),
    ("move_within", "soon", "move_within", "expected a duration"),
    ("move_within", "2h", "move_within", 'expected at most 1h; did you mean "1h"?'),
    ("move_within", None, "move_within", "expected a duration"),
    ("fallback_retry_after", "1ms", "fallback_retry_after", "expected at least 1s"),
    ("retry_base", "1ms", "retry_base", "expected at least 10ms"),
    ("retry_max", "2d", "retry_max", "expected at most 1d"),
    ("retry_max", "0.5s", "retry_max", 'retry_max = "0.5s": expected at least retry_base, which is "1s"'),
    ("transports", [], "transports", "expected a table"),
    ("transports", {"SSE": {}}, "transports.SSE", "expected the name of a transport"),
    ("transports/sse", 3, "transports.sse", "expected a section with its own keys"),
    ("transports/sse/enabled", "yes", "transports.sse.enabled", "expected true or false"),
    ("transports/sse/enabled", 1, "transports.sse.enabled", "expected true or false"),
    ("transports/sse/heartbeat", "10ms", "transports.sse.heartbeat", 'at least 50ms; did you mean "50ms"?'),
    ("transports/sse/heartbeat", "2h", "transports.sse.heartbeat", "at most 1h"),
    ("transports/sse/first_byte_timeout", "9ms", "transports.sse.first_byte_timeout", "at least 10ms"),
    ("transports/sse/hold", "49ms", "transports.sse.hold", "at least 50ms"),
    ("transports/sse/interval", "2d", "transports.sse.interval", "at most 1d"),
    ("transports/sse/min_interval", "2h", "transports.sse.min_interval", "at most 1h"),
    (
        "transports/sse/heartbeat_ms",
        1,
        "transports.sse.heartbeat_ms",
        "did you mean policy.transports.sse.heartbeat?",
    ),
    ("rules", {}, "rules", "expected a list of tables"),
    ("rules", ["x"], "rules[0]", "expected a section with its own keys"),
    ("rules", [FULL["rules"][0]] * 101, "rules", "at most 100 entries"),
    ("rules", [FULL["rules"][0]] * 2, "rules[1].name", "expected another name, for rules[0] has it"),
    ("rules", [{"preference": ["sse"]}], "rules[0].name", "is not set"),
    ("rules", [{"name": "x"}], "rules[0].preference", "a rule must set one of them"),
    ("rules", [{"name": "x", "parameters": {}}], "rules[0].preference", "a rule must set one of them"),
    ("rules/0/naem", "x", "rules[0].naem", "did you mean policy.rules[0].name?"),
    ("rules/0/name", "", "rules[0].name", "expected a name of 1 to 64 characters"),
    ("rules/0/name", "x" * 65, "rules[0].name", "expected a name of 1 to 64 characters"),
    ("rules/0/name", "a\nb", "rules[0].name", "without control characters"),
    ("rules/0/name", "a\x7fb", "rules[0].name", "without control characters"),
    ("rules/0/name", "a\ud800", "rules[0].name", "without control characters"),
    ("rules/0/name", 3, "rules[0].name", "expected a string"),
    ("rules/0/when", "ios", "rules[0].when", "expected a section with its own keys"),
    ("rules/0/when/plattform", "ios", "rules[0].when.plattform", "did you mean policy.rules[0].when.platform?"),
    ("rules/0/when/platform", [], "rules[0].when.platform", "at least one entry"),
    ("rules/0/when/platform", 3, "rules[0].when.platform", "expected a string, or a list"),
    ("rules/0/when/network", [3], "rules[0].when.network[0]", "expected a string"),
    ("rules/0/when/state", [""], "rules[0].when.state[0]", "expected a string of 1 to 255 characters"),
    ("rules/0/when/sdk", LONG, "rules[0].when.sdk[0]", "expected a string of 1 to 255 characters"),
    ("rules/0/when/sub", MANY, "rules[0].when.sub", "at most 1000 entries"),
    ("rules/0/when/sub", ["a\ud800"], "rules[0].when.sub[0]", "without control characters"),
    ("rules/0/when/role", {}, "rules[0].when.role", "expected a string, or a list"),
    ("rules/0/when/channel", [None], "rules[0].when.channel[0]", "expected a string"),
    ("rules/0/when/app_version", "5.2+", "rules[0].when.app_version", 'did you mean ">=5.2"?'),
    ("rules/0/when/app_version", "v5.2", "rules[0].when.app_version", 'did you mean ">=5.2"?'),
    ("rules/0/when/app_version", "new", "rules[0].when.app_version", 'a range of versions such as ">=5.2"'),
    ("rules/0/when/app_version", "", "rules[0].when.app_version", "expected a string of 1 to 255"),
    ("rules/0/when/app_version", " ", "rules[0].when.app_version", "a range of versions"),
    ("rules/0/when/app_version", 5.2, "rules[0].when.app_version", "expected a string"),
    ("rules/0/preference", [], "rules[0].preference", "at least one entry"),
    ("rules/0/preference", ["polling", "polling"], "rules[0].preference", "each entry once"),
    ("rules/0/parameters", [], "rules[0].parameters", "expected a table"),
    ("rules/0/parameters/polling", 3, "rules[0].parameters.polling", "a section with its own keys"),
    ("rules/0/parameters/polling/enabled", True, "rules[0].parameters.polling.enabled", "there is no such key"),
    ("rules/0/parameters/polling/interval", "x", "rules[0].parameters.polling.interval", "a duration"),
    ("rollouts", "[", "rollouts", "expected a list of tables"),
    ("rollouts", [FULL["rollouts"][0]] * 51, "rollouts", "at most 50 entries"),
    ("rollouts", [FULL["rollouts"][0]] * 2, "rollouts[1].name", "expected another name"),
    ("rollouts/0/arm", {}, "rollouts[0].arm", "did you mean policy.rollouts[0].arms?"),
    ("rollouts/0/name", "SSE on Android", "rollouts[0].name", 'did you mean "sse-on-android"?'),
    ("rollouts/0/name", "-a", "rollouts[0].name", 'did you mean "a"?'),
    ("rollouts/0/name", "a" * 65, "rollouts[0].name", "1 to 64"),
    ("rollouts/0/when/sub", [], "rollouts[0].when.sub", "at least one entry"),
    ("rollouts/0/salt", "x" * 65, "rollouts[0].salt", "at most 64 characters"),
    ("rollouts/0/salt", "a\0", "rollouts[0].salt", "without control characters"),
    ("rollouts/0/salt", 2026, "rollouts[0].salt", "expected a string"),
    ("rollouts/0/arms", {}, "rollouts[0].arms", "at least one entry"),
    ("rollouts/0/arms", [], "rollouts[0].arms", "expected a table"),
    ("rollouts/0/arms", {f"a{n}": {"weight": 0} for n in range(21)}, "rollouts[0].arms", "at most 20 entries"),
    ("rollouts/0/arms", {"A": {"weight": 100}}, "rollouts[0].arms.A", 'did you mean "a"?'),
    ("rollouts/0/arms", {"a": {}}, "rollouts[0].arms.a.weight", "is not set"),
    (
        "rollouts/0/arms",
        {"a": {"weight": 99.99}},
        "rollouts[0].arms",
        "weights that sum to 100; these sum to 99.99",
    ),
    ("rollouts/0/arms/sse/weight", 30, "rollouts[0].arms", "weights that sum to 100; these sum to 110"),
    (
        "rollouts/0/arms/sse/weigth",
        20,
        "rollouts[0].arms.sse.weigth",
        "did you mean policy.rollouts[0].arms.sse.weight?",
    ),
    (
        "rollouts/0/arms/sse/weight",
        20.001,
        "rollouts[0].arms.sse.weight",
        "at most two decimals; did you mean 20.0?",
    ),
    ("rollouts/0/arms/sse/weight", -1, "rollouts[0].arms.sse.weight", "from 0 to 100"),
    ("rollouts/0/arms/sse/weight", 101, "rollouts[0].arms.sse.weight", "from 0 to 100"),
    ("rollouts/0/arms/sse/weight", "20", "rollouts[0].arms.sse.weight", "a number of percent"),
    ("rollouts/0/arms/sse/weight", True, "rollouts[0].arms.sse.weight", "a number of percent"),
    ("rollouts/0/arms/sse/weight", float("nan"), "rollouts[0].arms.sse.weight", "a number of percent"),
    ("rollouts/0/arms/sse/weight", 10**5000, "rollouts[0].arms.sse.weight", "a number of percent"),
    ("rollouts/0/arms/sse/preference", [], "rollouts[0].arms.sse.preference", "at least one entry"),
    (
        "rollouts/0/arms/sse/parameters",
        {"sse": {"hold": "x"}},
        "rollouts[0].arms.sse.parameters.sse.hold",
        "duration",
    ),
]


@pytest.mark.parametrize(("path", "value", "field", "said"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_field_is_named_with_what_is_expected(path: str, value: object, field: str, said: str) -> None:
    error = refused(changed(path, value))
    assert error.fields["field"] == f"policy.{field}"
    assert error.detail.startswith(f"policy.{field}")
    assert said in error.detail
    assert len(error.body()) < 1000


@pytest.mark.parametrize("value", [None, 3, "sse", [], [FULL]])
def test_what_is_no_document_at_all_is_refused(value: object) -> None:
    assert refused(value).fields["field"] == "policy"


def test_an_unknown_key_is_told_before_the_one_that_it_was_meant_to_be() -> None:
    assert refused({"rules": [{"naem": "x", "preference": ["sse"]}]}).fields["field"] == "policy.rules[0].naem"


def test_an_arm_may_be_named_as_a_key_is() -> None:
    arms = {"parameters": {"wieght": 100}}
    error = refused({"rollouts": [{"name": "a", "arms": arms}]})
    assert "did you mean policy.rollouts[0].arms.parameters.weight?" in error.detail


def test_what_is_nested_too_deeply_to_be_shown_is_refused_as_well() -> None:
    deep: object = []
    for _ in range(5000):
        deep = [deep]
    assert "(too much to be shown)" in refused({"preference": deep}).detail


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda one: (
            st.lists(one)
            | st.dictionaries(st.sampled_from(["preference", "rules", "rollouts", "arms", "when", "name", "x"]), one)
        ),
    )
)
def test_anything_is_a_document_or_is_refused(value: object) -> None:
    with suppress(InvalidField):
        parse(value)
