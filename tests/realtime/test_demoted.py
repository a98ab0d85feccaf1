"""A server that is the wrong one is left, though nobody cuts the connections: by what it answers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import RedisError

from realtime.auth import somebody
from realtime.channel.event import Draft, stored_envelope
from realtime.channel.log import Limits, Log
from realtime.config import LimitsSettings
from realtime.connect import connect
from realtime.fleet import Member
from realtime.leases import Leases
from realtime.metrics import Metrics
from realtime.rates import Rates
from tests.support.proxy import Proxy, proxy
from tests.support.redis import RedisServer
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from redis.asyncio import Redis

    from realtime.request import Request

_LIMITS = Limits(60_000, 1_000, 1_000, 0, 60_000)


class Pair:
    """Two servers, and an address that leads to one of them: new connections go where it leads, old ones stay."""

    def __init__(self, first: RedisServer, second: RedisServer, way: Proxy) -> None:
        self.first = first
        self.second = second
        self.way = way

    async def fail_over(self, *, link_port: int | None = None) -> None:
        """Promote the second, demote the first, and lead the address to the second."""
        async with self.second.client as client:
            await client.replicaof("NO", "ONE")
        async with self.first.client as client:
            await client.replicaof("127.0.0.1", link_port or self.second.port)
        self.way.target_port = self.second.port


@asynccontextmanager
async def pair(directory: Path, *arguments: str) -> AsyncIterator[Pair]:
    """Run two servers, the second a replica of the first."""
    first = RedisServer(directory / "first", arguments=arguments)
    second = RedisServer(directory / "second")
    try:
        await first.start()
        await second.start()
        async with proxy(first.port) as way, second.client as client:
            await client.replicaof("127.0.0.1", first.port)

            async def has_synced() -> bool:
                return bool((await client.info("replication"))["master_link_status"] == "up")

            await until(has_synced)
            yield Pair(first, second, way)
    finally:
        first.stop()
        second.stop()


async def command(redis: Redis) -> None:
    await redis.set("told", "1")


async def read(redis: Redis) -> None:
    await redis.get("told")


async def pipeline(redis: Redis) -> None:
    pipe = redis.pipeline(transaction=False)
    pipe.execute_command("GET", "told")
    pipe.execute_command("SET", "told", "1")
    pipe.execute_command("GET", "told")
    await pipe.execute()


async def transaction(redis: Redis) -> None:
    """Is refused when the command is queued."""
    pipe = redis.pipeline(transaction=True)
    pipe.execute_command("SET", "told", "1")
    await pipe.execute()


async def script_in_a_transaction(redis: Redis) -> None:
    """Is refused when the transaction is run: the error is inside of the answer to EXEC, and is not the first there."""
    pipe = redis.pipeline(transaction=True)
    pipe.execute_command("GET", "told")
    pipe.execute_command("EVAL", "return redis.call('SET', KEYS[1], '1')", 1, "told")
    answers = await pipe.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer


WRITES = [command, pipeline, transaction, script_in_a_transaction]


async def failures(write: Callable[[Redis], Awaitable[None]], redis: Redis, most: int) -> int:
    """Write until it succeeds; return how often it failed before."""
    for failed in range(most):
        try:
            await write(redis)
        except RedisError:
            continue
        return failed
    return most


@pytest.mark.parametrize("write", WRITES)
async def test_a_demoted_primary_is_left_with_all_connections_at_the_first_refusal(
    tmp_path: Path, write: Callable[[Redis], Awaitable[None]]
) -> None:
    async with pair(tmp_path) as two:
        redis = connect(two.way.redis_url, 5.0, 8)
        pool: Any = redis.connection_pool
        for connection in [await pool.get_connection() for _ in range(8)]:  # all are connected to the first
            await pool.release(connection)
        await two.fail_over()
        assert await failures(write, redis, 20) == 1
        written = await asyncio.gather(*(write(redis) for _ in range(8)), return_exceptions=True)
        assert written == [None] * 8, "the others have left it too"
        async with two.second.client as client:
            assert await client.get("told") == b"1"
        await redis.aclose()


async def test_appends_go_on_without_one_that_fails(tmp_path: Path) -> None:
    async with pair(tmp_path) as two:
        redis = connect(two.way.redis_url, 5.0, 8)
        log = Log(redis, _LIMITS)
        draft = Draft("main", "user:42", stored_envelope("told", "user:42", b"{}"))
        await log.append([draft])
        await two.fail_over()
        (appended,) = await log.append([draft])
        assert not appended.duplicate
        async with two.second.client as client:
            assert await client.xrange(log.key, str(appended.id), str(appended.id))
        await redis.aclose()


async def wait(redis: Redis) -> None:
    await redis.xread({"told": "0-0"}, block=15_000)


async def test_a_read_that_waits_is_unblocked_and_reads_on_at_the_new_primary(tmp_path: Path) -> None:
    async with pair(tmp_path) as two:
        redis = connect(two.way.redis_url, 20.0, 1)
        waiting = asyncio.create_task(wait(redis))
        async with two.first.client as client:

            async def waits() -> bool:
                return bool((await client.info("clients"))["blocked_clients"])

            await until(waits)
        await two.fail_over()
        with pytest.raises(RedisError, match="UNBLOCKED"):
            await waiting
        await redis.xadd("told", {"a": "b"})
        await redis.aclose()


async def test_a_primary_without_its_replicas_is_left(tmp_path: Path) -> None:
    """As one that was cut off with us, while its replica was promoted."""
    async with pair(tmp_path, "--min-replicas-to-write", "1", "--min-replicas-max-lag", "1") as two:
        redis = connect(two.way.redis_url, 5.0, 4)
        await until(lambda: succeeds(redis))
        async with two.second.client as client:
            await client.replicaof("NO", "ONE")
        async with two.first.client as client:

            async def is_alone() -> bool:
                return bool((await client.info("replication"))["min_slaves_good_slaves"] == 0)

            await until(is_alone)
        two.way.target_port = two.second.port
        assert await failures(command, redis, 20) == 1
        await redis.aclose()


async def succeeds(redis: Redis) -> bool:
    try:
        await command(redis)
    except RedisError:
        return False
    return True


async def test_a_replica_that_has_no_primary_is_left(tmp_path: Path) -> None:
    async with pair(tmp_path, "--replica-serve-stale-data", "no") as two, proxy(two.second.port) as link:
        redis = connect(two.way.redis_url, 5.0, 4)
        await redis.get("told")
        link.refuses = True
        await two.fail_over(link_port=link.port)
        assert await failures(read, redis, 20) == 1
        await redis.aclose()


@pytest.mark.parametrize("refusal", ["LOADING Valkey is loading", "MOVED 1 127.0.0.1:1", "CLUSTERDOWN down"])
async def test_what_else_says_that_a_server_is_the_wrong_one(tmp_path: Path, refusal: str) -> None:
    """A server says these when it is in a state that a test can't hold it in."""
    async with pair(tmp_path) as two:
        redis = connect(two.way.redis_url, 5.0, 4)
        await redis.get("told")
        two.way.alters = lambda _: f"-{refusal}\r\n".encode()
        with pytest.raises(RedisError):
            await redis.get("told")
        two.way.alters = None
        await two.fail_over()
        await redis.set("told", "1")
        await redis.aclose()


