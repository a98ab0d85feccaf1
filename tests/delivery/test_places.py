"""Those who wait again and again: answered at once with all who are answered alike, and their place kept meanwhile."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.delivery.controls import control
from realtime.delivery.owed import AT_ONCE
from realtime.delivery.state import State
from realtime.standing import FOR_GOOD
from tests.delivery.room import BEGIN, WAITING, HandWheel, MemoryExchange, Room, entries, entry
from tests.support.waiting import until
from transports.long_poll import LongPoll

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from random import Random

    from realtime.channel.event import Cursor
    from realtime.delivery.attachment import Attachment
    from realtime.delivery.plan import Plan

long_poll = LongPoll()


class Waiter:
    """A client that waits, is answered, and waits again on the same connection, with the cursor it was given."""

    def __init__(self, room: Room, *held: str, until_ms: int = FOR_GOOD, number: int = 0, plan: Plan = WAITING) -> None:
        self.room = room
        self.got: list[int] = []
        self.cursor = str(BEGIN)
        self.plan = plan._replace(session=f"session {number}")
        self._held = held or ("broadcast",)
        self._until_ms = until_ms
        self.exchange = MemoryExchange()
        self.attachment = self._attach(BEGIN)

    def _attach(self, after: Cursor) -> Attachment:
        exchange, until_ms = self.exchange, self._until_ms
        found, _ = self.room.attach(
            long_poll, *self._held, plan=self.plan, after=after, exchange=exchange, plain_until_ms=until_ms
        )
        return found

    def read(self) -> None:
        """Take the answer."""
        assert self.exchange.ended
        answer = json.loads(self.exchange.body)
        self.got += [event["data"] for event in answer["events"]]
        self.cursor = answer["cursor"]
        self.exchange.renew()

    def stands(self, state: State) -> bool:
        """Tell whether that is where it stands."""
        return self.attachment.state is state

    def was_answered(self) -> bool:
        """Tell whether the answer is there."""
        return self.exchange.ended

    def again(self) -> bool:
        """Wait again at the tail; tell whether the place was kept."""
        self.read()
        assert self.cursor == str(self.room.hub.position), "at the tail"
        if self.attachment.again(self.plan):
            return True
        self.exchange.hang_up()
        self.attachment = self._attach(self.room.hub.position)
        return False


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    room = Room(wheel=HandWheel())
    yield room
    room.hub.close()
    room.hub.wheel.stop()


def turn(room: Room, ms: int) -> None:
    """Let time pass."""
    assert isinstance(room.hub.wheel, HandWheel)
    room.hub.wheel.turn(ms)


async def test_who_was_answered_is_away_and_waits_again_in_its_place(room: Room) -> None:
    waiter = Waiter(room)
    attachment = waiter.attachment
    for number in range(1, 4):
        room.publish(*entries(number))
        assert waiter.stands(State.AWAY)
        assert room.hub.attachments == set()
        assert waiter.again()
        assert waiter.stands(State.LIVE)
        assert room.hub.attachments == {attachment}
    assert waiter.got == [1, 2, 3]


async def test_all_who_see_the_same_are_given_one_answer(room: Room) -> None:
    waiters = [Waiter(room, "broadcast", f"user:{number}", number=number) for number in range(5)]
    room.publish(*entries(1, 2))
    bodies = [waiter.exchange.body for waiter in waiters]
    assert all(body is bodies[0] for body in bodies)
    assert json.loads(bodies[0])["cursor"] == str(room.hub.position)


async def test_what_one_sees_alone_is_in_its_answer_only(room: Room) -> None:
    waiters = [Waiter(room, "broadcast", f"user:{number}", number=number) for number in range(3)]
    room.publish(entry(1), entry(2, "user:1"), entry(3))
    for waiter in waiters:
        assert waiter.again()
    assert [waiter.got for waiter in waiters] == [[1, 3], [1, 2, 3], [1, 3]]
    room.publish(entry(4, "user:2"))
    assert [waiter.exchange.ended for waiter in waiters] == [False, False, True]
    assert waiters[2].again()
    assert waiters[2].got[-1] == 4


async def test_what_comes_while_one_is_away_is_not_written_to_it(room: Room) -> None:
    waiter = Waiter(room, "broadcast", "user:1")
    room.publish(entry(1))
    written = list(waiter.exchange.writes)
    room.publish(entry(2), entry(3, "user:1"))
    assert waiter.exchange.writes == written


async def test_its_hold_counts_anew_each_time(room: Room) -> None:
    waiter = Waiter(room)
    turn(room, 20_000)
    room.publish(*entries(1))
    assert waiter.again()
    turn(room, 20_000)
    assert not waiter.was_answered()
    turn(room, 6_000)
    assert waiter.was_answered()
    assert waiter.stands(State.ENDED)
    assert not waiter.again()
    assert waiter.got == [1]


async def test_one_that_is_away_for_longer_than_its_hold_comes_back_to_its_place(room: Room) -> None:
    waiter = Waiter(room)
    room.publish(*entries(1))
    turn(room, 60_000)
    assert waiter.again()
    turn(room, 26_000)
    assert waiter.was_answered()


async def test_a_place_is_lost_with_the_connection(room: Room) -> None:
    waiter = Waiter(room, "broadcast", "user:1")
    room.publish(*entries(1))
    waiter.exchange.hang_up()
    assert waiter.stands(State.ENDED)
    assert not room.hub._groups  # noqa: SLF001 - nothing is kept of who has gone
    assert not room.hub._scopes  # noqa: SLF001


async def test_a_group_lasts_as_long_as_somebody_has_a_place_in_it(room: Room) -> None:
    first, second = Waiter(room, number=1), Waiter(room, number=2)
    room.publish(*entries(1))
    first.exchange.hang_up()
    assert second.again()
    room.publish(*entries(2))
    assert second.again()
    assert second.got == [1, 2]


async def test_one_whose_plan_changed_does_not_wait_by_the_old_one(room: Room) -> None:
    waiter = Waiter(room)
    room.publish(*entries(1))
    waiter.plan = waiter.plan._replace(hold_ms=1)
    assert not waiter.again()


async def test_one_that_is_due_a_ticket_is_asked_and_goes(room: Room) -> None:
    waiters = [Waiter(room, until_ms=until_ms, number=until_ms % 7) for until_ms in (FOR_GOOD, 1)]
    tickets = ["a new one"]
    waiters[1].attachment.plan = waiters[1].plan._replace(renew=tickets.pop)
    room.publish(*entries(1))
    answers = [json.loads(waiter.exchange.body) for waiter in waiters]
    assert [answer.get("ticket") for answer in answers] == [None, "a new one"]
    assert [waiter.attachment.state for waiter in waiters] == [State.AWAY, State.ENDED]


async def test_a_session_s_second_wait_ends_a_place_in_silence(room: Room) -> None:
    first = Waiter(room, plan=WAITING._replace(replaceable=True))
    room.publish(*entries(1))
    answered = list(first.exchange.writes)
    room.attach(long_poll, plan=first.plan, after=room.hub.position)
    assert first.exchange.writes == answered
    assert first.stands(State.ENDED)


async def test_what_is_to_be_said_is_said_as_ever(room: Room) -> None:
    waiter = Waiter(room)
    room.publish(*entries(1))
    assert waiter.again()
    waiter.attachment.tell(control("transport.changed"))
    assert [one["event"] for one in json.loads(waiter.exchange.body)["control"]] == ["transport.changed"]
    assert waiter.stands(State.ENDED)


async def test_more_than_one_answer_holds_is_cut_as_ever(room: Room) -> None:
    waiter = Waiter(room, plan=WAITING._replace(limit=2))
    room.publish(*entries(1, 2, 3))
    answer = json.loads(waiter.exchange.body)
    assert ([event["data"] for event in answer["events"]], answer["more"]) == ([1, 2], True)


async def test_a_window_that_begins_anew_lets_those_who_wait_read_on(room: Room) -> None:
    here, away = Waiter(room, number=1), Waiter(room, number=2)
    room.publish(*entries(1))
    assert here.again()
    missed = entries(2, 3)
    room.log.entries += missed
    room.window.restart(missed[-1].id)
    room.hub.restarted(missed[-1].id)
    await until(lambda: here.exchange.ended)
    here.read()
    assert here.got == [1, 2, 3]
    assert away.stands(State.AWAY)


class Crowd:
    """More waiters than a slice has, which come and go between the slices; each move is a method."""

    def __init__(self, which: Random) -> None:
        self.room = Room()
        self.waiters = [Waiter(self.room, "broadcast", f"user:{n % 9}", number=n) for n in range(2 * AT_ONCE + 40)]
        self.published: list[tuple[int, str]] = []
        self.which = which
        self.since: dict[Waiter, int] = dict.fromkeys(self.waiters, 0)
        """How much had been published when a waiter came."""

    def publish(self) -> None:
        """Publish to everyone, or to some."""
        scopes = ["broadcast", *[f"user:{self.which.randrange(9)}" for _ in range(self.which.randrange(3))]]
        self.which.shuffle(scopes)
        number = len(self.published)
        self.published += list(enumerate(scopes, number + 1))
        self.room.publish(*(entry(at, scope) for at, scope in self.published[number:]))

    async def turn(self) -> None:
        """Let a slice go out."""
        await asyncio.sleep(0)

    async def settle(self) -> None:
        """Let everything go out."""
        await self.room.hub.settled()

    def come_back(self) -> None:
        """Have those who were answered wait again, who have heard of everything."""
        tail = str(self.room.hub.position)
        for waiter in self.which.sample(self.waiters, 60):
            if waiter.exchange.ended and json.loads(waiter.exchange.body)["cursor"] == tail:
                waiter.again()

    def close(self) -> None:
        """End some answers, of whatever is there by then."""
        for waiter in self.which.sample(self.waiters, 5):
            waiter.attachment.close()

    def check(self) -> None:
        """Compare what each was given with what it saw: exactly what lies before its cursor, once and in order."""
        for number, waiter in enumerate(self.waiters):
            if waiter.exchange.ended:
                waiter.read()
            reached = int(waiter.cursor.rpartition("-")[2])
            seen = [at for at, scope in self.published if scope in {"broadcast", f"user:{number % 9}"}]
            assert waiter.got == [at for at in seen if at <= reached]


@settings(max_examples=25)
@given(
    st.randoms(use_true_random=False), st.lists(st.sampled_from(["publish", "turn", "settle", "come_back", "close"]))
)
def test_whoever_comes_and_goes_is_given_everything_once(which: Random, moves: list[str]) -> None:
    async def play() -> None:
        crowd = Crowd(which)
        for move in ["publish", *moves, "settle", "come_back", "publish", "settle"]:
            done = getattr(crowd, move)()
            if done is not None:
                await done
        crowd.check()
        crowd.room.hub.close()
        crowd.room.hub.wheel.stop()

    asyncio.run(play())
