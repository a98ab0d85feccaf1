"""A follower of a test's own, with its window and what it told its sink; moved by hand, or left to run."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from realtime.channel.follower import Follower
from realtime.channel.window import Window
from realtime.connect import connect
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from redis.asyncio import Redis

    from realtime.channel.event import Cursor, Entry
    from realtime.channel.log import Log


@dataclass
class Sink:
    """Writes down what it is told."""

    ticks: list[list[Cursor]] = field(default_factory=list)
    restarts: list[Cursor] = field(default_factory=list)

    def extended(self, entries: Sequence[Entry]) -> None:
        self.ticks.append([entry.id for entry in entries])

    async def settled(self) -> None:
        pass

    def restarted(self, base: Cursor) -> None:
        self.restarts.append(base)


class Line:
    """What a follower reads by: it leads to one server until it is closed, and then to where a new one leads."""

    def __init__(self, leads_to: Callable[[], Redis]) -> None:
        self._leads_to = leads_to
        self._server = leads_to()
        self.closed = 0

    async def execute_command(self, *command: Any) -> Any:  # noqa: ANN401 - what the client returns
        return await self._server.execute_command(*command)  # type: ignore[no-untyped-call]

    async def aclose(self) -> None:
        self.closed += 1
        self._server = self._leads_to()


class Following:
    """A follower and its surroundings."""

    def __init__(self, log: Log, redis: Redis, events: int = 1_000, size: int = 1 << 20) -> None:
        self.log = log
        self.redis = redis
        self.window = Window(events, size)
        self.sink = Sink()
        self.line = Line(lambda: self.redis)
        self.follower = Follower(log, self.window, lambda: redis, self.sink)

    async def tick(self) -> None:
        """Read on once, without waiting."""
        await self.follower.read_on(cast("Redis", self.line), None)

    @property
    def ids(self) -> list[Cursor]:
        """What the window holds, oldest first."""
        return [entry.id for entry in self.window._entries]  # noqa: SLF001 - all of it, markers too


@asynccontextmanager
async def running(log: Log, url: str, wait_s: float = 3.0) -> AsyncIterator[Following]:
    """Let a follower run on connections of its own, that are waited for so long."""
    made: list[Redis] = []

    def make() -> Redis:
        made.append(connect(url, wait_s, 1))
        return made[-1]

    following = Following(log, log._redis)  # noqa: SLF001 - not used by a follower that runs
    following.follower = Follower(log, following.window, make, following.sink)
    task = asyncio.create_task(following.follower.run())
    try:
        await until(lambda: following.follower.filled)
        yield following
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        for client in made:
            await client.aclose()