@pytest.mark.parametrize("refusal", ["OOM command not allowed", "NOPERM no", "ERR wrong", "WRONGTYPE"])
async def test_an_error_of_the_right_server_costs_no_connection(tmp_path: Path, refusal: str) -> None:
    async with pair(tmp_path) as two:
        redis = connect(two.way.redis_url, 5.0, 4)
        before = await redis.client_id()
        two.way.alters = lambda _: f"-{refusal}\r\n".encode()
        with pytest.raises(RedisError):
            await redis.get("told")
        two.way.alters = None
        assert await redis.client_id() == before
        await redis.aclose()


async def test_rates_and_leases_leave_it_too(tmp_path: Path) -> None:
    async with pair(tmp_path) as two:
        redis = connect(two.way.redis_url, 5.0, 8)
        rates = Rates(LimitsSettings(publish_rate="1/hour"), redis, Metrics())
        leases = Leases(redis, Member("here", 1))
        identity: Any = somebody("42")
        request: Request | Any = None
        assert await leases.take("user 42", "stream", 1, replace=False) is not None
        await two.fail_over()
        await rates.check("publish", identity, request)
        assert await leases.take("user 42", "other", 1, replace=False) is None, (
            "it is counted in Redis, and the first is known"
        )
        await rates.check("publish", identity, request)
        async with two.second.client as client:
            assert [key async for key in client.scan_iter("*rate*")]
        await redis.aclose()
