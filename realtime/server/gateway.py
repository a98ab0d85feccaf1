"""The service on uvicorn, in one process, until it is cancelled."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import uvicorn

from realtime import logs
from realtime.app import Worker
from realtime.delivery.direct import lane
from realtime.demo import page
from realtime.server.address import port_in_use, url

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from realtime.config import Settings
    from realtime.fleet import Member
    from realtime.metrics import Share
    from realtime.server.stopping import Ending

_COLLECTED_EVERY: Final = (20_000, 20, 20)
"""Objects that were made and not freed, and how many lesser collections make a larger one."""
_BACKLOG: Final = 4096
_LAST_ANSWERS_S: Final = 2
"""How long requests that are being answered at the end may take, once every stream and held answer was ended."""


class Gateway(uvicorn.Server):
    """Uvicorn, ended by its caller: signals are `realtime.server.run`'s, which has more to end than this."""

    def __init__(self, settings: Settings, worker: Worker, ready: Callable[[], None]) -> None:
        """Prepare to serve; `ready` is called once clients may be sent here."""
        super().__init__(_config(settings, worker))
        self._worker = worker
        self._ready = ready
        self._was_ready = False

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none, and raise none again when all is done."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Do what uvicorn does ten times a second, and tell when the window is filled."""
        if not self._was_ready:
            self._was_ready = self._worker.is_ready
            if self._was_ready:
                self._ready()
        return await super().on_tick(counter)

    async def drain(self) -> None:
        """Send every client away in its time; new ones are told to go elsewhere meanwhile."""
        await self._worker.drain()

    def stop(self) -> None:
        """End every answer, and take no more connections."""
        self._worker.close_answers()
        self.should_exit = True


async def run_gateway(  # noqa: PLR0913 - what there is before a worker, and what goes with it
    settings: Settings,
    redis_url: str,
    socks: Sequence[socket.socket],
    ready: Callable[[], None],
    ending: Ending,
    *,
    demo: bool = False,
    member: Member | None = None,
    share: Share | None = None,
    beside: Callable[[Worker], Coroutine[object, object, None]] | None = None,
) -> None:
    """Serve on bound sockets until cancelled; then drain, if that is how it is to end, and end everything.

    One of several workers is told which it is, and where it keeps its metrics. `beside(worker)` runs as long as the
    worker does, and is started again when it ends.

    Raises:
        StartError: the log can't be used, or the port was taken in the meantime.
    """
    worker = Worker(settings, redis_url, member, share)
    worker.live.on_change(logs.configure)
    if demo:
        page.register(worker.quart, worker.credentials, worker.sessions)
    _spare_the_collector()
    try:
        await worker.start()
        if beside is not None:
            worker.engine.supervisor.start("configuration", partial(beside, worker))
        await _serve(Gateway(settings, worker, ready), socks, ending)
    finally:
        await worker.stop()


def _spare_the_collector() -> None:
    """Have the garbage collector look less often, and never at what is here to stay.

    What serves a request is freed as it ends; to look at all that thousands of clients hold, every 700 objects, finds
    nothing and costs the more the more there are.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTED_EVERY)


async def _serve(gateway: Gateway, socks: Sequence[socket.socket], ending: Ending) -> None:
    place = url(socks[0]).removeprefix("http://")
    serving = asyncio.create_task(gateway.serve(list(socks)))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        if ending.drains:
            await _first(gateway.drain(), ending.hurried.wait())
        gateway.stop()
        await serving
        raise
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise port_in_use(place) from error
        raise


async def _first(*works: Coroutine[None, None, object]) -> None:
    """Wait for the first of several works, and end the others."""
    tasks = [asyncio.create_task(work) for work in works]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _config(settings: Settings, worker: Worker) -> uvicorn.Config:
    level = logging.getLevelNamesMapping()[settings.log.level.upper()]
    return uvicorn.Config(
        worker.asgi,
        loop="none",  # one runs already
        http=lane(worker.taker, worker.engine.watch),
        ws="none",
        lifespan="off",  # the worker is started and stopped here, where what goes wrong can be told
        interface="asgi3",
        log_config=None,
        log_level=max(level, logging.WARNING),  # that it starts and ends is said by ourselves
        access_log=False,
        proxy_headers=False,  # `realtime.peer` reads them, under any server
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=-(-settings.server.keep_alive // 1000),
        timeout_graceful_shutdown=_LAST_ANSWERS_S,
    )
