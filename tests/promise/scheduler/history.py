"""Histories on two Valkeys that run as long as it takes: made from a plan, and shrunk when they fail."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import structlog

from tests.promise.scheduler.gateway import Parts
from tests.promise.scheduler.kernel import simulated
from tests.promise.scheduler.server import Server
from tests.promise.scheduler.world import Outcome, World
from tests.support.redis import RedisServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.promise.scheduler.steps import Plan


_ARGUMENTS: Final = ("--appendonly", "no", "--stream-node-max-entries", "2")
"""Streams are trimmed by whole nodes: small ones, so that it is seen what trimming does."""


class Stage:
    """Where histories are made."""

    def __init__(self, directory: Path, servers: Sequence[Server], library: str, parts: Parts) -> None:
        self._directory = directory
        self._servers = servers
        self._library = library
        self._parts = parts

    async def make(self, plan: Plan) -> Outcome:
        """Make a history."""
        with TemporaryDirectory(dir=self._directory) as data_dir:
            return await World(plan, self._servers, self._library, self._parts, Path(data_dir)).run()

    async def shrink(self, outcome: Outcome) -> Outcome:
        """Find few steps of a history that lead to a fault of the same kind (delta debugging)."""
        kind, best = outcome.faults[0].kind, outcome
        size = max(1, len(best.plan.steps) // 2)
        while True:
            at = 0
            while at < len(best.plan.steps):
                steps = best.plan.steps
                tried = await self.make(best.plan.only(steps[:at] + steps[at + size :]))
                if any(fault.kind == kind for fault in tried.faults):
                    best = tried
                else:
                    at += size
            if size == 1:
                return best
            size //= 2


@asynccontextmanager
async def stage(
    directory: Path, changes: Sequence[tuple[str, str]] = (), parts: Parts | None = None
) -> AsyncIterator[Stage]:
    """Start two servers that keep nothing, until the block ends."""
    structlog.configure(processors=[_silent])
    running = [RedisServer(directory / name, arguments=_ARGUMENTS) for name in ("A", "B")]
    try:
        for one in running:
            await one.start()
        servers = [Server(name, one) for name, one in zip("AB", running, strict=True)]
        yield Stage(directory, servers, simulated(changes), parts or Parts())
        for server in servers:
            server.close()
    finally:
        for one in running:
            one.stop()
        structlog.reset_defaults()


def _silent(*_: object) -> dict[str, object]:
    raise structlog.DropEvent
