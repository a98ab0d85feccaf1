"""The exchanges: the ways in which answers are written, each with a server around it.

An exchange joins the suite by one line in `EXCHANGES`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import hypercorn.asyncio
import uvicorn
from hypercorn.asyncio.tcp_server import TCPServer

from realtime.delivery.direct import lane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from socket import socket

    from realtime.app import Worker

    Buffered = Callable[[], int]
    """Counts the bytes that the server holds because its clients don't read."""
    Exchange = Callable[[Worker, socket], AbstractAsyncContextManager[Buffered]]
    """Serves on a listening socket, and owns it, until the block ends."""

_GRACE_S = 2


class _Server(uvicorn.Server):
    """A server that leaves the signal handlers to the test runner."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def asgi_on_uvicorn(worker: Worker, listening: socket) -> AbstractAsyncContextManager[Buffered]:
    return _on_uvicorn(worker, listening, "httptools")


def direct_on_uvicorn(worker: Worker, listening: socket) -> AbstractAsyncContextManager[Buffered]:
    return _on_uvicorn(worker, listening, lane(worker.taker, worker.engine.watch))


@asynccontextmanager
async def _on_uvicorn(worker: Worker, listening: socket, http: Any) -> AsyncIterator[Buffered]:  # noqa: ANN401 - uvicorn's option
    config = uvicorn.Config(
        worker.asgi,
        http=http,
        proxy_headers=False,
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_GRACE_S,
        timeout_keep_alive=75,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve([listening]))
    yield lambda: sum(_waiting(protocol.transport) for protocol in server.server_state.connections)
    worker.close_answers()
    server.should_exit = True
    await serving


@asynccontextmanager
async def asgi_on_hypercorn(worker: Worker, listening: socket) -> AsyncIterator[Buffered]:
    config = hypercorn.Config()
    config.bind = [f"fd://{listening.detach()}"]
    config.errorlog = logging.getLogger("tests.hypercorn")
    config.graceful_timeout = _GRACE_S
    config.keep_alive_timeout = 75
    stop = asyncio.Event()
    serving = asyncio.create_task(hypercorn.asyncio.serve(worker.asgi, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
    yield lambda: sum(_waiting(connection.writer.transport) for connection in _hypercorn_connections())
    worker.close_answers()
    stop.set()
    await serving


EXCHANGES: dict[str, Exchange] = {
    "direct on uvicorn": direct_on_uvicorn,
    "asgi on uvicorn": asgi_on_uvicorn,
    "asgi on hypercorn": asgi_on_hypercorn,
}


def _waiting(transport: Any) -> int:  # noqa: ANN401 - asyncio's or uvloop's
    size: int = transport.get_write_buffer_size()
    return size


def _hypercorn_connections() -> list[TCPServer]:
    """Find hypercorn's connections, of which it keeps no list."""
    return [one for one in gc.get_objects() if type(one) is TCPServer]
