"""The hub: who gets what of a tick, and how little work that is."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from realtime.channel.event import BATCH_BYTES, Cursor, Interest, interest, parse_filter
from realtime.delivery.state import State
from tests.delivery.lines import Lines, data, said
from tests.delivery.room import BEGIN, MS, STREAM, WAITING, MemoryExchange, Room, entries, entry
from tests.support.waiting import until
from transports.long_poll import LongPoll

if TYPE_CHECKING:
    from realtime.channel.event import Entry

long_poll = LongPoll()


def events(exchange: MemoryExchange) -> list[object]:
    return data(exchange.body)


# How much work a tick is


async def test_what_all_see_is_encoded_once_an_event_and_joined_once_a_group(room: Room) -> None:
    transport = Lines()
    clients = [room.attach(transport)[1] for _ in range(50)]
    room.publish(*entries(*range(1, 11)))
    assert (transport.framed, transport.joined) == (10, 1)
    assert all(events(client) == list(range(1, 11)) for client in clients)
    assert {len(client.writes) for client in clients} == {2}, "the begin, and the tick"
    assert len({id(client.writes[1]) for client in clients}) == 1, "one buffer for all of them"


async def test_groups_share_the_frames_and_join_for_themselves(room: Room) -> None:
    transport = Lines()
    room.attach(transport)
    room.attach(transport, wanted=parse_filter("test.*"))
    room.attach(transport, "broadcast", "topic:news.*")
    room.publish(*entries(*range(1, 11)))
    assert (transport.framed, transport.joined) == (10, 3)


async def test_those_who_see_the_same_events_of_a_tick_share_one_buffer(room: Room) -> None:
    transport = Lines()
    same = [room.attach(transport, "broadcast", "user:7")[1] for _ in range(10)]
    other = [room.attach(transport, "broadcast", f"user:{number}")[1] for number in range(100, 110)]
    room.publish(entry(1), entry(2, "user:7"), entry(3))
    assert [events(client) for client in same] == [[1, 2, 3]] * 10
    assert [events(client) for client in other] == [[1, 3]] * 10
    assert (transport.framed, transport.joined) == (3, 2)


async def test_a_tick_that_concerns_nobody_costs_nobody_anything(room: Room) -> None:
    transport = Lines()
    clients = [room.attach(transport, "broadcast", f"user:{number}") for number in range(20)]
    room.publish(entry(1, "user:99"), entry(2, "topic:news"))
    assert (transport.framed, transport.joined) == (0, 0)
    assert {len(exchange.writes) for _, exchange in clients} == {1}
    assert {attachment.position for attachment, _ in clients} == {Cursor(MS + 2, 2)}, "and moves them on"


async def test_an_event_for_one_is_written_to_one(room: Room) -> None:
    transport = Lines()
    clients = [room.attach(transport, "broadcast", f"user:{number}")[1] for number in range(20)]
    room.publish(entry(1, "user:7"))
    assert [number for number, client in enumerate(clients) if len(client.writes) > 1] == [7]
    assert (transport.framed, transport.joined) == (1, 1)


# Who gets what


async def test_a_topic_held_by_name_and_by_pattern_is_one_event(room: Room) -> None:
    _, exchange = room.attach(Lines(), "topic:news.local", "topic:news.*", "topic:*")
    room.publish(entry(1, "topic:news.local"), entry(2, "topic:news.world"), entry(3, "topic:news.local"))
    assert events(exchange) == [1, 2, 3]


async def test_exceptions_are_found_by_exact_scope_and_merged_in_order(room: Room) -> None:
    _, exchange = room.attach(Lines(), "broadcast", "user:1", "role:viewer", "topic:a.*")
    scopes = ["role:viewer", "broadcast", "user:1", "user:11", "topic:a.b", "topic:a", "role:view", "broadcast"]
    room.publish(*(entry(number, scope) for number, scope in enumerate(scopes, 1)))
    assert events(exchange) == [1, 2, 3, 5, 8]


async def test_a_filter_holds_for_what_is_shared_and_for_what_is_one_s_own(room: Room) -> None:
    _, exchange = room.attach(Lines(), "broadcast", "user:1", wanted=parse_filter("task.*"))
    types = ["task.done", "tasks.done", "other.thing", "task.failed"]
    room.publish(*(entry(number, event=event) for number, event in enumerate(types, 1)))
    room.publish(*(entry(number, "user:1", event=event) for number, event in enumerate(types, 11)))
    assert events(exchange) == [1, 4, 11, 14]


async def test_who_does_not_hold_broadcast_does_not_get_it(room: Room) -> None:
    _, exchange = room.attach(Lines(), "topic:news")
    room.publish(entry(1), entry(2, "topic:news"))
    assert events(exchange) == [2]


async def test_channels_do_not_mix(room: Room) -> None:
    transport = Lines()
    ours, theirs = (room.attach(transport, "broadcast", "user:1", channel=name)[1] for name in ("main", "other"))
    room.publish(entry(1), entry(2, channel="other"), entry(3, "user:1"), entry(4, "user:1", channel="other"))
    assert (events(ours), events(theirs)) == ([1, 3], [2, 4])


async def test_streams_and_answers_stand_side_by_side(room: Room) -> None:
    _, stream = room.attach(Lines())
    _, answer = room.attach(long_poll, plan=WAITING._replace(session="another"))
    room.publish(*entries(1, 2))
    room.publish(*entries(3))
    assert events(stream) == [1, 2, 3]
    assert [event["data"] for event in json.loads(answer.body)["events"]] == [1, 2]


scopes = st.sampled_from(["broadcast", "user:1", "user:2", "topic:a", "topic:a.b", "topic:a.b.c", "topic:ab"])
patterns = st.sampled_from(["topic:*", "topic:a.*", "topic:a.b.*"])
types = st.sampled_from(["a.b", "a.c", "b.b"])
interests = st.builds(
    lambda held, wanted: interest("main", tuple(held), wanted and parse_filter(wanted)),
    st.sets(scopes | patterns, min_size=1, max_size=4),
    st.sampled_from([None, "a.*", "b.b", "a.b,b.b"]),
)
ticks = st.lists(st.lists(st.tuples(scopes, types), min_size=1, max_size=6), min_size=1, max_size=5)


@settings(max_examples=60)
@given(seen=st.lists(interests, min_size=1, max_size=6), happening=ticks)
def test_everybody_gets_exactly_what_they_see_in_order(
    seen: list[Interest], happening: list[list[tuple[str, str]]]
) -> None:
    asyncio.run(_everybody_gets_what_they_see(seen, happening))


async def _everybody_gets_what_they_see(seen: list[Interest], happening: list[list[tuple[str, str]]]) -> None:
    room, transport, number = Room(), Lines(), 0
    clients = [
        room.attach(transport, *one.scopes, *(f"{prefix}*" for prefix in one.prefixes), wanted=one.filter)[1]
        for one in seen
    ]
    for tick in happening:
        batch: list[Entry] = []
        for scope, event in tick:
            number += 1
            batch.append(entry(number, scope, event=event))
        room.publish(*batch)
    expected = [[one.id.seq for one in room.log.entries if each.sees(one)] for each in seen]
    assert [events(client) for client in clients] == expected
    room.hub.wheel.stop()


# Backpressure within a tick


async def test_one_that_takes_no_more_stands_where_it_was_written_to(room: Room) -> None:
    fast, slow = (room.attach(Lines(), "broadcast", "user:1") for _ in range(2))
    slow[1].writable = False
    room.publish(*entries(1, 2))
    room.publish(*entries(3, 4))
    assert (slow[0].state, slow[0].position) == (State.STALLED, Cursor(MS + 2, 2))
    assert (events(fast[1]), events(slow[1])) == ([1, 2, 3, 4], [1, 2])
    slow[1].drain()
    assert (slow[0].state, events(slow[1])) == (State.LIVE, [1, 2, 3, 4])


async def test_a_large_tick_is_cut_into_writes_of_bounded_size(room: Room) -> None:
    transport = Lines()
    _, exchange = room.attach(transport)
    _, answer = room.attach(long_poll, plan=WAITING._replace(session="another"))
    room.publish(*(entry(number, data=f"{number:02}" + "x" * 60_000) for number in range(1, 41)))
    assert [int(text[:2]) for text in data(exchange.body)] == list(range(1, 41))
    assert max(map(len, exchange.writes)) <= BATCH_BYTES + 4 * 100
    assert len(exchange.writes) == 11
    body = json.loads(answer.body)
    assert [int(event["data"][:2]) for event in body["events"]] == [1, 2, 3, 4]
    assert body["cursor"] == str(Cursor(MS + 4, 4))


async def test_one_that_fills_up_within_a_large_tick_reads_on_from_there(room: Room) -> None:
    class Bounded(MemoryExchange):
        def write(self, data: bytes) -> None:
            super().write(data)
            self.writable = len(data) < 100_000

    attachment, exchange = room.attach(Lines(), exchange=Bounded())
    room.publish(*(entry(number, data=f"{number:02}" + "x" * 60_000) for number in range(1, 41)))
    assert (attachment.state, attachment.position) == (State.STALLED, Cursor(MS + 4, 4))
    while attachment.state is State.STALLED:
        exchange.drain()
    assert [int(text[:2]) for text in data(exchange.body)] == list(range(1, 41))


async def test_one_that_leaves_within_a_tick_disturbs_nobody(room: Room) -> None:
    class Leaving(MemoryExchange):
        def write(self, data: bytes) -> None:
            super().write(data)
            if self.listener is not None and len(self.writes) > 1:
                for _, other in clients:
                    other.hang_up() if isinstance(other, Leaving) else None

    exchanges = [Leaving() if number % 2 else MemoryExchange() for number in range(10)]
    clients = [room.attach(Lines(), "broadcast", "user:1", exchange=exchange) for exchange in exchanges]
    room.publish(entry(1), entry(2, "user:1"))
    room.publish(entry(3))
    assert [events(exchange) for _, exchange in clients[::2]] == [[1, 2, 3]] * 5
    assert len(room.hub.attachments) == 5


async def test_an_answer_that_can_not_be_written_disturbs_nobody(room: Room) -> None:
    """Whatever a server raises: the follower calls us, and must go on for all the others."""

    class Broken(MemoryExchange):
        def write(self, data: bytes) -> None:
            if self.writes:
                message = "response already completed"
                raise RuntimeError(message)
            super().write(data)

    exchanges = [Broken() if number % 2 else MemoryExchange() for number in range(10)]
    clients = [room.attach(Lines(), "broadcast", "user:1", exchange=exchange) for exchange in exchanges]
    with capture_logs() as log:
        room.publish(entry(1), entry(2, "user:1"))
        room.publish(entry(3))
    assert [events(exchange) for _, exchange in clients[::2]] == [[1, 2, 3]] * 5
    assert {attachment.state for attachment, _ in clients[1::2]} == {State.ENDED}
    assert len(room.hub.attachments) == 5
    assert [(line["event"], line["log_level"]) for line in log] == [("delivery failed", "error")] * 5


async def test_a_waiting_answer_that_is_replaced_within_a_tick_is_left_alone(room: Room) -> None:
    class Leaving(MemoryExchange):
        def end(self, data: bytes = b"") -> None:
            super().end(data)
            for _, other in clients:
                other.hang_up()

    clients = [room.attach(long_poll, plan=WAITING, exchange=Leaving()) for _ in range(3)]
    with capture_logs() as log:
        room.publish(entry(1))
    assert sorted(exchange.ended for _, exchange in clients) == [False, False, True]
    assert log == []


# Sessions, the end, and a window that begins anew


async def test_a_second_waiting_answer_of_a_session_ends_the_first(room: Room) -> None:
    plan = WAITING._replace(replaceable=True)
    first, second = (room.attach(long_poll, plan=plan)[1] for _ in range(2))
    assert json.loads(first.body) == {"events": [], "control": [], "cursor": str(BEGIN), "more": False}
    assert not second.ended
    room.publish(*entries(1))
    third = room.attach(long_poll, plan=plan, after=Cursor(MS + 1, 1))[1]
    assert len(json.loads(second.body)["events"]) == 1
    assert not third.ended


async def test_answers_of_different_sessions_and_unnamed_ones_wait_together(room: Room) -> None:
    plans = [WAITING._replace(session=name, replaceable=True) for name in ("a", "b")]
    waiting = [room.attach(long_poll, plan=plan)[1] for plan in (*plans, WAITING, WAITING)]
    assert [exchange.ended for exchange in waiting] == [False] * 4


async def test_the_end_is_everybody_s_whatever_they_are_doing(room: Room) -> None:
    room.publish(*entries(1, 2, 3))
    cases = [
        room.attach(Lines()),
        room.attach(Lines(), plan=STREAM._replace(limit=1)),
        room.attach(Lines(), exchange=MemoryExchange(writable=False)),
        room.attach(long_poll, after=Cursor(MS + 3, 3), plan=WAITING),
        room.attach(Lines(), after=Cursor(MS - 1, 0)),
    ]
    assert [attachment.state for attachment, _ in cases] == [
        *(State.LIVE, State.READING, State.STALLED, State.LIVE, State.OPENING),
    ]
    room.hub.close()
    assert {attachment.state for attachment, _ in cases} == {State.ENDED}
    assert all(exchange.ended for _, exchange in cases)
    assert room.hub.attachments == set()
    room.publish(*entries(4))


async def test_a_window_that_begins_anew_sends_those_at_the_tail_to_the_log(room: Room) -> None:
    clients = [room.attach(Lines(), "broadcast", f"user:{number}") for number in range(3)]
    room.publish(*entries(1))
    missed = entries(2, 3)
    room.log.entries += missed
    room.window.restart(missed[-1].id)
    room.hub.restarted(missed[-1].id)
    assert {attachment.state for attachment, _ in clients} == {State.READING}
    await until(lambda: all(attachment.state is State.LIVE for attachment, _ in clients))
    assert [events(exchange) for _, exchange in clients] == [[1, 2, 3]] * 3
    assert {tuple(said(exchange.body)).count("history.truncated") for _, exchange in clients} == {0}
