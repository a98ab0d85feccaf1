"""A Redis that is full, evicts, or holds something else where the log's streams should be (rules 9 and 10)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from realtime.channel.event import EPOCH_SPAN, ORIGIN, interest
from realtime.channel.log import Log
from realtime.connect import connect
from realtime.errors import LogUnavailable
from tests.channel.events import EVERYONE, draft, publish
from tests.channel.following import Following
from tests.channel.model import NOON_MS, RETENTION_MS, ROOMY
from tests.channel.rules import META, bodies, good, links, log_of, replayed
from tests.channel.simulated import SimulatedServer, library

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from realtime.channel.event import Draft
    from tests.support.redis import RedisServer

BASE = "{gapless:0}:"
SCOPE = f"{BASE}scope main broadcast"
BOTH = interest("main", ["broadcast", "user:1"])


class TestFull:
    """At `maxmemory`, Redis refuses what may need more of it. What judges, and what makes room, it does not."""

    @pytest.fixture
    async def full(self, spare: RedisServer) -> AsyncIterator[Redis]:
        client = connect(spare.url, 2.0, 8)
        await client.flushall()
        yield client
        await client.config_set("maxmemory", 0)
        await client.flushall()
        await client.aclose()

    async def test_history_is_read(self, full: Redis) -> None:
        log = Log(full, ROOMY)
        start = (await log.touch()).tail
        ids = await publish(log, "broadcast", "broadcast")
        await full.config_set("maxmemory", "1")
        with pytest.raises(LogUnavailable, match="log does not answer"):
            await publish(log, "broadcast")
        assert await good(log, ids[0])
        assert await replayed(log, EVERYONE, start) == ids

    async def test_a_touch_makes_room(self, full: Redis) -> None:
        log = Log(full, ROOMY)
        ids = await publish(log, *["broadcast"] * 50)
        await full.config_set("maxmemory", "1")
        small = Log(full, replace(ROOMY, max_bytes=2_000))
        pulse = await small.touch()
        assert pulse.floor > ids[0]
        assert (await links(log))[0].entry.id > ids[0]

    async def test_a_log_that_was_flushed_begins(self, full: Redis) -> None:
        log = Log(full, ROOMY)
        await publish(log, "broadcast")
        await full.flushall()
        await full.config_set("maxmemory", "1")
        assert not (await log.check(ORIGIN)).good
        assert await bodies(log) == [b"epoch"]

    async def test_what_is_refused_is_asked_once(self, full: Redis) -> None:
        log = Log(full, ROOMY)
        await publish(log, "broadcast")
        await full.config_set("maxmemory", "1")
        await full.config_resetstat()
        with pytest.raises(LogUnavailable):
            await publish(log, "broadcast")
        told: Any = await full.info("commandstats")
        assert told["cmdstat_fcall"]["rejected_calls"] + told["cmdstat_fcall"]["failed_calls"] == 1


class TestUndo:
    """An error midway: a function of Redis is not taken back by Redis."""

    BATCHES = (
        [draft(1), draft(2, "user:1"), draft(3)],
        [draft(1, key="a"), draft(2, "user:1", key="b")],
        [draft(1, "topic:a"), draft(2, "user:1")],
        [draft(2, "user:1"), draft(1)],
    )

    @pytest.mark.parametrize("batch", BATCHES, ids=["middle", "keys", "topic", "first"])
    async def test_leaves_nothing_of_a_batch(self, simulated: SimulatedServer, batch: list[Draft]) -> None:
        log = log_of(simulated)
        (before,) = await publish(log, "broadcast")
        await simulated.client.set(f"{BASE}scope main user:1", "not a stream")
        following = Following(log, simulated.client)
        await following.tick()
        with pytest.raises(LogUnavailable, match="WRONGTYPE"):
            await log.append(batch, "ada")
        assert await replayed(log, EVERYONE) == [before]
        assert await simulated.client.keys(f"{BASE}once *") == []
        assert await simulated.client.xlen(f"{BASE}topics main") == 0
        assert [link.entry.id for link in await links(log) if not link.entry.is_marker] == [before]
        await following.tick()
        assert len(following.sink.restarts) == 1, "the entries still follow each other"
        await simulated.client.delete(f"{BASE}scope main user:1")
        answers = await log.append(batch, "ada")
        assert [answer.duplicate for answer in answers] == [False] * len(batch)
        await following.tick()
        assert following.window.position == answers[-1].id
        assert len(following.sink.restarts) == 1

    async def test_is_not_tried_again(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        await log.touch()
        await simulated.client.set(SCOPE, "not a stream")
        await simulated.client.config_resetstat()
        with pytest.raises(LogUnavailable):
            await log.append([draft()])
        told: Any = await simulated.client.info("commandstats")
        assert told["cmdstat_fcall"]["calls"] == 1

    async def test_gives_no_id_twice(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        await log.touch()
        await simulated.client.set(f"{BASE}scope main user:1", "not a stream")
        with pytest.raises(LogUnavailable):
            await publish(log, "broadcast", "user:1")
        tail = (await log.touch()).tail
        (id_,) = await publish(log, "broadcast")
        assert id_ > tail
        assert await good(log, tail)


class TestMissing:
    """A scope's stream that should be there."""

    async def test_is_told_to_who_reads_it(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        first, last = await publish(log, "broadcast", "broadcast")
        await simulated.client.delete(SCOPE)
        (other,) = await publish(log, "user:1")
        assert not await good(log, first, EVERYONE)
        assert not await good(log, last, BOTH)
        assert await good(log, first, interest("main", ["user:1"]))
        assert (await log.check(ORIGIN, EVERYONE)).floor == other

    async def test_is_told_once(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        (first,) = await publish(log, "broadcast")
        await simulated.client.delete(SCOPE)
        await publish(log, "user:1")
        told = await log.check(first, EVERYONE)
        await publish(log, "user:1")
        assert not told.good
        assert await good(log, told.tail, EVERYONE)

    @pytest.mark.parametrize("fresh", [False, True])
    async def test_and_came_again_is_told_too(self, simulated: SimulatedServer, *, fresh: bool) -> None:
        log = log_of(simulated)
        first, _ = await publish(log, "broadcast", "broadcast")
        await simulated.client.delete(SCOPE)
        if fresh:
            await simulated.client.function_load(library(), replace=True)
        (again,) = await publish(log, "broadcast")
        assert not await good(log, first, EVERYONE)
        assert await good(log, again, EVERYONE)

    async def test_of_all_topics_is_told_to_who_asks_by_pattern(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        (first,) = await publish(log, "topic:a")
        await simulated.client.delete(f"{BASE}topics main")
        await publish(log, "user:1")
        assert await good(log, first, interest("main", ["topic:a"]))
        assert not await good(log, first, interest("main", ["topic:*"]))

    async def test_is_none_whose_time_has_come(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        await publish(log, "broadcast")
        cursor = ORIGIN
        for tenth in range(1, 30):
            simulated.set_clock(NOON_MS + tenth * RETENTION_MS // 10)
            (young,) = await publish(log, "user:1")
            assert cursor == ORIGIN or await good(log, cursor, BOTH)
            cursor = young
        assert not await simulated.client.exists(SCOPE)

    async def test_is_none_that_was_cut_away(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated, max_bytes=3_000)
        await publish(log, "broadcast")
        cursor = (await publish(log, *["user:1"] * 40))[-1]
        assert await simulated.client.xlen(SCOPE) == 0
        await publish(log, "user:1")
        assert await good(log, cursor, BOTH)
        await publish(log, "broadcast")
        assert await good(log, cursor, BOTH)


class TestEviction:
    """Rule 10: what the server does when its memory is full."""

    @pytest.fixture
    async def careless(self, simulated: SimulatedServer) -> AsyncIterator[SimulatedServer]:
        yield simulated
        await simulated.client.config_set("maxmemory-policy", "noeviction")

    async def test_is_asked_when_an_epoch_begins(self, careless: SimulatedServer) -> None:
        log = log_of(careless)
        assert (await log.touch()).policy == "noeviction"
        await careless.client.config_set("maxmemory-policy", "allkeys-lru")
        assert (await log.touch()).policy == "noeviction"
        await careless.client.function_load(library(), replace=True)
        assert (await log.touch()).policy == "allkeys-lru"

    async def test_is_asked_once_a_minute(self, careless: SimulatedServer) -> None:
        log = log_of(careless)
        await log.touch()
        await careless.client.config_set("maxmemory-policy", "volatile-ttl")
        careless.set_clock(NOON_MS + 59_999)
        assert (await log.touch()).policy == "noeviction"
        careless.set_clock(NOON_MS + 60_000)
        assert (await log.touch()).policy == "volatile-ttl"

    async def test_is_asked_at_each_touch_until_it_is_right(self, careless: SimulatedServer) -> None:
        await careless.client.config_set("maxmemory-policy", "allkeys-lru")
        following = Following(log_of(careless), careless.client)
        await following.tick()
        assert not following.follower.is_vouched_for
        await careless.client.config_set("maxmemory-policy", "noeviction")
        await following.follower.touch()
        assert following.follower.is_vouched_for


async def test_an_epochs_number_that_is_known_is_drawn_again(redis: Redis, log: Log) -> None:
    """The kernel's draws are made small, so that most of them collide."""
    numbers = 8
    code = (
        library()
        .replace("% 2147483648", f"% {numbers}")
        .replace("return tonumber(redis.call('GET', 'simulated clock'))", "return 1800000000000")
    )
    epochs = []
    for _ in range(numbers):
        await redis.function_load(code, replace=True)
        epochs.append((await log.touch()).tail.epoch)
    assert sorted(epochs) == list(range(numbers))
    assert numbers < EPOCH_SPAN
    assert await redis.hexists(META, f"end:{epochs[0]}")
    await redis.function_flush()
