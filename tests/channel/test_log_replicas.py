"""Real replication: what a promoted replica has is judged by what it has, and a log is never two."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from realtime.channel.log import Log
from realtime.connect import connect
from tests.channel.events import EVERYONE, publish
from tests.channel.model import ROOMY
from tests.support.redis import RedisServer
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from redis.asyncio import Redis


@pytest.fixture(params=["valkey", "redis"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Redis, Redis]]:
    """Two servers, neither a replica yet."""
    servers = [RedisServer(tmp_path / name, request.param) for name in ("a", "b")]
    await asyncio.gather(*[server.start() for server in servers])
    clients = [connect(server.url, 5.0, 4) for server in servers]
    yield clients[0], clients[1]
    for client in clients:
        await client.aclose()
    for server in servers:
        server.stop()


async def follow(replica: Redis, primary: Redis) -> None:
    """Make a server a replica, and wait until it has everything."""
    port = primary.connection_pool.connection_kwargs["port"]
    await replica.replicaof("127.0.0.1", port)

    async def is_up() -> bool:
        here, there = await replica.info("replication"), await primary.info("replication")
        return here.get("master_link_status") == "up" and here["slave_repl_offset"] == there["master_repl_offset"]

    await until(is_up)


async def promote(replica: Redis) -> None:
    await replica.replicaof("NO", "ONE")


async def test_a_promoted_replica_goes_on_in_an_epoch_of_its_own(pair: tuple[Redis, Redis]) -> None:
    first, second = pair
    log = Log(first, ROOMY)
    before = await publish(log, "broadcast", "broadcast")
    await follow(second, first)
    await promote(second)
    successor = Log(second, ROOMY)
    (after,) = await publish(successor, "broadcast")
    assert after.epoch != before[0].epoch
    assert [(await successor.check(cursor)).good for cursor in (*before, after)] == [True, True, True]
    replay = await successor.replay(EVERYONE, before[0], after, 10)
    assert [entry.id for entry in replay.entries] == [before[1], after]
    (beside,) = await publish(log, "broadcast")
    assert not (await successor.check(beside)).good
    assert not (await log.check(after)).good


async def test_a_primary_that_was_set_back_to_a_lagging_copy_and_promoted_again_knows_it(
    pair: tuple[Redis, Redis],
) -> None:
    """The process is the same, its data are older, and nobody wrote to the successor meanwhile."""
    first, second = pair
    log = Log(first, ROOMY)
    (kept,) = await publish(log, "broadcast")
    await follow(second, first)
    await promote(second)
    (lost,) = await publish(log, "broadcast")
    await follow(first, second)
    await promote(first)
    (after,) = await publish(log, "broadcast")
    assert after > lost
    assert after.epoch != lost.epoch
    assert not (await log.check(lost)).good
    assert not (await log.check(kept)).good, "who appended knew what was lost"


async def test_a_replica_takes_nothing(pair: tuple[Redis, Redis]) -> None:
    first, second = pair
    await publish(Log(first, ROOMY), "broadcast")
    await follow(second, first)
    with pytest.raises(Exception, match=r"the log does not answer \(ReadOnlyError\)"):
        await publish(Log(second, ROOMY), "broadcast")
