"""The fleet as processes: two gateways of two workers each, on one Redis that dies and comes back."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from realtime.auth import Credentials
from tests.live.support import ORDER, names
from tests.support.gateway import SECRET, settings
from tests.support.operator import Operator
from tests.support.program import is_alive, program
from tests.support.redis import RedisServer
from tests.support.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.program import Program

WORKERS = 4


class Fleet:
    """The two gateways, and an operator with a token that both know."""

    def __init__(self, directory: Path, redis: RedisServer, stack: AsyncExitStack) -> None:
        self.directory = directory
        self.redis = redis
        self.gateways: dict[str, tuple[Program, str]] = {}
        self._stack = stack
        credentials = Credentials(settings(directory, redis.url), SECRET)
        self.headers = {"Authorization": f"Bearer {credentials.mint('alice', roles=('admin',))}"}

    async def start(self, name: str) -> None:
        """Start a gateway, and wait until it takes clients."""
        (self.directory / name).mkdir(exist_ok=True)
        environ = {"GAPLESS_AUTH__SECRET": SECRET, "GAPLESS_REDIS__URL": self.redis.url}
        starting = program(self.directory / name, "serve", "--port", "0", "--workers", "2", environ=environ)
        running = await self._stack.enter_async_context(starting)
        self.gateways[name] = (running, await running.address())

    @property
    def urls(self) -> list[str]:
        return [url for _, url in self.gateways.values()]

    async def end(self, name: str) -> None:
        """End a gateway as a deployment does."""
        running, _ = self.gateways.pop(name)
        running.process.terminate()
        await running.ended()

    @asynccontextmanager
    async def visiting(self, url: str) -> AsyncIterator[httpx2.AsyncClient]:
        """Make every request on a connection of its own, so that either worker may answer."""
        limits = httpx2.Limits(max_keepalive_connections=0)
        async with httpx2.AsyncClient(
            base_url=url, timeout=PATIENCE_S, limits=limits, verify=False, trust_env=False
        ) as http:
            yield http

    async def ask(self, url: str, path: str) -> dict[str, Any]:
        async with self.visiting(url) as http:
            return await Operator(http, self.headers).get(path)

    async def prefer(self, *preference: str) -> int:
        async with self.visiting(self.url) as http:
            return await Operator(http, self.headers).prefer(*preference)

    @property
    def url(self) -> str:
        """The gateway that stays."""
        return self.gateways["here"][1]

    async def workers(self) -> list[dict[str, Any]]:
        """Return what each worker told of itself last."""
        found = (await self.ask(self.url, "/gateways"))["gateways"]
        return [worker for one in found for worker in one["workers"]]

    async def has(self, count: int) -> bool:
        """Tell whether so many workers tell of themselves, and are ready."""
        return [worker["ready"] for worker in await self.workers()] == [True] * count

    async def decided(self, url: str) -> set[str]:
        """Negotiate so often that both workers are asked; return the first transports."""
        async with self.visiting(url) as http:
            asked = [http.post("/api/v1/events/negotiate", json={}, headers=self.headers) for _ in range(8)]
            answers = await asyncio.gather(*asked)
        assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
        return {names(answer.json()["decision"])[0] for answer in answers}

    async def all_obey(self, transport: str) -> bool:
        return set.union(*[await self.decided(url) for url in self.urls]) == {transport}


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    redis = RedisServer(tmp_path / "redis")
    await redis.start()
    async with AsyncExitStack() as stack:
        fleet = Fleet(tmp_path, redis, stack)
        await asyncio.gather(fleet.start("here"), fleet.start("there"))
        await until(lambda: fleet.has(WORKERS))
        yield fleet
    redis.stop()


async def test_all_workers_obey_and_remember_it_whoever_dies(fleet: Fleet) -> None:
    # A change at one is in force at all.
    revision = await fleet.prefer("polling", *ORDER[:2])
    await until(lambda: fleet.all_obey("polling"))

    # A worker that hangs is started again; the one in its place knows the policy.
    victim = next(pid for pid, command in fleet.gateways["there"][0].processes().items() if is_worker(command))
    os.kill(victim, signal.SIGSTOP)
    await until(lambda: not is_alive(victim))
    await until(lambda: fleet.has(WORKERS))
    assert await fleet.all_obey("polling")

    # A gateway that is ended is forgotten at once.
    await fleet.end("there")
    await until(lambda: fleet.has(WORKERS // 2))

    # Redis dies: the last policy counts, and it is said that it may be old.
    fleet.redis.kill()

    async def is_stale() -> bool:
        found = await fleet.ask(fleet.url, "/policy")
        assert found["revision"] == revision
        return bool(found["stale"])

    await until(is_stale)

    # It comes back, with other gateways beside: they have the policy too.
    await fleet.redis.start()
    await fleet.start("there")
    assert await fleet.all_obey("polling")

    async def is_fresh() -> bool:
        return not (await fleet.ask(fleet.url, "/policy"))["stale"]

    await until(is_fresh)
    await until(lambda: fleet.has(WORKERS))

    async def all_tell_it() -> bool:
        return {worker["revision"] for worker in await fleet.workers()} == {revision}

    await until(all_tell_it)


def is_worker(command: str) -> bool:
    return "multiprocessing.spawn" in command
