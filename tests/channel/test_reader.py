"""The seam between history and live: one client's view, from wherever its cursor stands."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from realtime.channel.event import BATCH_BYTES, LARGEST, ORIGIN, Cursor, Draft, stored_envelope
from realtime.channel.log import Log
from realtime.channel.reader import Reader, Replays, Start, Truncation
from realtime.errors import LogUnavailable
from tests.channel.events import EVERYONE, draft, other_epoch, publish
from tests.channel.following import Following
from tests.channel.model import INTERESTS, NOON_MS, PLACES, RETENTION_MS, ROOMY
from tests.support.waiting import interlude, until

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from realtime.channel.event import Interest
    from realtime.channel.reader import Part
    from tests.channel.simulated import SimulatedServer


class Desk:
    """A follower moved by hand, and the readers on it."""

    def __init__(self, log: Log, redis: Redis, events: int = 1_000) -> None:
        self.following = Following(log, redis, events)
        self.replays = Replays(self.following.follower)

    def reader(self, start: Cursor | Start | None, seen: Interest = EVERYONE) -> Reader:
        """Begin at a cursor, at a start, or now."""
        given = start if isinstance(start, Start) else Start(start)
        return Reader(self.following.follower, self.replays, seen, given)


async def part(reader: Reader, limit: int = 100) -> Part:
    """Read on as an answer does that does not wait."""
    return reader.take(limit) or await reader.fetch(limit, wait=False)


async def everything(reader: Reader, limit: int = 100) -> list[Cursor]:
    """Read until there is no more; the cursor never goes back."""
    ids: list[Cursor] = []
    more, before = True, ORIGIN
    while more:
        one = await part(reader, limit)
        assert one.truncation is None
        assert len(one.entries) <= limit
        assert reader.cursor >= before
        before = reader.cursor
        ids += [entry.id for entry in one.entries]
        more = one.more
    return ids


async def commands(redis: Redis, name: str) -> int:
    """Return how often the server was sent a command."""
    stats: Any = await redis.info("commandstats")
    return int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"])


class TestWindow:
    async def test_a_cursor_in_the_window_is_read_on_without_the_log(self, log: Log, redis: Redis) -> None:
        published = await publish(log, *["broadcast"] * 5)
        desk = Desk(log, redis)
        await desk.following.tick()
        reader = desk.reader(published[1])
        one = reader.take(100)
        assert one is not None
        assert [entry.id for entry in one.entries] == published[2:]
        assert not one.more
        assert reader.is_at_tail
        assert reader.started == published[1]

    async def test_at_most_the_limit_comes_at_once(self, log: Log, redis: Redis) -> None:
        published = await publish(log, *["broadcast"] * 5)
        desk = Desk(log, redis)
        await desk.following.tick()
        reader = desk.reader(published[0])
        one = reader.take(3)
        assert one is not None
        assert ([entry.id for entry in one.entries], one.more) == (published[1:4], True)
        assert reader.cursor == published[3]
        assert await everything(reader) == published[4:]

    async def test_hidden_events_move_the_cursor(self, log: Log, redis: Redis) -> None:
        desk = Desk(log, redis)
        await desk.following.tick()
        reader = desk.reader(None)
        published = await publish(log, "user:1", "user:2")
        await desk.following.tick()
        assert await everything(reader) == []
        assert reader.cursor == published[-1]

    async def test_now_is_where_our_own_appends_end(self, log: Log, redis: Redis) -> None:
        desk = Desk(log, redis)
        await desk.following.tick()
        (id_,) = await publish(log, "broadcast")
        reader = desk.reader(None)
        assert reader.started == id_
        assert await everything(reader) == []
        await desk.following.tick()
        assert await everything(reader) == []
        assert reader.is_at_tail

    async def test_what_comes_after_the_window_began_anew_is_read_from_the_log(self, log: Log, redis: Redis) -> None:
        desk = Desk(log, redis)
        await desk.following.tick()
        reader = desk.reader(None)
        published = await publish(log, *["broadcast"] * 4)
        await redis.xtrim(log.key, maxlen=1, approximate=False)
        await desk.following.tick()
        assert desk.following.window.base == published[2]
        assert reader.take(100) is None
        assert await everything(reader) == published


class TestSeam:
    async def test_history_and_window_join_once_each_and_in_order(self, log: Log, redis: Redis) -> None:
        start = (await log.touch()).tail
        published = await publish(log, *["broadcast"] * 12)
        desk = Desk(log, redis, events=4)
        await desk.following.tick()
        reader = desk.reader(start)
        assert reader.take(100) is None
        assert await everything(reader, limit=3) == published
        assert reader.is_at_tail

    async def test_events_that_come_while_history_is_read_are_not_missed(self, log: Log, redis: Redis) -> None:
        start = (await log.touch()).tail
        published = await publish(log, *["broadcast"] * 9)
        desk = Desk(log, redis, events=2)
        await desk.following.tick()
        reader, read = desk.reader(start), []
        for _ in range(12):
            read += [entry.id for entry in (await part(reader, 2)).entries]
            published += await publish(log, "broadcast")
            await desk.following.tick()
        assert [*read, *await everything(reader, 5)] == published

    @pytest.mark.parametrize("seed", range(6))
    async def test_from_any_cursor_it_is_a_plain_look_at_the_log(self, log: Log, redis: Redis, seed: int) -> None:
        chance = random.Random(seed)
        desk = Desk(log, redis, events=chance.choice([1, 3, 10, 100]))
        await desk.following.tick()
        for _ in range(8):
            places = chance.choices(PLACES, k=4)
            await log.append([Draft(channel, scope, stored_envelope("a.b", scope, b"0")) for channel, scope in places])
            if chance.random() < 0.5:
                await desk.following.tick()
        found = [entry for entry, _ in await log.backwards(None, 1_000)][::-1]
        await desk.following.tick()
        for seen in INTERESTS:
            for cursor in chance.sample([entry.id for entry in found], 6):
                expected = [entry.id for entry in found if entry.id > cursor and seen.sees(entry)]
                assert await everything(desk.reader(cursor, seen), chance.choice([1, 2, 5, 50])) == expected

    async def test_more_is_said_only_when_something_visible_follows(self, log: Log, redis: Redis) -> None:
        start = (await log.touch()).tail
        await publish(log, "broadcast", *["user:9"] * 5)
        desk = Desk(log, redis, events=3)
        await desk.following.tick()
        one = await part(desk.reader(start), 1)
        assert (len(one.entries), one.more) == (1, False)


class TestAhead:
    async def test_a_real_cursor_that_is_not_followed_yet_is_waited_for(self, log: Log, redis: Redis) -> None:
        desk = Desk(log, redis)
        await desk.following.tick()
        elsewhere = Log(redis, ROOMY)
        first, second = await publish(elsewhere, "broadcast", "broadcast")
        reader = desk.reader(first)
        waiting = asyncio.create_task(reader.fetch(10, wait=True))
        await interlude(0.05)
        assert not waiting.done()
        await desk.following.tick()
        assert (await waiting).entries == []
        assert await everything(reader) == [second]

    async def test_who_does_not_wait_gets_nothing_and_keeps_the_cursor(self, log: Log, redis: Redis) -> None:
        desk = Desk(log, redis)
        await desk.following.tick()
        (id_,) = await publish(Log(redis, ROOMY), "broadcast")
        reader = desk.reader(id_)
        assert await part(reader) == ([], False, None)
        assert reader.cursor == id_


class TestTruncation:
    async def told(self, desk: Desk, cursor: Cursor, seen: Interest = EVERYONE) -> Truncation:
        """Come with a cursor that can't be resumed; be told once, and go on at the tail."""
        reader = desk.reader(cursor, seen)
        one = await part(reader)
        assert one.entries == []
        assert not one.more
        assert one.truncation is not None
        tail = (await desk.following.log.touch()).tail
        assert one.truncation.cursor == reader.cursor == reader.started == tail
        await desk.following.tick()
        (id_,) = await publish(desk.following.log, next(iter(seen.scopes)))
        await desk.following.tick()
        assert await everything(reader) == [id_]
        return one.truncation

    async def test_from_the_future(self, log: Log, redis: Redis) -> None:
        published = await publish(log, "broadcast", "broadcast")
        desk = Desk(log, redis)
        await desk.following.tick()
        future = published[1]._replace(ms=published[1].ms + 60_000)
        assert (await self.told(desk, future)).requested == str(future)

    async def test_of_another_log(self, log: Log, redis: Redis) -> None:
        published = await publish(log, "broadcast", "broadcast")
        desk = Desk(log, redis)
        await desk.following.tick()
        told = await self.told(desk, other_epoch(published[0]))
        assert told.floor == (await log.check(ORIGIN)).floor

    async def test_below_the_cap_of_a_scope_that_is_read(self, redis: Redis) -> None:
        log = Log(redis, replace(ROOMY, scope_cap=3))
        start = (await log.touch()).tail
        published = await publish(log, *["broadcast"] * 5)
        desk = Desk(log, redis, events=2)
        await desk.following.tick()
        assert (await self.told(desk, start)).floor == published[1]

    async def test_older_than_the_retention(self, simulated: SimulatedServer) -> None:
        log = Log(simulated.client, ROOMY)
        old, _ = await publish(log, "broadcast", "broadcast")
        simulated.set_clock(NOON_MS + RETENTION_MS + 1)
        desk = Desk(log, simulated.client)
        await desk.following.tick()
        await self.told(desk, old)

    async def test_what_the_client_wrote_is_repeated_as_it_was(self, log: Log, redis: Redis) -> None:
        desk = Desk(log, redis)
        await desk.following.tick()
        reader = desk.reader(Start(Cursor(LARGEST, 0), requested="not a cursor"))
        one = await part(reader)
        assert one.truncation is not None
        assert one.truncation.requested == "not a cursor"

    async def test_a_cut_in_the_middle_of_reading_is_told_after_what_was_read(self, redis: Redis) -> None:
        log = Log(redis, replace(ROOMY, scope_cap=8))
        start = (await log.touch()).tail
        published = await publish(log, *["broadcast"] * 8)
        desk = Desk(log, redis, events=2)
        await desk.following.tick()
        reader = desk.reader(start)
        assert [entry.id for entry in (await part(reader, 3)).entries] == published[:3]
        await publish(log, *["broadcast"] * 6)
        await desk.following.tick()
        one = await part(reader, 3)
        assert one.truncation is not None
        assert one.truncation.requested == str(published[2])


