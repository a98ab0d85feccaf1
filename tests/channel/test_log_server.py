"""The log and its server: the library of functions, lost replies, and a server that does not answer."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from realtime.channel.event import ORIGIN, Cursor
from realtime.channel.log import Log
from realtime.connect import connect
from realtime.errors import LogUnavailable
from tests.channel.events import EVERYONE, draft, publish
from tests.channel.model import ROOMY
from tests.support.ports import free_port
from tests.support.proxy import Proxy, proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from redis.asyncio import Redis

    from tests.support.redis import RedisServer

    Call = Callable[[Log], Awaitable[object]]

SOMEWHERE = Cursor(1_800_000_000_000, 1 << 40)
CALLS: dict[str, Call] = {
    "append": lambda log: log.append([draft()]),
    "check": lambda log: log.check(ORIGIN, EVERYONE),
    "touch": lambda log: log.touch(),
    "replay": lambda log: log.replay(EVERYONE, ORIGIN, SOMEWHERE, 10),
}
READS: dict[str, Call] = {
    "backwards": lambda log: log.backwards(None, 10),
    "follow": lambda log: log.follow(log._redis, ORIGIN, 1, 10),  # noqa: SLF001 - a connection, whichever
}


async def count(log: Log) -> int:
    return len([entry for entry, _ in await log.backwards(None, 1_000) if not entry.is_marker])


class TestLibrary:
    @pytest.mark.parametrize("name", CALLS)
    async def test_is_loaded_by_whoever_misses_it(self, redis: Redis, log: Log, name: str) -> None:
        await redis.function_flush()
        await CALLS[name](log)
        assert len(await redis.function_list()) == 1

    async def test_is_loaded_once_by_many_at_once(self, redis: Redis) -> None:
        await redis.function_flush()
        tails = await asyncio.gather(*[Log(redis, ROOMY).touch() for _ in range(8)])
        assert len({pulse.tail for pulse in tails}) == 1
        assert len(await redis.function_list()) == 1

    async def test_that_another_gateway_brought_is_not_replaced(self, redis: Redis, log: Log) -> None:
        answer = "{'1-0', '1-0', '7', 0, '1', 'noeviction'}"
        older = f"redis.register_function('gapless_3_touch', function() return {answer} end)"
        await redis.function_flush()
        await redis.function_load(f"#!lua name=gapless_3\n{older}")
        try:
            assert (await log.touch()).now_ms == 7
            with pytest.raises(LogUnavailable):
                await log.append([draft()])
            assert (await log.touch()).now_ms == 7
        finally:
            await redis.function_flush()

    async def test_keeps_the_logs_of_two_partitions_apart(self, redis: Redis) -> None:
        one, two = Log(redis, ROOMY), Log(redis, ROOMY, partition=1)
        for _ in range(3):
            await publish(one, "broadcast")
            await publish(two, "broadcast", "broadcast")
        assert (await count(one), await count(two)) == (3, 6)
        for log in (one, two):
            assert len([entry for entry, _ in await log.backwards(None, 100) if entry.is_marker]) == 1


@pytest.fixture
async def line(valkey: RedisServer, redis_url: str) -> AsyncIterator[Proxy]:
    assert redis_url == valkey.url
    async with proxy(valkey.port) as one:
        yield one


@pytest.fixture
async def far(line: Proxy) -> AsyncIterator[Log]:
    """A log behind a proxy, that is waited for 0.2 s."""
    client = connect(line.redis_url, 0.2, 4)
    yield Log(client, ROOMY)
    await client.aclose()


class TestLostReply:
    async def test_a_lost_reply_gives_one_event(self, log: Log, far: Log, line: Proxy) -> None:
        line.lose_reply(b"gapless_3_append")
        (answer,) = await far.append([draft()])
        assert line.lost.is_set()
        assert not answer.duplicate
        assert [entry.id for entry, _ in await log.backwards(None, 1)] == [answer.id]
        assert await count(log) == 1

    async def test_a_lost_reply_gives_each_event_of_a_batch_once(self, log: Log, far: Log, line: Proxy) -> None:
        line.lose_reply(b"gapless_3_append")
        answers = await far.append([draft(n, key=f"k{n}") for n in range(5)], "ada")
        assert [answer.duplicate for answer in answers] == [False] * 5
        assert await count(log) == 5

    async def test_the_publishers_own_retry_finds_what_was_appended(self, log: Log, far: Log, line: Proxy) -> None:
        line.lose_reply(b"gapless_3_append", times=2)
        with pytest.raises(LogUnavailable):
            await far.append([draft(key="k")], "ada")
        (answer,) = await far.append([draft(key="k")], "ada")
        assert answer.duplicate
        assert await count(log) == 1

    async def test_a_connection_that_was_cut_meanwhile_is_made_again(self, log: Log, far: Log, line: Proxy) -> None:
        await far.append([draft()])
        line.cut()
        await asyncio.sleep(0)
        await far.append([draft()])
        assert await count(log) == 2


class TestUnavailable:
    @pytest.mark.parametrize("name", [*CALLS, *READS])
    async def test_a_server_that_is_not_there(self, name: str) -> None:
        client = connect(f"redis://127.0.0.1:{free_port()}/0", 0.2, 4)
        with pytest.raises(LogUnavailable) as caught:
            await {**CALLS, **READS}[name](Log(client, ROOMY))
        assert dict(caught.value.headers)["Retry-After"] == "2"
        await client.aclose()

    @pytest.mark.parametrize("name", [*CALLS, *READS])
    async def test_a_server_that_does_not_answer_in_time(self, far: Log, line: Proxy, name: str) -> None:
        await far.touch()
        line.hold()
        began = monotonic()
        with pytest.raises(LogUnavailable):
            await {**CALLS, **READS}[name](far)
        assert monotonic() - began < 1.5
        line.release()
        await far.append([draft()])

    async def test_a_paused_server(self, spare: RedisServer) -> None:
        client = connect(spare.url, 0.2, 4)
        log = Log(client, ROOMY)
        await log.touch()
        spare.pause()
        try:
            began = monotonic()
            with pytest.raises(LogUnavailable):
                await log.append([draft()])
            assert monotonic() - began < 1.5
        finally:
            spare.resume()
        await log.touch()
        await client.aclose()

    async def test_a_server_that_refuses_is_named_without_its_words(self, redis: Redis, log: Log) -> None:
        await redis.set(log.key, "not a stream")
        with pytest.raises(LogUnavailable, match=r"the log does not answer \(WRONGTYPE\)"):
            await log.backwards(None, 1)
