"""The attachment: its table of states, and what it writes when."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from realtime.channel.event import Cursor
from realtime.delivery.attachment import Attachment
from realtime.delivery.controls import control
from realtime.delivery.state import State
from realtime.standing import FOR_GOOD
from tests.delivery.lines import Lines, data, lines, said
from tests.delivery.room import AT_ONCE, BEGIN, MS, STREAM, WAITING, HandWheel, MemoryExchange, Room, entries, entry
from tests.support.waiting import until
from transports.long_poll import LongPoll
from transports.polling import Polling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from transports.transport import Transport

Case = tuple[Attachment, MemoryExchange]
long_poll, polling = LongPoll(), Polling()


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    room = Room(most_events=10)
    yield room
    room.hub.close()
    room.hub.wheel.stop()


# Every state, by the way that leads there


def opening(room: Room) -> Case:
    """The cursor is not in the window, and the log takes its time."""
    room.publish(*entries(*range(1, 21)))
    room.log.answers.clear()
    return room.attach(Lines())


def reading(room: Room) -> Case:
    """The first part is written, and there is more."""
    room.publish(*entries(1, 2, 3))
    return room.attach(Lines(), plan=STREAM._replace(limit=1))


def live(room: Room) -> Case:
    """Everything is written."""
    room.publish(*entries(1, 2))
    return room.attach(Lines())


def stalled(room: Room) -> Case:
    """The connection takes nothing more."""
    room.publish(*entries(1, 2))
    return room.attach(Lines(), exchange=MemoryExchange(writable=False))


def resting(room: Room) -> Case:
    """The client heard a moment ago, and is to be left alone for a while."""
    room.publish(*entries(1, 2))
    return room.attach(Lines(), plan=STREAM._replace(min_interval_ms=5000))


def away(room: Room) -> Case:
    """The client was answered, and will wait again."""
    case = room.attach(long_poll, plan=WAITING, plain_until_ms=FOR_GOOD)
    room.publish(*entries(1))
    return case


def ended(room: Room) -> Case:
    """The client went away."""
    case = live(room)
    case[1].hang_up()
    return case


STATES: dict[State, Callable[[Room], Case]] = {
    State.OPENING: opening,
    State.READING: reading,
    State.LIVE: live,
    State.STALLED: stalled,
    State.RESTING: resting,
    State.AWAY: away,
    State.ENDED: ended,
}

OVER = {State.AWAY, State.ENDED}
LATER = Cursor(MS + 30, 30)
ILLEGAL = None


def deliver(attachment: Attachment, exchange: MemoryExchange) -> None:
    del exchange
    attachment.deliver(entries(30), b'{"id":"x","data":30}\n', LATER)


def deliver_and_fill(attachment: Attachment, exchange: MemoryExchange) -> None:
    exchange.writable = False
    deliver(attachment, exchange)


def restart(attachment: Attachment, _: MemoryExchange) -> None:
    attachment.restart()


def drain(_: Attachment, exchange: MemoryExchange) -> None:
    exchange.drain()


def again(attachment: Attachment, exchange: MemoryExchange) -> None:
    if attachment.again(attachment.plan):
        exchange.renew()


def hang_up(_: Attachment, exchange: MemoryExchange) -> None:
    exchange.hang_up()


def close(attachment: Attachment, _: MemoryExchange) -> None:
    attachment.close()


def tell(attachment: Attachment, _: MemoryExchange) -> None:
    attachment.tell(control("ticket.expired"))


def outlive(attachment: Attachment, _: MemoryExchange) -> None:
    attachment.due(attachment.plan.hold_ms + 10**12)


TABLE: dict[Callable[[Attachment, MemoryExchange], None], dict[State, State | None]] = {
    deliver_and_fill: {
        State.READING: State.STALLED,
        State.LIVE: State.STALLED,
        State.STALLED: ILLEGAL,
        State.RESTING: ILLEGAL,
        State.AWAY: State.AWAY,
        State.ENDED: State.ENDED,
    },
    restart: {
        State.READING: ILLEGAL,
        State.LIVE: State.READING,
        State.STALLED: State.READING,
        State.RESTING: State.READING,
        State.AWAY: ILLEGAL,
        State.ENDED: ILLEGAL,
    },
    drain: {
        State.OPENING: State.OPENING,
        State.READING: State.READING,
        State.LIVE: State.LIVE,
        State.STALLED: State.LIVE,
        State.RESTING: State.RESTING,
        State.AWAY: State.AWAY,
        State.ENDED: State.ENDED,
    },
    again: {state: State.LIVE if state is State.AWAY else state for state in State},
    hang_up: dict.fromkeys(State, State.ENDED),
    close: dict.fromkeys(State, State.ENDED),
    tell: {state: state for state in State},
    outlive: {state: state if state in {State.OPENING, State.AWAY} else State.ENDED for state in State},
}
MOVES = [(state, happens, then) for happens, row in TABLE.items() for state, then in row.items()]


@pytest.mark.parametrize("state", State)
async def test_each_state_is_reached(room: Room, state: State) -> None:
    attachment, _ = STATES[state](room)
    assert attachment.state is state
    assert (attachment in room.hub.attachments) is (state not in OVER)


@pytest.mark.parametrize(
    ("state", "happens", "then"), MOVES, ids=[f"{one.__name__} in {state.name}" for state, one, _ in MOVES]
)
async def test_the_table_of_states(
    room: Room, state: State, happens: Callable[[Attachment, MemoryExchange], None], then: State | None
) -> None:
    attachment, exchange = STATES[state](room)
    if then is ILLEGAL:
        with pytest.raises(RuntimeError, match=f"can't go from {state.name}"):
            happens(attachment, exchange)
        return
    happens(attachment, exchange)
    assert attachment.state is then
    assert (attachment in room.hub.attachments) is (then not in OVER)


async def test_what_has_ended_writes_no_more(room: Room) -> None:
    attachment, exchange = live(room)
    attachment.close()
    written = list(exchange.writes)
    assert exchange.ended
    room.publish(*entries(5))
    tell(attachment, exchange)
    exchange.drain()
    attachment.due(10**15)
    attachment.close()
    assert exchange.writes == written


# A stream


async def test_a_stream_begins_with_its_own_words_then_the_position_then_events(room: Room) -> None:
    room.publish(*entries(1, 2))
    _, exchange = room.attach(Lines())
    assert exchange.status == 200
    assert len(exchange.writes) == 1
    assert said(exchange.body) == ["begin", "connection.established", "test.happened", "test.happened"]
    assert lines(exchange.body)[1]["data"] == {
        "session": "a session",
        "transport": "ndjson",
        "cursor": str(BEGIN),
        "heartbeat_ms": 15_000,
        "lifetime_ms": 600_000,
    }


async def test_truncation_is_told_within_the_stream_s_first_write_and_before_it_is_established(room: Room) -> None:
    room.publish(*entries(*range(1, 21)))
    room.log.floor = Cursor(MS + 5, 5)
    _, exchange = room.attach(Lines(), after=Cursor(MS + 2, 2))
    await until(lambda: bool(exchange.writes))
    assert said(exchange.writes[0]) == ["begin", "history.truncated", "connection.established"]
    told, established = lines(exchange.writes[0])[1:]
    tail = str(Cursor(MS + 20, 20))
    assert told["data"] == {"requested": str(Cursor(MS + 2, 2)), "floor": str(Cursor(MS + 5, 5)), "cursor": tail}
    assert established["data"]["cursor"] == tail
    room.publish(*entries(21))
    assert data(exchange.body) == [21]


async def test_a_stream_reads_on_in_parts_and_gives_way_between_them(room: Room) -> None:
    room.publish(*entries(*range(1, 10)))
    attachment, exchange = room.attach(Lines(), plan=STREAM._replace(limit=2))
    assert (attachment.state, data(exchange.body)) == (State.READING, [1, 2])
    await until(lambda: attachment.state is State.LIVE)
    assert [data(write) for write in exchange.writes] == [[1, 2], [3, 4], [5, 6], [7, 8], [9]]


async def test_history_gives_over_to_the_window_without_a_seam(room: Room) -> None:
    room.publish(*entries(*range(1, 21)))
    attachment, exchange = room.attach(Lines(), plan=STREAM._replace(limit=3))
    await until(lambda: attachment.state is State.LIVE)
    room.publish(*entries(21, 22))
    assert data(exchange.body) == list(range(1, 23))
    assert room.log.replays == 4, "eleven events lie before the window, three at a time"


async def test_a_stalled_stream_is_left_alone_and_reads_on_from_its_cursor(room: Room) -> None:
    attachment, exchange = room.attach(Lines())
    exchange.writable = False
    room.publish(*entries(1))
    written = len(exchange.writes)
    for number in range(2, 31):
        room.publish(entry(number))
    assert (attachment.state, len(exchange.writes)) == (State.STALLED, written)
    exchange.drain()
    await until(lambda: attachment.state is State.LIVE)
    assert data(exchange.body) == list(range(1, 31))


async def test_a_stream_that_stalls_again_and_again_loses_and_repeats_nothing(room: Room) -> None:
    attachment, exchange = room.attach(Lines(), plan=STREAM._replace(limit=2))
    for number in range(1, 31):
        exchange.writable = False
        room.publish(entry(number))
        if number % 3 == 0:
            exchange.drain()
            await asyncio.sleep(0)
    exchange.drain()
    await until(lambda: attachment.state is State.LIVE)
    assert data(exchange.body) == list(range(1, 31))


async def test_a_restart_of_the_window_is_read_across(room: Room) -> None:
    attachment, exchange = room.attach(Lines())
    room.publish(*entries(1, 2))
    missed = entries(3, 4)
    room.log.entries += missed
    room.window.restart(missed[-1].id)
    room.hub.restarted(missed[-1].id)
    room.publish(*entries(5))
    await until(lambda: attachment.state is State.LIVE)
    assert data(exchange.body) == [1, 2, 3, 4, 5]


async def test_a_heartbeat_comes_after_silence_only_and_says_where_the_client_stands(room: Room) -> None:
    attachment, exchange = room.attach(Lines(), "user:1")
    now = room.hub.wheel.now_ms()
    attachment.due(now + 14_000)
    assert said(exchange.body)[2:] == []
    room.publish(entry(1, "user:2"))
    attachment.due(now + 15_100)
    assert lines(exchange.body)[2]["data"] == {"cursor": str(Cursor(MS + 1, 1))}
    assert said(exchange.body)[2:] == ["heartbeat.sent"]


async def test_a_heartbeat_of_a_client_that_is_behind_says_no_more_than_it_has_got(room: Room) -> None:
    attachment, exchange = reading(room)
    attachment.due(room.hub.wheel.now_ms() + 15_100)
    assert lines(exchange.body)[-1]["data"] == {"cursor": str(Cursor(MS + 1, 1))}


async def test_a_stalled_stream_that_takes_nothing_is_dropped_in_time(room: Room) -> None:
    room.hub.patience_ms = 100
    attachment, exchange = stalled(room)
    exchange.unsent = 1000
    await until(lambda: attachment.state is State.ENDED)
    assert (exchange.aborted, exchange.ended) == (True, False), "and nothing more is written to it"


async def test_a_stalled_stream_that_takes_a_little_gets_as_long_again() -> None:
    wheel = HandWheel()
    room = Room(wheel=wheel)
    room.hub.patience_ms = 10_000
    exchange = MemoryExchange()
    exchange.writable, exchange.unsent = False, 1000
    attachment, _ = room.attach(Lines(), exchange=exchange)
    assert attachment.state is State.STALLED
    exchange.unsent = 999
    wheel.turn(15_000)
    assert attachment.state is State.STALLED
    wheel.turn(10_000)
    assert (attachment.state, exchange.aborted) == (State.ENDED, True)


async def test_a_stalled_stream_gets_no_heartbeats(room: Room) -> None:
    attachment, exchange = stalled(room)
    written = len(exchange.writes)
    attachment.due(room.hub.wheel.now_ms() + 15_100)
    assert len(exchange.writes) == written


async def test_a_stream_ends_with_the_transport_s_last_words(room: Room) -> None:
    attachment, exchange = live(room)
    attachment.due(room.hub.wheel.now_ms() + 600_001)
    assert (attachment.state, exchange.ended) == (State.ENDED, True)
    assert said(exchange.body)[-1] == "end"


async def test_a_stream_whose_token_runs_out_is_told_and_ends(room: Room) -> None:
    attachment, exchange = room.attach(Lines(), plan=STREAM._replace(expires_in_ms=5000))
    attachment.due(room.hub.wheel.now_ms() + 5001)
    assert said(exchange.body)[-2:] == ["ticket.expired", "end"]
    assert exchange.ended


async def test_a_stream_that_is_not_open_yet_can_still_be_refused(room: Room) -> None:
    attachment, exchange = opening(room)
    attachment.close()
    assert exchange.status == 503
    assert json.loads(exchange.body)["code"] == "draining"
    room.log.answers.set()
    await asyncio.sleep(0)
    assert exchange.ended


async def test_a_client_that_leaves_while_the_log_is_asked_is_forgotten(room: Room) -> None:
    attachment, exchange = opening(room)
    await asyncio.sleep(0)
    exchange.hang_up()
    room.log.answers.set()
    await until(lambda: len(asyncio.all_tasks()) == 1)
    assert (attachment.state, exchange.status) == (State.ENDED, 0)


async def test_an_open_stream_waits_for_a_log_that_is_away(room: Room) -> None:
    attachment, exchange = room.attach(Lines())
    room.publish(*entries(1))
    room.log.is_away = True
    room.window.restart(Cursor(MS + 2, 2))
    room.log.entries += entries(2)
    room.hub.restarted(Cursor(MS + 2, 2))
    await until(lambda: room.log.replays > 0)
    assert attachment.state is State.READING
    room.log.is_away = False
    await until(lambda: attachment.state is State.LIVE)
    assert data(exchange.body) == [1, 2]


# An answer that does not stay open


def body(exchange: MemoryExchange) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(exchange.body)
    assert exchange.headers[b"content-length"] == str(len(exchange.body)).encode()
    return value


@pytest.mark.parametrize("transport", [long_poll, polling], ids=lambda one: one.name)
async def test_an_answer_has_what_there_is_at_once(room: Room, transport: Transport) -> None:
    room.publish(*entries(1, 2))
    attachment, exchange = room.attach(transport, plan=WAITING if transport is long_poll else AT_ONCE)
    assert attachment.state is State.ENDED
    assert [event["data"] for event in body(exchange)["events"]] == [1, 2]
    assert (body(exchange)["cursor"], body(exchange)["more"]) == (str(Cursor(MS + 2, 2)), False)


async def test_an_answer_waits_for_the_first_tick_that_it_sees(room: Room) -> None:
    attachment, exchange = room.attach(long_poll, "user:1", plan=WAITING)
    room.publish(entry(1, "user:2"))
    assert (attachment.state, exchange.status) == (State.LIVE, 0)
    room.publish(entry(2, "user:2"), entry(3, "user:1"), entry(4, "user:1"), entry(5, "user:2"))
    assert [event["data"] for event in body(exchange)["events"]] == [3, 4]
    assert body(exchange)["cursor"] == str(Cursor(MS + 5, 5))


async def test_an_answer_that_waited_is_empty_after_its_hold(room: Room) -> None:
    attachment, exchange = room.attach(long_poll, "user:1", plan=WAITING)
    room.publish(entry(1, "user:2"))
    attachment.due(room.hub.wheel.now_ms() + 25_001)
    assert body(exchange) == {"events": [], "control": [], "cursor": str(Cursor(MS + 1, 1)), "more": False}


async def test_an_answer_keeps_its_limit_and_says_that_there_is_more(room: Room) -> None:
    _, exchange = room.attach(long_poll, plan=WAITING._replace(limit=2))
    room.publish(*entries(1, 2, 3))
    assert [event["data"] for event in body(exchange)["events"]] == [1, 2]
    assert (body(exchange)["cursor"], body(exchange)["more"]) == (str(Cursor(MS + 2, 2)), True)


async def test_a_waiting_answer_whose_token_runs_out_says_so(room: Room) -> None:
    attachment, exchange = room.attach(long_poll, plan=WAITING._replace(expires_in_ms=5000))
    attachment.due(room.hub.wheel.now_ms() + 5001)
    assert [one["event"] for one in body(exchange)["control"]] == ["ticket.expired"]


async def test_an_answer_that_has_to_say_something_does_not_wait(room: Room) -> None:
    notices = (control("ticket.expired"),)
    attachment, exchange = room.attach(polling, plan=AT_ONCE._replace(notices=notices))
    assert attachment.state is State.ENDED
    assert [one["event"] for one in body(exchange)["control"]] == ["ticket.expired"]


async def test_an_answer_carries_the_new_ticket(room: Room) -> None:
    _, exchange = room.attach(polling, plan=AT_ONCE._replace(renew=lambda: "a ticket"))
    assert body(exchange)["ticket"] == "a ticket"


async def test_a_waiting_answer_is_told_that_its_position_is_lost(room: Room) -> None:
    room.publish(*entries(*range(1, 21)))
    room.log.floor = Cursor(MS + 5, 5)
    _, exchange = room.attach(long_poll, plan=WAITING)
    await until(lambda: exchange.ended)
    (told,) = body(exchange)["control"]
    assert told["event"] == "history.truncated"
    assert body(exchange)["cursor"] == told["data"]["cursor"] == str(Cursor(MS + 20, 20))


async def test_a_waiting_answer_gives_up_on_a_log_that_does_not_answer(room: Room) -> None:
    attachment, exchange = opening_answer(room)
    attachment.due(room.hub.wheel.now_ms() + 25_001)
    assert exchange.status == 503
    assert json.loads(exchange.body)["code"] == "log-unavailable"


async def test_a_waiting_answer_ends_empty_when_the_service_goes_away(room: Room) -> None:
    attachment, exchange = room.attach(long_poll, plan=WAITING)
    attachment.close()
    assert (exchange.status, body(exchange)["events"]) == (200, [])


async def test_what_came_up_while_the_log_was_asked_is_said_as_the_answer_and_not_waited_with(room: Room) -> None:
    room.publish(*entries(*range(1, 21)))
    room.log.answers.clear()
    attachment, exchange = room.attach(long_poll, "user:1", plan=WAITING)
    attachment.tell(control("transport.changed", code="policy-changed"))
    assert exchange.status == 0
    room.log.answers.set()
    await until(lambda: exchange.ended)
    assert [one["event"] for one in body(exchange)["control"]] == ["transport.changed"]
    assert body(exchange)["cursor"] == str(Cursor(MS + 20, 20))


async def test_who_is_dismissed_while_the_log_is_asked_is_told_as_soon_as_it_answers(room: Room) -> None:
    attachment, exchange = opening(room)
    attachment.dismiss(control("connection.closed", code="closed-by-admin"))
    assert exchange.status == 0
    room.log.answers.set()
    await until(lambda: exchange.ended)
    assert said(exchange.body)[-2:] == ["connection.closed", "end"]
    assert attachment.state is State.ENDED


async def test_a_stream_that_is_to_leave_is_told_at_once_and_ends_at_its_moment(room: Room) -> None:
    attachment, exchange = live(room)
    now = room.hub.wheel.now_ms()
    attachment.leave(control("transport.changed", code="policy-changed"), now + 1000)
    assert (said(exchange.body)[-1], exchange.ended) == ("transport.changed", False)
    room.publish(*entries(3))
    attachment.due(now + 999)
    assert not exchange.ended
    attachment.due(now + 1000)
    assert (data(exchange.body), exchange.ended) == ([1, 2, 3], True)


def opening_answer(room: Room) -> Case:
    room.publish(*entries(*range(1, 21)))
    room.log.answers.clear()
    return room.attach(long_poll, plan=WAITING)