class TestEarliest:
    async def test_is_everything_that_is_kept(self, log: Log, redis: Redis) -> None:
        published = await publish(log, *["broadcast"] * 5)
        desk = Desk(log, redis, events=2)
        await desk.following.tick()
        reader = desk.reader(Start(earliest=True))
        assert reader.take(10) is None
        assert await everything(reader, 2) == published
        assert reader.started == (await log.check(ORIGIN)).floor

    async def test_is_what_the_cap_left(self, redis: Redis) -> None:
        log = Log(redis, replace(ROOMY, scope_cap=3))
        published = await publish(log, *["broadcast"] * 5)
        desk = Desk(log, redis)
        await desk.following.tick()
        reader = desk.reader(Start(earliest=True))
        assert await everything(reader) == published[2:]
        assert reader.started == published[1]

    async def test_begins_again_when_its_beginning_is_cut_away_meanwhile(self, redis: Redis) -> None:
        """Between the look for the floor and the reading, appends cut the scope."""
        log = CutBetween(redis, replace(ROOMY, scope_cap=3))
        published = await publish(log, *["broadcast"] * 3)
        desk = Desk(log, redis)
        await desk.following.tick()
        log.cutting = 2
        reader = desk.reader(Start(earliest=True))
        await everything(reader)
        assert not log.cutting
        assert reader.started == (await log.check(ORIGIN, EVERYONE)).floor > published[-1]


