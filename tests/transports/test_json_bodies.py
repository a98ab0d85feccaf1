"""The JSON bodies of long-poll and polling: keys, their order, and when 304 is enough (PROTOCOL §4)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transports.samples import TIME, control, cursor, delivery, entry, terms, truncated
from transports.long_poll import LongPoll
from transports.polling import Polling

if TYPE_CHECKING:
    from transports.transport import Delivery, Transport

long_poll, polling = LongPoll(), Polling()
BOTH: list[Transport] = [long_poll, polling]
both = pytest.mark.parametrize("transport", BOTH, ids=lambda transport: transport.name)


def test_a_long_poll_answers_with_four_keys_in_order() -> None:
    said = delivery(long_poll.frame(entry(2, {"n": 1})), position=cursor(4), more=True)
    answer = long_poll.answer(terms(), said)
    assert answer.body.decode() == (
        f'{{"events":[{{"id":"{cursor(2)}","time":"{TIME}","event":"test.happened","scope":"broadcast","version":1,'
        f'"data":{{"n":1}}}}],"control":[],"cursor":"{cursor(4)}","more":true}}'
    )
    assert dict(answer.headers) == {b"content-type": b"application/json", b"cache-control": b"private, no-store"}


def test_a_poll_says_when_to_come_again() -> None:
    answer = polling.answer(terms(next_poll_ms=5123), delivery(position=cursor(4)))
    assert list(json.loads(answer.body)) == ["events", "control", "cursor", "more", "next_poll_ms"]
    assert json.loads(answer.body)["next_poll_ms"] == 5123
    assert dict(answer.headers)[b"etag"] == f'W/"{cursor(4)}"'.encode()


@both
def test_a_new_ticket_comes_last_and_is_absent_when_none_is_due(transport: Transport) -> None:
    with_one = json.loads(transport.answer(terms(), delivery(position=cursor(4), ticket="abc.def_-")).body)
    assert list(with_one)[-1] == "ticket"
    assert with_one["ticket"] == "abc.def_-"
    assert "ticket" not in json.loads(transport.answer(terms(), delivery(position=cursor(4))).body)


@both
def test_events_and_control_events_stand_apart(transport: Transport) -> None:
    frames = [transport.frame(entry(number)) for number in (2, 3)]
    controls = transport.control(truncated(cursor(1))), transport.control(control("ticket.expired"))
    body = json.loads(transport.answer(terms(), delivery(*frames, position=cursor(3), controls=controls)).body)
    assert [one["id"] for one in body["events"]] == [str(cursor(2)), str(cursor(3))]
    assert [one["event"] for one in body["control"]] == ["history.truncated", "ticket.expired"]
    assert not any("id" in one for one in body["control"])


@both
@given(values=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5), more=st.booleans())
def test_a_body_is_one_line_of_json_whatever_it_carries(transport: Transport, values: list[str], more: bool) -> None:
    frames = [transport.frame(entry(number, value)) for number, value in enumerate(values, 1)]
    body = transport.answer(terms(), delivery(*frames, position=cursor(9), more=more)).body
    assert b"\n" not in body
    assert [one["data"] for one in json.loads(body)["events"]] == values
    assert json.loads(body)["more"] is more


@both
def test_an_answer_for_everyone_may_be_kept_for_a_second(transport: Transport) -> None:
    fields = dict(transport.answer(terms(public=True), delivery(position=cursor(4))).headers)
    assert fields[b"cache-control"] == b"public, max-age=1"
    assert fields[b"access-control-allow-origin"] == b"*"


# How long an answer may wait


def test_only_long_poll_waits_and_as_long_as_its_policy_says() -> None:
    assert long_poll.hold({"hold_ms": 25_000}) == 25_000
    assert polling.hold({"interval_ms": 5_000}) == 0


# 304 Not Modified (RFC 9110 §15.4.5): there is nothing to say


def test_a_poll_that_has_nothing_to_say_is_304_with_the_tag_it_was_asked_about() -> None:
    settled = terms(given=cursor(4), unchanged=True, next_poll_ms=1001)
    answer = polling.answer(settled, delivery(position=cursor(6)))
    assert (answer.status, answer.body) == (304, b"")
    assert dict(answer.headers)[b"etag"] == f'W/"{cursor(4)}"'.encode()
    assert dict(answer.headers)[b"retry-after"] == b"2"


@pytest.mark.parametrize(
    "said",
    [
        delivery(polling.frame(entry(6)), position=cursor(6)),
        delivery(position=cursor(6), controls=(polling.control(control("ticket.expired")),)),
        delivery(position=cursor(6), ticket="new"),
    ],
    ids=["an event", "a control event", "a ticket"],
)
def test_a_poll_that_has_something_to_say_is_no_304(said: Delivery) -> None:
    answer = polling.answer(terms(given=cursor(4), unchanged=True), said)
    assert answer.status == 200
    assert dict(answer.headers)[b"etag"] == f'W/"{cursor(6)}"'.encode()


def test_a_poll_whose_client_holds_no_such_answer_is_no_304() -> None:
    assert polling.answer(terms(given=cursor(4), unchanged=False), delivery(position=cursor(6))).status == 200


def test_a_long_poll_is_never_304() -> None:
    assert long_poll.answer(terms(given=cursor(4), unchanged=True), delivery(position=cursor(6))).status == 200
