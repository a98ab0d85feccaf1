"""A tick that concerns more than a slice: what happens to those whose turn has not come."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.channel.event import Cursor
from realtime.delivery.controls import control
from realtime.delivery.state import State
from realtime.delivery.sweep import SLICE
from tests.delivery.lines import Lines, data
from tests.delivery.room import MS, WAITING, MemoryExchange, Room, entries, entry
from tests.support.waiting import at_once, until
from transports.long_poll import LongPoll

if TYPE_CHECKING:
    from random import Random

    from realtime.delivery.attachment import Attachment

Client = tuple["Attachment", MemoryExchange]
MANY = SLICE + 100


def unserved(clients: list[Client]) -> list[Client]:
    """Return those whose turn has not come."""
    return [client for client in clients if data(client[1].body) == []]


async def test_a_small_tick_is_delivered_in_the_turn_in_which_it_came(room: Room) -> None:
    clients = [room.attach(Lines()) for _ in range(SLICE)]
    room.publish(*entries(1))
    assert unserved(clients) == []
    await at_once(room.hub.settled())


async def test_a_large_one_gives_way_after_each_slice_and_reaches_everyone(room: Room) -> None:
    transport = Lines()
    clients = [room.attach(transport) for _ in range(2 * SLICE + 100)]
    room.publish(*entries(1, 2))
    assert len(unserved(clients)) == SLICE + 100
    await room.hub.settled()
    assert {tuple(data(exchange.body)) for _, exchange in clients} == {(1, 2)}
    assert (transport.framed, transport.joined) == (2, 1)


async def test_many_small_groups_are_more_than_one_slice_too(room: Room) -> None:
    clients = [room.attach(Lines(), "broadcast", f"topic:{number}.*") for number in range(MANY)]
    room.publish(*entries(1))
    assert len(unserved(clients)) == MANY - SLICE
    await room.hub.settled()
    assert unserved(clients) == []


async def test_those_left_stand_where_the_tick_found_them(room: Room) -> None:
    room.publish(*entries(1))
    clients = [room.attach(Lines(), after=Cursor(MS + 1, 1)) for _ in range(MANY)]
    room.publish(*entries(2))
    left = unserved(clients)
    assert {attachment.position for attachment, _ in left} == {Cursor(MS + 1, 1)}
    left[0][0].tell(control("heartbeat.sent"))
    served = [attachment for attachment, exchange in clients if data(exchange.body)]
    assert {attachment.position for attachment in served} == {Cursor(MS + 2, 2)}


async def test_one_that_comes_meanwhile_gets_everything_once(room: Room) -> None:
    clients = [room.attach(Lines()) for _ in range(MANY)]
    room.publish(*entries(1))
    late = room.attach(Lines())
    assert data(late[1].body) == [1]
    await room.hub.settled()
    room.publish(*entries(2))
    await room.hub.settled()
    assert {tuple(data(exchange.body)) for _, exchange in [*clients, late]} == {(1, 2)}


async def test_one_that_is_answered_before_its_turn_comes_back_with_the_cursor_it_had(room: Room) -> None:
    polls = [room.attach(LongPoll(), plan=WAITING._replace(session=str(number))) for number in range(MANY)]
    room.publish(*entries(1))
    attachment, exchange = next(one for one in polls if not one[1].ended)
    attachment.close()
    answer = json.loads(exchange.body)
    assert (answer["events"], answer["cursor"]) == ([], str(Cursor(MS, 0)))
    await room.hub.settled()
    assert all(exchange.ended for _, exchange in polls)


async def test_the_next_tick_waits_for_those_who_are_left(room: Room) -> None:
    clients = [room.attach(Lines()) for _ in range(MANY)]
    room.publish(*entries(1))
    room.publish(*entries(2))
    await room.hub.settled()
    assert {tuple(data(exchange.body)) for _, exchange in clients} == {(1, 2)}


async def test_a_window_that_begins_anew_meanwhile_loses_and_repeats_nothing(room: Room) -> None:
    clients = [room.attach(Lines()) for _ in range(MANY)]
    room.publish(*entries(1))
    missed = entries(2, 3)
    room.log.entries += missed
    room.window.restart(missed[-1].id)
    room.hub.restarted(missed[-1].id)
    await room.hub.settled()
    await until(lambda: all(attachment.state is State.LIVE for attachment, _ in clients))
    assert {tuple(data(exchange.body)) for _, exchange in clients} == {(1, 2, 3)}


class Crowd:
    """Clients that come, go, stall and drain between the slices; each move is a method."""

    def __init__(self, which: Random) -> None:
        self.room = Room()
        self.clients = [self._attach(number) for number in range(MANY)]
        self.gone: list[Client] = []
        self._which = which
        self._number = 0

    def _attach(self, number: int) -> Client:
        return self.room.attach(Lines(), "broadcast", f"user:{number % 3}")

    async def publish(self, scope: str = "broadcast") -> None:
        self._number += 1
        self.room.publish(entry(self._number, scope))

    async def publish_for_one(self) -> None:
        await self.publish(f"user:{self._number % 3}")

    async def turn(self) -> None:
        await asyncio.sleep(0)

    async def come(self) -> None:
        self.clients.append(self._attach(len(self.clients)))

    async def leave(self) -> None:
        one = self._which.choice(self.clients)
        self.clients.remove(one)
        self.gone.append(one)
        one[1].hang_up()

    async def stall(self) -> None:
        self._which.choice(self.clients)[1].writable = False

    async def drain(self) -> None:
        for _, exchange in self.clients:
            if not exchange.writable:
                exchange.drain()

    async def restart(self) -> None:
        self.room.window.restart(self.room.window.position)
        self.room.hub.restarted(self.room.window.position)

    async def rest(self) -> None:
        """Wait until nobody has anything more to get."""
        await self.drain()
        await self.room.hub.settled()
        await until(lambda: all(one.state is State.LIVE for one, _ in self.clients))

    def seen(self, attachment: Attachment) -> list[int]:
        """Return what a client is to get."""
        return [one.id.seq for one in self.room.log.entries if attachment.reader.interest.sees(one)]


MOVES = ("publish", "publish_for_one", "turn", "come", "leave", "stall", "drain", "restart")


@given(moves=st.lists(st.sampled_from(MOVES), max_size=25), which=st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
async def test_whatever_happens_between_slices_everyone_gets_what_they_see_once_and_in_order(
    moves: list[str], which: Random
) -> None:
    crowd = Crowd(which)
    for move in moves:
        await getattr(crowd, move)()
    await crowd.rest()
    for attachment, exchange in crowd.clients:
        assert data(exchange.body) == crowd.seen(attachment)
    for attachment, exchange in crowd.gone:
        got = data(exchange.body)
        assert got == crowd.seen(attachment)[: len(got)]
    crowd.room.hub.close()
    crowd.room.hub.wheel.stop()