class CutBetween(Log):
    """A log to which somebody else appends before each of the next reads."""

    cutting = 0

    async def _page(self, *arguments: Any) -> Any:  # noqa: ANN401
        if self.cutting:
            self.cutting -= 1
            await Log(self._redis, self._limits).append([draft()] * 4)
        return await super()._page(*arguments)


class TestBytes:
    @pytest.mark.parametrize("events", [100, 1], ids=["window", "log"])
    async def test_one_read_is_at_most_what_one_write_may_carry(self, log: Log, redis: Redis, events: int) -> None:
        start = (await log.touch()).tail
        large = [draft('"' + "x" * 60_000 + '"') for _ in range(10)]
        published = [one.id for one in await log.append(large)]
        desk = Desk(log, redis, events)
        await desk.following.tick()
        reader = desk.reader(start)
        one = await part(reader)
        assert [entry.id for entry in one.entries] == published[:4]
        assert sum(entry.size for entry in one.entries) <= BATCH_BYTES
        assert one.more
        assert reader.cursor == published[3]
        assert await everything(reader) == published[4:]

    async def test_an_event_that_is_larger_comes_alone(self, log: Log, redis: Redis) -> None:
        start = (await log.touch()).tail
        huge = draft('"' + "x" * (BATCH_BYTES + 1) + '"')
        published = [one.id for one in await log.append([huge, huge])]
        desk = Desk(log, redis)
        await desk.following.tick()
        reader = desk.reader(start)
        assert [entry.id for entry in (await part(reader)).entries] == published[:1]
        assert await everything(reader) == published[1:]


