"""Crowds that are owed their answers: some in each turn, the longest first, and what goes wrong with one is its own."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from realtime.channel.event import Cursor
from realtime.delivery.owed import AT_ONCE
from realtime.delivery.state import State
from realtime.standing import FOR_GOOD
from tests.delivery.lines import Lines, data
from tests.delivery.room import AT_ONCE as POLL
from tests.delivery.room import BEGIN, MS, WAITING, MemoryExchange, Room, entries, entry
from tests.support.waiting import until
from transports.long_poll import LongPoll
from transports.polling import Polling

if TYPE_CHECKING:
    from realtime.delivery.attachment import Attachment
    from realtime.delivery.plan import Plan
    from transports.transport import Transport

Client = tuple["Attachment", MemoryExchange]
long_poll, polling = LongPoll(), Polling()


def wait(room: Room, *held: str, transport: Transport = long_poll, plan: Plan = WAITING, number: int = 0) -> Client:
    """Have one of a crowd wait at the tail."""
    plan = plan._replace(session=str(number))
    held = held or ("broadcast",)
    return room.attach(transport, *held, plan=plan, after=room.window.position, plain_until_ms=FOR_GOOD)


def events(client: Client) -> list[int]:
    """Return what is in an answer."""
    return [event["data"] for event in json.loads(client[1].body)["events"]]


def answered(clients: list[Client]) -> int:
    """Count those that were."""
    return sum(exchange.ended for _, exchange in clients)


async def test_some_are_answered_in_each_turn_those_first_who_came_first(room: Room) -> None:
    clients = [wait(room, number=number) for number in range(3 * AT_ONCE)]
    room.publish(*entries(1))
    for turn in (1, 2, 3):
        assert answered(clients) == answered(clients[: turn * AT_ONCE]) == turn * AT_ONCE
        await asyncio.sleep(0)


async def test_streams_do_not_wait_for_them_nor_does_the_next_tick(room: Room) -> None:
    clients = [wait(room, number=number) for number in range(3 * AT_ONCE)]
    _, stream = room.attach(Lines())
    room.publish(*entries(1))
    await room.hub.settled()
    room.publish(*entries(2))
    await room.hub.settled()
    assert data(stream.body) == [1, 2]
    assert answered(clients) < len(clients)


async def test_whose_turn_comes_late_is_given_all_that_came_meanwhile(room: Room) -> None:
    clients = [wait(room, "broadcast", f"user:{number}", number=number) for number in range(2 * AT_ONCE)]
    room.publish(entry(1))
    room.publish(entry(2, f"user:{AT_ONCE + 5}"), entry(3))
    await until(lambda: answered(clients) == len(clients))
    assert events(clients[0]) == [1]
    assert events(clients[-1]) == [1, 3]
    assert events(clients[AT_ONCE + 5]) == [1, 2, 3]


async def test_one_that_is_owed_stands_where_it_stood(room: Room) -> None:
    clients = [wait(room, number=number) for number in range(AT_ONCE + 1)]
    room.publish(*entries(1))
    attachment, exchange = clients[-1]
    assert attachment.position == BEGIN
    attachment.close()
    assert json.loads(exchange.body)["cursor"] == str(BEGIN)
    await asyncio.sleep(0)
    assert attachment.state is State.ENDED


async def test_what_the_window_has_let_go_meanwhile_is_read_from_the_log() -> None:
    room = Room(most_events=2)
    clients = [wait(room, number=number) for number in range(AT_ONCE + 1)]
    for number in range(1, 5):
        room.publish(*entries(number))
    await until(lambda: answered(clients) == len(clients))
    assert (events(clients[0]), events(clients[-1])) == ([1], [1, 2, 3, 4])
    room.hub.close()
    room.hub.wheel.stop()


async def test_what_goes_wrong_with_one_is_its_own(room: Room) -> None:
    clients = [wait(room, number=number) for number in range(3)]

    clients[1][1].begin(200, ())  # so that to begin is an error
    room.publish(*entries(1))
    assert (events(clients[0]), events(clients[2])) == ([1], [1])
    assert clients[1][0].state is State.ENDED


@pytest.mark.parametrize(("scope", "seen"), [("broadcast", [1]), ("user:else", [])])
async def test_one_who_polls_is_answered_with_the_next_tick_whatever_it_brings(
    room: Room, scope: str, seen: list[int]
) -> None:
    client = wait(room, transport=polling, plan=POLL)
    room.hub.owe(client[0], BEGIN)
    assert not client[1].ended
    room.publish(entry(1, scope))
    assert events(client) == seen
    assert json.loads(client[1].body)["cursor"] == str(Cursor(MS + 1, 1))


async def test_who_is_owed_something_is_not_left_to_wait_where_no_tick_comes(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.delivery.hub.CATCH_UP_MS", 20)
    room.publish(*entries(1))
    client = wait(room)
    room.hub.owe(client[0], BEGIN)
    await until(lambda: client[1].ended)
    assert events(client) == [1]
