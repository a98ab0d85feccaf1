"""The follower: fills the window, keeps it unbroken, says when it began anew, and always comes back."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from realtime.channel.event import ORIGIN
from realtime.channel.log import Log
from realtime.connect import connect
from realtime.errors import LogUnavailable
from tests.channel.events import draft, other_epoch, publish
from tests.channel.following import Following, running
from tests.channel.model import NOON_MS, ROOMY
from tests.channel.rules import META
from tests.channel.simulated import library
from tests.support.proxy import proxy
from tests.support.waiting import interlude, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from realtime.channel.event import Cursor
    from tests.channel.simulated import SimulatedServer
    from tests.support.redis import RedisServer


async def all_ids(log: Log) -> list[Cursor]:
    return [entry.id for entry, _ in await log.backwards(None, 10_000)][::-1]


class TestFill:
    async def test_reads_back_what_the_log_has(self, log: Log, redis: Redis) -> None:
        await publish(log, "broadcast", "user:1", "topic:a")
        following = Following(log, redis)
        before = following.follower.filled
        await following.tick()
        began, *rest = await all_ids(log)
        assert (before, following.follower.filled) == (False, True)
        assert following.window.base == began
        assert following.ids == rest
        assert following.sink.restarts == [began]
        assert following.sink.ticks == [rest]

    async def test_of_a_new_log_stands_at_its_first_marker(self, log: Log, redis: Redis) -> None:
        following = Following(log, redis)
        await following.tick()
        assert [following.window.position] == await all_ids(log)
        assert following.ids == []

    async def test_is_bounded_by_events(self, log: Log, redis: Redis) -> None:
        published = await publish(log, *["broadcast"] * 10)
        following = Following(log, redis, events=4)
        await following.tick()
        assert following.ids == published[-4:]
        assert following.window.base == published[-5]

    async def test_is_bounded_by_bytes(self, log: Log, redis: Redis) -> None:
        published = await publish(log, *["broadcast"] * 10)
        size = len(draft().stored)
        following = Following(log, redis, size=3 * size + 1)
        await following.tick()
        assert following.ids == published[-3:]
        assert following.window.base == published[-4]

    async def test_reads_page_after_page(self, log: Log, redis: Redis) -> None:
        for _ in range(5):
            await publish(log, *["broadcast"] * 500)
        following = Following(log, redis, events=10_000)
        await following.tick()
        assert following.ids == (await all_ids(log))[1:]

    async def test_ends_at_the_floor(self, simulated: SimulatedServer) -> None:
        log = Log(simulated.client, ROOMY)
        (id_,) = await publish(log, "broadcast")
        simulated.set_clock(NOON_MS + 500)
        log.witness(other_epoch(id_))
        assert (await log.touch()).fenced
        after = await publish(log, "broadcast", "broadcast")
        following = Following(log, simulated.client)
        await following.tick()
        assert following.ids == after
        assert following.window.base == (await log.touch()).floor

    async def test_ends_where_the_entries_do_not_hang_together(self, log: Log, redis: Redis) -> None:
        published = await publish(log, *["broadcast"] * 5)
        await redis.xdel(log.key, str(published[1]))
        following = Following(log, redis)
        await following.tick()
        assert following.ids == published[2:]
        assert following.window.base == published[1]

    async def test_is_witnessed(self, simulated: SimulatedServer) -> None:
        """What was in the log when the gateway started, and is lost before anything else comes."""
        log = Log(simulated.client, ROOMY)
        (kept,) = await publish(log, "broadcast")
        backup = simulated.copy()
        await publish(log, "broadcast")
        following = Following(Log(simulated.client, ROOMY), simulated.client)
        await following.tick()
        simulated.lay(backup)
        await following.follower.touch()
        assert not (await log.check(kept)).good


class TestFollow:
    async def test_adds_what_comes(self, log: Log, redis: Redis) -> None:
        following = Following(log, redis)
        await following.tick()
        published = await publish(log, "broadcast", "user:1")
        await following.tick()
        assert following.ids == published
        assert following.sink.ticks == [published]
        assert following.window.position == published[-1]

    async def test_begins_anew_where_entries_are_missing(self, log: Log, redis: Redis) -> None:
        following = Following(log, redis)
        await following.tick()
        published = await publish(log, *["broadcast"] * 5)
        await redis.xtrim(log.key, maxlen=2, approximate=False)
        await following.tick()
        assert following.sink.restarts[1:] == [published[2]]
        assert following.window.base == published[2]
        assert following.ids == published[3:]

    async def test_delivers_what_came_before_a_gap_and_begins_anew_behind_it(self, log: Log, redis: Redis) -> None:
        following = Following(log, redis)
        await following.tick()
        published = await publish(log, *["broadcast"] * 5)
        await redis.xdel(log.key, str(published[2]))
        await following.tick()
        assert following.sink.ticks == [published[:2], published[3:]]
        assert following.sink.restarts[1:] == [published[2]]

    async def test_what_came_together_is_witnessed_by_epoch(self, simulated: SimulatedServer) -> None:
        """The end of one epoch, and the next one, in one read: then the end of the first turns out to be lost."""
        following = Following(Log(simulated.client, ROOMY), simulated.client)
        await following.tick()
        kept, lost = await publish(Log(simulated.client, ROOMY), "broadcast", "broadcast")
        await simulated.client.function_load(library(), replace=True)
        (after,) = await publish(Log(simulated.client, ROOMY), "broadcast")
        assert after.epoch != lost.epoch
        await following.tick()
        await simulated.client.hset(META, f"end:{lost.epoch}", str(kept))
        await following.follower.touch()
        assert not (await following.log.check(kept)).good

    async def test_begins_anew_at_a_fence(self, simulated: SimulatedServer) -> None:
        log = Log(simulated.client, ROOMY)
        following = Following(log, simulated.client)
        await following.tick()
        before = await publish(log, "broadcast", "broadcast")
        simulated.set_clock(NOON_MS + 500)
        other = Log(simulated.client, ROOMY)
        other.witness(other_epoch(before[0]))
        assert (await other.touch()).fenced
        after = await publish(log, "broadcast")
        await following.tick()
        fence = (await log.touch()).floor
        assert following.sink.restarts[1:] == [fence]
        assert following.sink.ticks == [after], "who stands before it is told, and given nothing first"
        assert following.window.base == fence
        assert [following.window.holds(cursor) for cursor in (*before, fence, *after)] == [False, False, True, True]

    async def test_a_new_process_with_the_same_data_is_no_break(self, simulated: SimulatedServer) -> None:
        log = Log(simulated.client, ROOMY)
        following = Following(log, simulated.client)
        await following.tick()
        before = await publish(log, "broadcast")
        await following.tick()
        await simulated.restart()
        after = await publish(log, "broadcast")
        await following.tick()
        assert len(following.sink.restarts) == 1
        assert following.ids == [*before, (await all_ids(log))[-2], *after]

    async def test_a_flush_is_a_break(self, simulated: SimulatedServer) -> None:
        log = Log(simulated.client, ROOMY)
        following = Following(log, simulated.client)
        await following.tick()
        await publish(log, "broadcast")
        await following.tick()
        simulated.flush()
        after = await publish(log, "broadcast")
        await following.tick()
        assert following.sink.restarts[1:] == [(await all_ids(log))[0]]
        assert following.ids == after

    async def test_a_successor_whose_clock_is_behind_is_read_from_its_end(self, simulated: SimulatedServer) -> None:
        log = Log(simulated.client, ROOMY)
        following = Following(log, simulated.client)
        await publish(log, "broadcast")
        backup = simulated.copy()
        simulated.set_clock(NOON_MS + 5_000)
        (lost,) = await publish(log, "broadcast")
        await following.tick()
        assert following.window.position == lost
        simulated.lay(backup)
        simulated.set_clock(NOON_MS + 1)
        await simulated.restart()
        (id_,) = await publish(log, "broadcast")
        assert id_ < lost
        await following.tick()
        assert following.window.position == lost
        await following.follower.touch()
        await following.tick()
        assert following.window.position == (await all_ids(log))[-1] < lost
        assert following.window.base != lost

    async def test_lets_go_what_is_no_longer_history(self, simulated: SimulatedServer) -> None:
        log = Log(simulated.client, ROOMY)
        following = Following(log, simulated.client)
        old = await publish(log, "broadcast", "broadcast")
        simulated.set_clock(NOON_MS + 9_000)
        young = await publish(log, "broadcast", "broadcast")
        await following.tick()
        assert following.ids == [*old, *young]
        simulated.set_clock(NOON_MS + 11_000)
        await following.follower.touch()
        assert following.ids == young[1:]
        assert following.window.base == young[0] == (await log.check(ORIGIN)).floor


class TestReach:
    async def test_waits_until_the_window_stands_there(self, log: Log, redis: Redis) -> None:
        following = Following(log, redis)
        await following.tick()
        (id_,) = await publish(log, "broadcast")
        waiting = asyncio.create_task(following.follower.reach(id_))
        await asyncio.sleep(0)
        assert not waiting.done()
        await following.tick()
        await waiting
        await following.follower.reach(id_)

    async def test_ends_when_the_window_begins_anew(self, log: Log, redis: Redis) -> None:
        following = Following(log, redis)
        await following.tick()
        (id_,) = await publish(log, "broadcast")
        waiting = asyncio.create_task(following.follower.reach(id_._replace(ms=id_.ms + 10_000)))
        await following.tick()
        assert not waiting.done()
        following.follower.doubt()
        await following.tick()
        await waiting

    async def test_waits_for_the_window_to_begin_anew_when_that_is_due(self, log: Log, redis: Redis) -> None:
        following = Following(log, redis)
        (id_,) = await publish(log, "broadcast")
        await following.tick()
        following.follower.doubt()
        assert following.follower.is_in_doubt
        waiting = asyncio.create_task(following.follower.reach(id_))
        await asyncio.sleep(0)
        assert not waiting.done()
        await following.tick()
        await waiting
        assert not following.follower.is_in_doubt

    async def test_catching_up_waits_for_what_we_appended(self, log: Log, redis: Redis) -> None:
        following = Following(log, redis)
        await following.tick()
        (id_,) = await publish(log, "broadcast")
        assert following.follower.tail == id_ > following.window.position
        waiting = asyncio.create_task(following.follower.catch_up(5))
        await asyncio.sleep(0)
        assert not waiting.done()
        await following.tick()
        await waiting
        assert following.window.position == id_

    async def test_catching_up_gives_up_in_time(self, log: Log, redis: Redis) -> None:
        following = Following(log, redis)
        await following.tick()
        await publish(log, "broadcast")
        began = monotonic()
        await following.follower.catch_up(0.05)
        assert 0.04 < monotonic() - began < 2


@pytest.fixture
async def near(spare: RedisServer) -> AsyncIterator[Log]:
    """A log on the server that tests may hurt."""
    client = connect(spare.url, 1.0, 8)
    await client.flushall()
    yield Log(client, ROOMY)
    await client.aclose()


async def published_at_last(log: Log) -> Cursor:
    """Publish as a patient publisher does, with one key until it is answered."""
    ids: list[Cursor] = []

    async def is_answered() -> bool:
        with suppress(LogUnavailable):
            ids.append((await log.append([draft(key="patient")], "ada"))[0].id)
        return bool(ids)

    await until(is_answered)
    return ids[0]


class TestSupervision:
    async def test_follows_as_it_comes(self, near: Log, spare: RedisServer) -> None:
        async with running(near, spare.url) as following:
            for _ in range(3):
                (id_,) = await publish(near, "broadcast")
                await following.follower.reach(id_)
                assert following.window.position == id_

    async def test_a_server_that_crashed_is_read_on_from_where_it_was(self, near: Log, spare: RedisServer) -> None:
        async with running(near, spare.url) as following:
            before = await publish(near, "broadcast")
            await following.follower.reach(before[0])
            spare.kill()
            with pytest.raises(LogUnavailable):
                await publish(near, "broadcast")
            await spare.start()
            after = await published_at_last(near)
            await until(lambda: following.window.position >= after)
            assert len(following.sink.restarts) == 1
            assert [id_ for id_ in following.ids if id_ in {*before, after}] == [*before, after]

    async def test_a_server_that_stood_still_is_read_on_from_where_it_was(self, near: Log, spare: RedisServer) -> None:
        async with running(near, spare.url, wait_s=0.7) as following:
            before = await publish(near, "broadcast")
            await following.follower.reach(before[0])
            spare.pause()
            try:
                await until(lambda: following.follower.is_away)
            finally:
                spare.resume()
            after = await published_at_last(near)
            await until(lambda: following.window.position >= after)
            assert len(following.sink.restarts) == 1
            assert following.ids[-1] == after

    async def test_connections_that_are_cut_again_and_again_lose_nothing(self, near: Log, spare: RedisServer) -> None:
        async with proxy(spare.port) as line, running(near, line.redis_url) as following:
            ids = []
            for _ in range(6):
                ids += await publish(near, "broadcast", "user:1")
                line.cut()
                await interlude(0.02)
            await until(lambda: following.window.position >= ids[-1])
            assert following.ids == ids
            assert len(following.sink.restarts) == 1

    async def test_what_was_lost_is_told_within_a_second_or_so(self, near: Log, spare: RedisServer) -> None:
        async with running(near, spare.url) as following:
            (kept,) = await publish(near, "broadcast")
            await following.follower.reach(kept)
            near.witness(other_epoch(kept))
            await until(lambda: len(following.sink.restarts) == 2)
            assert following.window.base > kept
            assert not (await near.check(kept)).good


class TestDeaf:
    """The connection of the follower stays with a server that the pool does not reach any more."""

    async def test_a_connection_that_brings_nothing_of_a_log_that_went_on_is_made_anew(
        self, simulated: SimulatedServer, redis: Redis
    ) -> None:
        log = Log(simulated.client, ROOMY)
        following = Following(log, redis)  # where nothing happens
        following.follower.doubt()
        await following.tick()
        (id_,) = await publish(log, "broadcast")
        await following.tick()
        away = [following.follower.is_away]  # no touch has told yet that the log went on
        closed = following.line.closed
        await following.follower.touch()
        await following.tick()
        away.append(following.follower.is_away)
        following.redis = simulated.client  # a new connection leads there
        await following.tick()
        away.append(following.follower.is_away)
        assert away == [False, True, False]
        assert following.line.closed == closed + 1
        assert following.window.position == id_

    async def test_one_that_has_nothing_to_bring_is_left_alone(self, log: Log, redis: Redis) -> None:
        following = Following(log, redis)
        await following.tick()
        closed = following.line.closed
        for _ in range(3):
            await following.follower.touch()
            await following.tick()
        assert following.line.closed == closed
        assert not following.follower.is_away

    async def test_a_window_in_doubt_begins_anew_on_a_new_connection(self, log: Log, redis: Redis) -> None:
        following = Following(log, redis)
        await following.tick()
        closed = following.line.closed
        following.follower.doubt()
        await following.tick()
        assert following.line.closed == closed + 1


class TestElsewhere:
    """The connection of the follower leads to another server than the pool, and brings entries of its log."""

    async def test_an_epoch_of_another_log_is_not_taken(self, simulated: SimulatedServer, redis: Redis) -> None:
        log, elsewhere = Log(simulated.client, ROOMY), Log(redis, ROOMY)
        simulated.set_clock(1_000_000)  # long before the other server's
        following = Following(log, redis)
        await following.tick()
        (id_,) = await publish(log, "broadcast")
        await publish(elsewhere, "broadcast")  # behind its first epoch's marker
        await self.check(following, simulated, id_)

    async def test_entries_that_do_not_follow_are_not_taken(self, simulated: SimulatedServer, redis: Redis) -> None:
        log, elsewhere = Log(simulated.client, ROOMY), Log(redis, ROOMY)
        simulated.set_clock((await elsewhere.touch()).tail.ms + 1)  # only the other log's epoch is older
        following = Following(log, redis)
        await following.tick()
        (id_,) = await publish(log, "broadcast")
        while (await publish(elsewhere, "broadcast"))[0] < id_:
            pass
        await self.check(following, simulated, id_)

    async def check(self, following: Following, simulated: SimulatedServer, id_: Cursor) -> None:
        for _ in range(2):
            with pytest.raises(LogUnavailable, match="which the pool's server does not have"):
                await following.tick()
        following.redis = simulated.client
        await following.line.aclose()  # as the supervisor does
        await following.tick()
        assert following.window.position == id_
        assert (await following.log.touch()).tail == id_  # nothing was lost, and no fence says so


class TestAtOnce:
    """A lagging failover: whoever was here before is told before anything is given that came after it."""

    async def fail_over(self, simulated: SimulatedServer, following: Following) -> Cursor:
        (kept,) = await publish(following.log, "broadcast")
        backup = simulated.copy()
        await publish(following.log, "broadcast")
        await following.tick()
        simulated.lay(backup)
        return kept

    async def test_by_the_follower(self, simulated: SimulatedServer) -> None:
        """Somebody who knows of no loss publishes first; no touch comes between."""
        following = Following(Log(simulated.client, ROOMY), simulated.client)
        await following.tick()
        kept = await self.fail_over(simulated, following)
        other = Log(simulated.client, ROOMY)
        simulated.set_clock(NOON_MS + 5)
        (after,) = await publish(other, "broadcast")
        ticks = len(following.sink.ticks)
        await following.tick()
        assert [id_ for tick in following.sink.ticks[ticks:] for id_ in tick if id_ <= after] == []
        assert not (await other.check(kept)).good
        await following.tick()
        assert following.window.base > after

    async def test_by_an_append(self, simulated: SimulatedServer) -> None:
        following = Following(Log(simulated.client, ROOMY), simulated.client)
        await following.tick()
        kept = await self.fail_over(simulated, following)
        (after,) = await publish(following.log, "broadcast")
        other = Log(simulated.client, ROOMY)
        assert [(await other.check(cursor)).good for cursor in (kept, after)] == [False, True]
