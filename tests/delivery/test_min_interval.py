"""`min_interval`: a client is written to at most this often, and still gets everything, once each and in order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.channel.event import Cursor
from realtime.delivery.controls import control
from realtime.delivery.state import State
from tests.delivery.lines import Lines, data, lines, said
from tests.delivery.room import BEGIN, MS, STREAM, WAITING, HandWheel, MemoryExchange, Room, entries, entry
from tests.support.waiting import until
from transports.long_poll import LongPoll

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from realtime.delivery.attachment import Attachment

EVERY_MS = 5_000
HOLD_MS = WAITING.hold_ms
STREAMED = STREAM._replace(min_interval_ms=EVERY_MS)
HELD = WAITING._replace(min_interval_ms=EVERY_MS)
long_poll = LongPoll()


class Hands(Room):
    """A room whose time passes when its test says so."""

    def __init__(self, most_events: int = 1000) -> None:
        self.wheel = HandWheel()
        super().__init__(most_events, self.wheel)
        self.last = 0

    def happen(self, count: int = 1, scope: str = "broadcast") -> None:
        """Publish the next events, in one tick."""
        numbers = range(self.last + 1, self.last + count + 1)
        self.last += count
        self.publish(*entries(*numbers, scope=scope))


@pytest.fixture
async def room() -> AsyncIterator[Hands]:
    room = Hands()
    yield room
    room.hub.close()
    room.wheel.stop()


def answer(exchange: MemoryExchange) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(exchange.body)
    return value


def numbers(exchange: MemoryExchange) -> list[int]:
    return [event["data"] for event in answer(exchange)["events"]]


# Streams


async def test_a_stream_is_flushed_at_most_this_often(room: Hands) -> None:
    attachment, exchange = room.attach(Lines(), plan=STREAMED)
    writes = len(exchange.writes)
    room.happen()
    assert len(exchange.writes) == writes + 1, "who was silent for long enough hears at once"
    for _ in range(9):
        room.wheel.turn(500)
        room.happen()
    assert (attachment.state, len(exchange.writes)) == (State.RESTING, writes + 1)
    room.wheel.turn(500)
    assert (data(exchange.body), len(exchange.writes)) == (list(range(1, 11)), writes + 2)


async def test_a_stream_that_rested_and_missed_nothing_is_at_the_tail_again(room: Hands) -> None:
    attachment, exchange = room.attach(Lines(), plan=STREAMED)
    room.happen()
    room.wheel.turn(EVERY_MS)
    assert attachment.state is State.LIVE
    room.happen()
    assert data(exchange.body) == [1, 2]


async def test_a_stream_rests_after_its_backlog_and_not_within_it(room: Hands) -> None:
    room.happen(10)
    attachment, exchange = room.attach(Lines(), plan=STREAMED._replace(limit=4))
    await until(lambda: attachment.state is State.RESTING)
    assert [data(write) for write in exchange.writes] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]


async def test_control_events_and_heartbeats_come_while_a_stream_rests(room: Hands) -> None:
    attachment, exchange = room.attach(Lines(), plan=STREAMED._replace(min_interval_ms=60_000))
    room.happen()
    room.happen()
    attachment.tell(control("transport.changed", code="policy-changed"))
    assert said(exchange.body)[-1] == "transport.changed"
    room.wheel.turn(STREAM.heartbeat_ms)
    assert (said(exchange.body)[-1], attachment.state) == ("heartbeat.sent", State.RESTING)
    position = lines(exchange.body)[-1]["data"]["cursor"]
    assert position == str(Cursor(MS + 1, 1)), "the client does not stand behind what it has not been given"


async def test_a_stream_that_ends_while_it_rests_is_followed_by_one_from_its_cursor(room: Hands) -> None:
    attachment, exchange = room.attach(Lines(), plan=STREAMED)
    room.happen()
    room.happen()
    at = attachment.position
    attachment.close()
    assert (data(exchange.body), exchange.ended) == ([1], True)
    _, exchange = room.attach(Lines(), plan=STREAMED, after=at)
    assert data(exchange.body) == [2]


async def test_a_stream_that_rests_can_be_dismissed(room: Hands) -> None:
    attachment, exchange = room.attach(Lines(), plan=STREAMED)
    room.happen()
    attachment.dismiss(control("connection.closed", code="closed-by-admin"))
    assert said(exchange.body)[-2:] == ["connection.closed", "end"]
    room.wheel.turn(2 * EVERY_MS)
    assert exchange.ended


async def test_a_drain_ends_a_stream_that_rests_within_its_time(room: Hands) -> None:
    attachment, exchange = room.attach(Lines(), plan=STREAMED._replace(min_interval_ms=3_600_000))
    room.happen()
    attachment.leave(control("gateway.drain-started"), room.wheel.now_ms() + 700)
    assert said(exchange.body)[-1] == "gateway.drain-started"
    room.wheel.turn(750)
    assert exchange.ended


async def test_a_stream_whose_connection_fills_up_while_it_rests_stalls_and_reads_on_later(room: Hands) -> None:
    attachment, exchange = room.attach(Lines(), plan=STREAMED)
    room.happen()
    exchange.writable = False
    room.happen(3)
    room.wheel.turn(EVERY_MS)
    assert attachment.state is State.STALLED
    room.happen(3)
    room.wheel.turn(EVERY_MS)
    exchange.drain()
    assert data(exchange.body) == list(range(1, 8))


async def test_a_window_that_begins_anew_while_a_stream_rests_is_read_across(room: Hands) -> None:
    attachment, exchange = room.attach(Lines(), plan=STREAMED)
    room.happen()
    missed = entries(2, 3)
    room.log.entries += missed
    room.window.restart(missed[-1].id)
    room.hub.restarted(missed[-1].id)
    assert attachment.state is State.RESTING
    room.wheel.turn(EVERY_MS)
    await until(lambda: data(exchange.body) == [1, 2, 3])


async def test_a_shorter_interval_counts_from_now_on_also_for_who_rests(room: Hands) -> None:
    attachment, exchange = room.attach(Lines(), plan=STREAMED._replace(min_interval_ms=3_600_000))
    room.happen(2)
    room.happen(2)
    attachment.pace(STREAM.heartbeat_ms, 100)
    room.wheel.turn(150)
    assert data(exchange.body) == [1, 2, 3, 4]


# Answers that are held


async def test_a_long_poll_gathers_what_comes_until_its_interval_has_passed(room: Hands) -> None:
    attachment, exchange = room.attach(long_poll, plan=HELD)
    room.wheel.turn(1000)
    room.happen(2)
    room.wheel.turn(1000)
    room.happen()
    assert (attachment.state, exchange.status) == (State.RESTING, 0)
    room.wheel.turn(EVERY_MS - 2000)
    assert (numbers(exchange), answer(exchange)["more"]) == ([1, 2, 3], False)


async def test_a_long_poll_that_has_waited_long_enough_is_answered_at_once(room: Hands) -> None:
    _, exchange = room.attach(long_poll, plan=HELD)
    room.wheel.turn(EVERY_MS)
    room.happen()
    assert numbers(exchange) == [1]


async def test_what_was_there_already_is_gathered_too(room: Hands) -> None:
    room.happen(3)
    attachment, exchange = room.attach(long_poll, plan=HELD)
    assert attachment.state is State.RESTING
    room.happen()
    room.wheel.turn(EVERY_MS)
    assert numbers(exchange) == [1, 2, 3, 4]


async def test_a_full_answer_does_not_rest_and_does_not_promise_that_the_next_one_will_not(room: Hands) -> None:
    room.happen(5)
    attachment, exchange = room.attach(long_poll, plan=HELD._replace(limit=3))
    assert (attachment.state, numbers(exchange), answer(exchange)["more"]) == (State.ENDED, [1, 2, 3], False)
    room.happen(5)
    _, exchange = room.attach(long_poll, plan=HELD._replace(limit=3), after=Cursor(MS + 10, 10))
    room.wheel.turn(EVERY_MS)
    room.happen(5)
    assert (numbers(exchange), answer(exchange)["more"]) == ([11, 12, 13], False)


@pytest.mark.parametrize("window", [1000, 4])
async def test_an_interval_longer_than_the_hold_still_delivers_even_if_the_log_must_be_asked(window: int) -> None:
    room = Hands(window)
    _, exchange = room.attach(long_poll, plan=HELD._replace(min_interval_ms=10 * HOLD_MS))
    room.happen(3)
    for _ in range(20):
        room.happen()
    room.wheel.turn(HOLD_MS - 2000)
    await until(lambda: exchange.ended)
    assert numbers(exchange) == list(range(1, 24))
    room.wheel.stop()


async def test_a_long_poll_that_rests_is_answered_at_once_when_there_is_something_to_say(room: Hands) -> None:
    attachment, exchange = room.attach(long_poll, plan=HELD)
    room.happen()
    attachment.tell(control("transport.changed", code="policy-changed"))
    assert [one["event"] for one in answer(exchange)["control"]] == ["transport.changed"]
    assert (numbers(exchange), answer(exchange)["cursor"]) == ([], str(BEGIN)), "what it rested from comes next"


async def test_a_long_poll_that_rests_ends_where_it_began_when_the_service_goes_away(room: Hands) -> None:
    attachment, exchange = room.attach(long_poll, plan=HELD)
    room.happen()
    attachment.close()
    assert (numbers(exchange), answer(exchange)["cursor"]) == ([], str(BEGIN))


# Whatever happens

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(1, 4)),
        st.tuples(st.just("others"), st.integers(1, 4)),
        st.tuples(st.just("pass"), st.sampled_from((50, 400, EVERY_MS, HOLD_MS))),
        st.tuples(st.just("fill"), st.just(0)),
        st.tuples(st.just("drain"), st.just(0)),
        st.tuples(st.just("tell"), st.just(0)),
        st.tuples(st.just("close"), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=50)
@given(steps=STEPS, held=st.booleans(), limit=st.sampled_from((2, 500)))
async def test_nothing_is_lost_or_repeated_whatever_happens(
    steps: list[tuple[str, int]], held: bool, limit: int
) -> None:
    room = Hands()
    client = Client(room, held=held, limit=limit)
    mine: list[int] = []
    for what, amount in steps:
        if what == "publish":
            room.happen(amount)
            mine += range(room.last - amount + 1, room.last + 1)
        elif what == "others":
            room.happen(amount, "user:other")
        elif what == "pass":
            room.wheel.turn(amount)
        else:
            client.suffer(what)
        await client.come_back()
    client.suffer("drain")
    while client.heard() != mine:
        before = client.heard()
        room.wheel.turn(HOLD_MS)
        await client.come_back()
        assert len(client.heard()) > len(before), (before, mine)
    room.hub.close()
    room.wheel.stop()


class Client:
    """Comes back with its cursor whenever its answer has ended."""

    def __init__(self, room: Hands, *, held: bool, limit: int) -> None:
        self.room = room
        self.held = held
        self.plan = (HELD if held else STREAMED)._replace(limit=limit)
        self.before: list[int] = []
        self.attachment: Attachment
        self.exchange: MemoryExchange
        self.attach(BEGIN)

    def attach(self, after: Cursor) -> None:
        transport = long_poll if self.held else Lines()
        self.attachment, self.exchange = self.room.attach(transport, plan=self.plan, after=after)

    def heard(self) -> list[int]:
        return [*self.before, *self._now()]

    def _now(self) -> list[int]:
        if not self.held:
            return data(self.exchange.body)
        return numbers(self.exchange) if self.exchange.ended else []

    def suffer(self, what: str) -> None:
        if what == "fill":
            self.exchange.writable = False
        elif what == "drain":
            self.exchange.drain()
        elif what == "tell":
            self.attachment.tell(control("transport.changed"))
        else:
            self.attachment.close()

    async def come_back(self) -> None:
        await until(lambda: self.attachment.state not in {State.OPENING, State.READING})
        while self.exchange.ended:
            at = (
                Cursor(*map(int, answer(self.exchange)["cursor"].split("-"))) if self.held else self.attachment.position
            )
            self.before = self.heard()
            self.attach(at)
            await until(lambda: self.attachment.state not in {State.OPENING, State.READING})


async def test_who_sees_none_of_it_is_not_woken(room: Hands) -> None:
    attachment, exchange = room.attach(Lines(), plan=STREAMED)
    writes = len(exchange.writes)
    room.publish(entry(1, "user:other"))
    assert (attachment.state, len(exchange.writes)) == (State.LIVE, writes)


async def test_a_second_waiting_answer_of_a_session_ends_one_that_rests_and_is_ended_by_none(room: Hands) -> None:
    plan = HELD._replace(replaceable=True)
    first, exchange = room.attach(long_poll, plan=plan)
    room.happen()
    assert first.state is State.RESTING
    second, other = room.attach(long_poll, plan=plan)
    assert exchange.ended
    assert (answer(exchange)["events"], answer(exchange)["cursor"]) == ([], str(BEGIN))
    room.wheel.turn(EVERY_MS)
    assert (second.state, numbers(other)) == (State.ENDED, [1])
