"""Presence: who polls is there between its requests, once, until it should have come back long ago."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from policies.decide import Context
from realtime.delivery.plan import Plan
from realtime.presence import Presence
from transports.transport import Terms

POLL = Terms(retry_ms=1000, next_poll_ms=5000, stays_open=False)


class Open(NamedTuple):
    """As much of an attachment as is asked for."""

    plan: Plan
    transport: Transport


class Transport(NamedTuple):
    """As much of a transport as is asked for."""

    name: str


def plan(session: str = "", sub: str | None = "42", terms: Terms = POLL, among: tuple[str, ...] | None = None) -> Plan:
    return Plan(session, terms, context=Context(sub=sub), among=among)


def known(presence: Presence, *attached: Open) -> list[tuple[str, str]]:
    return [(visit.name, visit.transport) for visit in presence.visits(attached)]  # type: ignore[arg-type]


def test_a_session_is_there_once_where_it_was_last() -> None:
    presence = Presence()
    presence.visited("polling", plan("a"), None)
    presence.visited("long-poll", plan("a"), None)
    presence.visited("polling", plan("b"), None)
    assert known(presence) == [("a", "long-poll"), ("b", "polling")]


def test_who_has_something_open_is_no_visitor() -> None:
    presence = Presence()
    presence.visited("long-poll", plan("a"), None)
    presence.visited("long-poll", plan(), None)
    presence.visited("polling", plan("b"), None)
    waiting = Transport("long-poll")
    assert known(presence, Open(plan("a"), waiting), Open(plan(), waiting)) == [("b", "polling")]
    assert len(known(presence)) == 3, "it is one again when that has ended"


def test_who_came_without_a_ticket_is_known_by_its_subject_and_transport() -> None:
    presence = Presence()
    for sub in ("42", "7", "42", None):
        presence.visited("polling", plan(sub=sub), None)
    assert known(presence) == [("polling 7", "polling"), ("polling 42", "polling"), ("polling ", "polling")]


def test_an_eventsource_that_streams_again_does_not_poll_any_more() -> None:
    presence = Presence()
    presence.visited("polling", plan(), None)
    presence.visited("polling", plan("a"), None)
    presence.stayed("polling", plan("of its stream", among=("sse", "polling")))
    assert known(presence) == [("a", "polling")]
    presence.stayed("polling", plan("of an sdk"))
    assert known(presence) == [("a", "polling")]


def test_the_public_is_nobody() -> None:
    presence = Presence()
    presence.visited("polling", plan(terms=POLL._replace(public=True)), None)
    assert known(presence) == []


@given(st.integers(50, 86_400_000))
def test_a_visitor_is_there_for_three_intervals_and_half_a_minute_at_least(interval_ms: int) -> None:
    now = 1000.0
    presence = Presence(lambda: now)
    presence.visited("polling", plan("a", terms=POLL._replace(next_poll_ms=interval_ms)), None)
    now += max(30, 3 * interval_ms / 1000) - 0.01
    assert known(presence) == [("a", "polling")]
    now += 0.02
    assert known(presence) == []
    now -= 1
    assert known(presence) == [], "it is forgotten, and not only passed over"