class TestReplays:
    async def test_a_crowd_that_comes_back_to_one_place_is_one_read(self, log: Log, redis: Redis) -> None:
        start = (await log.touch()).tail
        published = await publish(log, *["broadcast"] * 5)
        desk = Desk(log, redis, events=1)
        await desk.following.tick()
        before = await commands(redis, "xrange")
        parts = await asyncio.gather(*[desk.reader(start).fetch(100, wait=False) for _ in range(200)])
        assert {tuple(entry.id for entry in one.entries) for one in parts} == {tuple(published)}
        assert await commands(redis, "xrange") - before < 10

    async def test_a_reader_that_goes_away_takes_nothing_from_the_others(self, log: Log, redis: Redis) -> None:
        start = (await log.touch()).tail
        published = await publish(log, "broadcast")
        desk = Desk(log, redis, events=0)
        await desk.following.tick()
        gone, stays = (asyncio.create_task(desk.reader(start).fetch(10, wait=False)) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        assert [entry.id for entry in (await stays).entries] == published

    async def test_a_log_that_does_not_answer_is_told_to_each(self, log: Log, redis: Redis) -> None:
        desk = Desk(log, redis, events=0)
        (id_,) = await publish(log, "broadcast")
        await desk.following.tick()
        reader = desk.reader(other_epoch(id_))
        await redis.set("{gapless:0}:scope main broadcast", "broken")
        answers = await asyncio.gather(*[reader.fetch(10, wait=False) for _ in range(3)], return_exceptions=True)
        assert [type(answer) for answer in answers] == [LogUnavailable] * 3
        assert reader.cursor == other_epoch(id_)

    async def test_what_a_window_of_another_log_lost_is_told_before_anything_is_given(
        self, simulated: SimulatedServer
    ) -> None:
        """The gateway's connections already lead to the other server, its window is still of the first one."""
        log = Log(simulated.client, ROOMY)
        (kept,) = await publish(log, "broadcast")
        backup = simulated.copy()
        await publish(log, "broadcast", "broadcast")
        desk = Desk(log, simulated.client, events=1)
        await desk.following.tick()
        simulated.lay(backup)
        other = Log(simulated.client, ROOMY)
        await publish(other, "broadcast")
        reader = desk.reader(kept)
        told = await part(reader)
        assert told.entries == []
        assert told.truncation is not None
        (after,) = await publish(other, "broadcast")
        await desk.following.follower.touch()
        await desk.following.tick()
        assert await everything(reader) == [after]

    async def test_a_window_of_another_log_is_doubted_and_moves_no_cursor(self, simulated: SimulatedServer) -> None:
        """What the window stands at was lost, and that was said already: the log lacks the horizon."""
        log, other = Log(simulated.client, ROOMY), Log(simulated.client, ROOMY)
        (kept,) = await publish(log, "broadcast")
        backup = simulated.copy()
        (lost,) = await publish(log, "broadcast")
        desk = Desk(log, simulated.client, events=1)
        await desk.following.tick()
        simulated.lay(backup)
        other.witness(lost)
        assert (await other.touch()).fenced
        (id_,) = await publish(other, "broadcast")
        reader = desk.reader((await other.touch()).floor)
        assert await part(reader) == ([], False, None)
        assert desk.following.follower.is_in_doubt
        waiting = asyncio.create_task(reader.fetch(10, wait=True))
        await until(lambda: bool(desk.following.follower._waiting))  # noqa: SLF001 - it waits for the window
        assert not waiting.done()
        await desk.following.tick()
        await waiting
        assert await everything(reader) == [id_]
        assert kept < id_
