"""Two servers that part: a worker on the side that will be lost, and one on the side that stays."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.control.workers import Worker, worker
from tests.support.proxy import Proxy, proxy
from tests.support.redis import RedisServer
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from redis.asyncio import Redis


@dataclass
class Split:
    """The servers `first`, which will be lost, and `second`, which stays; each worker has its own way to them."""

    first: RedisServer
    second: RedisServer
    link: Proxy
    lost_way: Proxy
    kept_way: Proxy
    lost: Worker
    kept: Worker

    async def part(self) -> None:
        """Promote the second server and lead `kept` there; `lost` stays with the first, which doesn't know of it."""
        async with self.first.client as one, self.second.client as other:
            await until(lambda: _is_level(one, other))
            self.link.refuses = True
            self.link.cut()
            await other.replicaof("NO", "ONE")
        self.kept_way.target_port = self.second.port
        self.kept_way.cut()
        await until(lambda: not self.kept.control.is_away)

    async def heal(self) -> None:
        """Give the first server up, and lead `lost` to the second."""
        async with self.first.client as one:
            await one.replicaof("127.0.0.1", self.second.port)
        self.lost_way.target_port = self.second.port
        self.lost_way.cut()


async def _is_level(one: Redis, other: Redis) -> bool:
    ahead, behind = await one.info("replication"), await other.info("replication")
    return bool(ahead["master_repl_offset"] == behind.get("slave_repl_offset"))


@asynccontextmanager
async def split(directory: Path) -> AsyncIterator[Split]:
    """Run two servers, the second a replica of the first, and two workers on the first."""
    first, second = RedisServer(directory / "first"), RedisServer(directory / "second")
    try:
        await first.start()
        await second.start()
        async with proxy(first.port) as link, proxy(first.port) as lost_way, proxy(first.port) as kept_way:
            async with second.client as client:
                await client.replicaof("127.0.0.1", link.port)
            async with worker(lost_way.redis_url) as lost, worker(kept_way.redis_url) as kept:
                yield Split(first, second, link, lost_way, kept_way, lost, kept)
    finally:
        first.stop()
        second.stop()
