"""Starts the parts of a gateway in their order, and keeps them together: one fails, all end."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from realtime import logs
from realtime.app import gateway_id
from realtime.app.mistrust import mistrust
from realtime.config import Live
from realtime.embedded import Embedded
from realtime.fleet import Member
from realtime.metrics import Share, bury
from realtime.server import address, files, producing, stopping, worker
from realtime.server.child import Child
from realtime.server.gateway import run_gateway
from realtime.server.notify import READY, notify
from realtime.server.reloading import Reloading
from realtime.supervisor import Supervisor

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from realtime.app import Worker
    from realtime.config import Settings, Source, Taken
    from realtime.server.stopping import Ending


def serve(source: Source, announce: Callable[[str], None], *, demo: Path | None = None) -> None:
    """Run a gateway until SIGINT or SIGTERM; call `announce` with its address once clients may come.

    What is edited in the configuration meanwhile is taken on where it can be. To be called from the main thread of a
    process that has nothing else to do. With `demo`, the demo's page and producer are part of it, the producer hashes
    the files below that folder, and all ends with the process that started this one.

    Raises:
        StartError: it can't start; nothing was left running.
    """
    settings, reloading = source.load(), Reloading(source)
    if demo is not None:  # nobody else is there to take the clients of a demonstration
        settings = settings.model_copy(update={"server": settings.server.model_copy(update={"drain": 0})})
    started_by = os.getppid()
    logs.configure(settings)
    files.raise_limit(settings)
    ending = stopping.Ending()
    stopping.run(
        _whole(settings, reloading, ending, announce, demo=demo),
        ending,
        tied_to=started_by if demo is not None else None,
        hung_up=reloading.hang_up,
    )


async def _whole(
    settings: Settings, reloading: Reloading, ending: Ending, announce: Callable[[str], None], *, demo: Path | None
) -> None:
    with ExitStack() as bound:
        socks = address.bind(settings.server, shared=settings.server.workers > 1)
        for sock in socks:
            bound.enter_context(closing(sock))
        async with _log_url(settings) as redis_url:
            await _Parts(settings, reloading, ending, redis_url, socks, demo).run(announce)


@asynccontextmanager
async def _log_url(settings: Settings) -> AsyncIterator[str]:
    """Yield the address of the configured Redis, or of a private Valkey, which is there until the context ends.

    Raises:
        StartError: the private Valkey can't be started.
    """
    if settings.redis.url is not None:
        yield settings.redis.url
        return
    embedded = Embedded(fsync=settings.history.durability == "fsync", crashed=partial(mistrust, settings))
    try:
        url = await embedded.start(settings.data_dir)
        async with Supervisor() as supervisor:
            supervisor.start("valkey", embedded.supervise)
            yield url
    finally:
        await embedded.stop()


@dataclass(frozen=True, slots=True)
class _Parts:
    """What runs once there is a port and a log."""

    settings: Settings
    reloading: Reloading
    ending: Ending
    redis_url: str
    socks: Sequence[socket.socket]
    demo: Path | None

    async def run(self, announce: Callable[[str], None]) -> None:
        """Run all of them until one fails or we are cancelled; then end all of them.

        Raises:
            StartError: one can't start.
        """
        try:
            with ExitStack() as stack:
                folder = ""
                if self.settings.server.workers > 1:
                    folder = stack.enter_context(TemporaryDirectory(prefix="gapless-metrics-"))
                await self._run(announce, folder)
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors

    async def _run(self, announce: Callable[[str], None], folder: str) -> None:
        async with Supervisor() as supervisor, asyncio.TaskGroup() as group:
            for ready in self._gateway(group, supervisor, folder):
                await ready.wait()
            url = address.url(self.socks[0])
            announce(url)
            notify(READY)
            if self.demo is not None:
                group.create_task(Child("producer", producing.work, (self.settings, url, self.demo)).keep())

    def _gateway(self, group: asyncio.TaskGroup, supervisor: Supervisor, folder: str) -> list[asyncio.Event]:
        """Begin to serve, here or in workers that keep their metrics in a folder; return what tells that each does."""
        workers = self.settings.server.workers
        if workers == 1:
            ready = asyncio.Event()
            serving = run_gateway(
                self.settings,
                self.redis_url,
                self.socks,
                ready.set,
                self.ending,
                demo=self.demo is not None,
                beside=self._reload_here,
            )
            group.create_task(serving)
            return [ready]
        gateway, places = gateway_id(), [address.Place.of(sock) for sock in self.socks]
        children = []
        for number in range(1, workers + 1):
            share = Share(folder, number)
            arguments = (self.settings, self.redis_url, places, self.demo is not None, Member(gateway, number), share)
            children.append(
                Child(
                    f"worker-{number}", worker.work, arguments, partial(bury, share), self._patience_s, signal.SIGQUIT
                )
            )
            group.create_task(children[-1].keep())
        live = Live(self.settings)
        live.on_change(logs.configure)
        supervisor.start("configuration", partial(self._reload_in, live, children))
        return [child.ready for child in children]

    def _patience_s(self) -> float:
        """Return how long a worker may drain when it is ended."""
        return self.settings.server.drain / 1000 if self.ending.drains else 0.0

    async def _reload_here(self, here: Worker) -> None:
        await self.reloading.run(here.reload)

    async def _reload_in(self, live: Live, workers: Sequence[Child]) -> None:
        """Read the configuration once for all workers: what one takes on, all do."""

        def take(found: Settings) -> Taken:
            for one in workers:
                one.tell(found)
            return live.take(found)

        await self.reloading.run(take)
