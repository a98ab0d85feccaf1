"""What the kernel remembers of streams to ask Redis less: no expiry comes early, no cap is missed."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

from realtime.channel.event import ORIGIN, Cursor, interest
from realtime.channel.log import Log
from realtime.connect import connect
from tests.channel.events import publish
from tests.channel.model import RETENTION_MS, ROOMY
from tests.channel.rules import log_of, replayed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from tests.channel.simulated import SimulatedServer

SCOPE = "user:1"
STREAM = f"{{gapless:0}}:scope main {SCOPE}"
MINE = interest("main", [SCOPE])


def least(id_: Cursor, retention_ms: int = RETENTION_MS) -> int:
    """Return how long a stream with this entry has to stay: until so many unix milliseconds."""
    return id_.ms + round(1.1 * retention_ms) + 1_000


async def append(log: Log, scope: str = SCOPE) -> Cursor:
    """Publish one event by itself."""
    (id_,) = await publish(log, scope)
    return id_


@pytest.fixture
async def other(redis: Redis, redis_url: str) -> AsyncIterator[Redis]:
    """A client of another database of the same server."""
    await redis.ping()
    client = connect(redis_url.removesuffix("/0") + "/1", 2.0, 2)
    yield client
    await client.aclose()


class OtherVersion(Log):
    """A log as a gateway of another version has it: the same functions, in a library of their own."""

    name_of_library = "gapless_other"

    @classmethod
    async def load(cls, redis: Redis) -> None:
        code = files("realtime.channel").joinpath("log.lua").read_text()
        await redis.function_load(code.replace("gapless_3", cls.name_of_library), replace=True)

    def _function(self, name: str, *arguments: object) -> tuple[object, ...]:
        _, *rest = super()._function(name, *arguments)
        return f"{self.name_of_library}_{name}", *rest


class TestExpiry:
    async def test_is_never_earlier_than_the_rule_nor_much_later(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        for pause_ms in [1, 1, 50, 400, 999, 1, 1_001, 3_000, 1, 9_999, 1] * 3:
            simulated.set_clock(simulated.now_ms + pause_ms)
            id_ = await append(log)
            gone_ms = int(await simulated.client.hget("simulated expiry", STREAM) or 0)
            assert least(id_) <= gone_ms <= least(id_) + RETENTION_MS // 10

    async def test_and_cap_are_seldom_looked_at(self, redis: Redis, log: Log) -> None:
        await append(log)
        await redis.config_resetstat()
        for _ in range(100):
            await append(log)
        told: Any = await redis.info("commandstats")
        assert told["cmdstat_xadd"]["calls"] == 200
        for command in ("cmdstat_pexpireat", "cmdstat_xlen"):
            assert told.get(command, {"calls": 0})["calls"] <= 5

    async def test_of_a_stream_that_somebody_deleted_is_set_again(self, redis: Redis, log: Log) -> None:
        for _ in range(3):
            await append(log)
        await redis.delete(STREAM)
        id_ = await append(log)
        assert await redis.pexpiretime(STREAM) >= least(id_)

    async def test_of_a_log_that_was_flushed_is_set_again(self, redis: Redis, log: Log) -> None:
        for _ in range(3):
            await append(log)
        await redis.flushall()
        id_ = await append(log)
        assert await redis.pexpiretime(STREAM) >= least(id_)

    async def test_of_data_that_were_put_back_is_set_again(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        await append(log)
        copy = simulated.copy()
        simulated.set_clock(simulated.now_ms + RETENTION_MS // 2)
        await append(log)
        simulated.lay(copy)
        id_ = await append(log)
        assert int(await simulated.client.hget("simulated expiry", STREAM) or 0) >= least(id_)

    async def test_that_another_version_set_earlier_is_set_again(self, redis: Redis, log: Log) -> None:
        await OtherVersion.load(redis)
        older = OtherVersion(redis, ROOMY)
        for _ in range(3):
            await append(log)
        await append(older)
        await redis.pexpire(STREAM, RETENTION_MS)  # as one does that knows no further
        id_ = await append(log)
        assert await redis.pexpiretime(STREAM) >= least(id_)

    async def test_that_another_retention_set_earlier_is_set_again(self, redis: Redis, log: Log) -> None:
        patient = Log(redis, replace(ROOMY, retention_ms=10 * RETENTION_MS))
        for _ in range(2):
            for one, retention_ms in ((log, RETENTION_MS), (patient, 10 * RETENTION_MS)):
                id_ = await append(one)
                assert least(id_, retention_ms) <= await redis.pexpiretime(STREAM)

    async def test_is_each_databases_own(self, redis: Redis, other: Redis, log: Log) -> None:
        there = Log(other, ROOMY)
        await append(log)
        await append(log)
        for client, one in ((other, there), (redis, log)) * 2:
            id_ = await append(one)
            assert await client.pexpiretime(STREAM) >= least(id_)

    async def test_is_right_when_databases_are_swapped(self, redis: Redis, other: Redis, log: Log) -> None:
        there = Log(other, ROOMY)
        for one in (log, log, there):
            await append(one)
        await redis.swapdb(0, 1)
        for client, one in ((redis, log), (other, there)):
            await client.delete(STREAM)
            id_ = await append(one)
            assert await client.pexpiretime(STREAM) >= least(id_)

    async def test_is_right_beyond_what_is_remembered(self, redis: Redis, log: Log) -> None:
        for begin in range(0, 11_000, 1_000):
            await publish(log, SCOPE, *[f"user:n{number}" for number in range(begin, begin + 999)])
        id_ = await append(log)
        assert await redis.pexpiretime(STREAM) >= least(id_)
        assert await redis.xlen(STREAM) == 12


class TestCap:
    @pytest.fixture
    def capped(self, redis: Redis) -> Log:
        """A log whose scopes keep 200 events, and two more before they are cut."""
        return Log(redis, replace(ROOMY, scope_cap=200))

    async def test_is_kept_event_by_event(self, redis: Redis, capped: Log) -> None:
        ids = [await append(capped) for _ in range(202)]
        assert await redis.xlen(STREAM) == 202
        for length in (200, 201, 202, 200):
            ids.append(await append(capped))
            assert await redis.xlen(STREAM) == length
        assert await replayed(capped, MINE) == ids[-200:]
        assert (await capped.check(ORIGIN, MINE)).floor == ids[-201]

    async def test_is_kept_with_another_version_beside_us(self, redis: Redis, capped: Log) -> None:
        await OtherVersion.load(redis)
        older = OtherVersion(redis, replace(ROOMY, scope_cap=200))
        await publish(capped, *[SCOPE] * 150)
        await publish(older, *[SCOPE] * 52)
        await append(capped)
        assert await redis.xlen(STREAM) == 200

    async def test_that_is_lower_elsewhere_is_kept_there(self, redis: Redis, capped: Log) -> None:
        small = Log(redis, replace(ROOMY, scope_cap=3))
        await publish(capped, *[SCOPE] * 10)
        for _ in range(2):
            await append(small)
            assert await redis.xlen(STREAM) == 3
            await append(capped)

    async def test_begins_anew_with_a_stream_that_was_deleted(self, redis: Redis, capped: Log) -> None:
        await publish(capped, *[SCOPE] * 202)
        await redis.delete(STREAM)
        await publish(capped, *[SCOPE] * 202)
        assert await redis.xlen(STREAM) == 202
        await append(capped)
        assert await redis.xlen(STREAM) == 200
