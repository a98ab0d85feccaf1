"""A house: one log, with a gateway on it for each exchange, that all tests of a module may use.

Tests keep out of each other's way by having a channel each.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx2
from structlog.testing import capture_logs

from realtime.app import Worker
from realtime.delivery.state import State
from tests.conformance.exchanges import EXCHANGES
from tests.conformance.ways import PLUGINS, TRANSPORTS
from tests.support.gateway import Gateway, settings, unmeasured
from tests.support.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from pathlib import Path

    from realtime.delivery.attachment import Attachment
    from tests.conformance.exchanges import Exchange

_SEND_BUFFER = 32 * 1024
QUICK = {
    "TRANSPORTS__PLUGINS": json.dumps(PLUGINS),
    "POLICY__PREFERENCE": json.dumps(list(TRANSPORTS)),
    "AUTH__ANONYMOUS_SCOPES": '["topic:public.*"]',
    "SSE__RETRY": "10ms",
    "SSE__HEARTBEAT": "200ms",
    "LONG_POLL__HOLD": "400ms",
    "POLLING__INTERVAL": "50ms",
}
"""Settings under which nobody waits long."""


class Place(Gateway):
    """A gateway behind one exchange."""

    def __init__(self, gateway: Gateway, buffered: Callable[[], int]) -> None:
        super().__init__(gateway.url, gateway.worker, gateway.http)
        self.buffered = buffered

    @property
    def attachments(self) -> set[Attachment]:
        """Who is attached."""
        return self.worker.engine.hub.attachments

    async def stalled(self) -> None:
        """Wait until a client that doesn't read is left alone."""
        await until(lambda: any(one.state is State.STALLED for one in self.attachments))

    async def number(self, count: int, channel: str, first: int = 0) -> list[str]:
        """Publish so many events with ``data`` counting from `first`; return their ids."""
        return await self.publish(*({"data": first + at} for at in range(count)), channel=channel)


House = dict[str, Place]
"""The gateways by the name of their exchange."""


@asynccontextmanager
async def open_house(
    directory: Path, redis_url: str, overrides: Mapping[str, str] | None = None
) -> AsyncIterator[House]:
    """Run a gateway for each exchange until the block ends; whatever any of them complains about fails the test."""
    async with AsyncExitStack() as stack:
        stack.enter_context(_no_complaints())
        yield {
            name: await stack.enter_async_context(_place(exchange, directory, redis_url, overrides or {}))
            for name, exchange in EXCHANGES.items()
        }


@asynccontextmanager
async def _place(
    exchange: Exchange, directory: Path, redis_url: str, overrides: Mapping[str, str]
) -> AsyncIterator[Place]:
    worker = Worker(settings(directory, redis_url, {**QUICK, **overrides}), redis_url)
    listening = _listen()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
    async with (
        exchange(worker, listening) as buffered,
        httpx2.AsyncClient(base_url=url, timeout=PATIENCE_S, limits=limits) as http,
    ):
        await _until_ready(http)
        unmeasured(worker)
        yield Place(Gateway(url, worker, http), buffered)


def _listen() -> socket.socket:
    """Listen with a small buffer in the kernel, so that what a client doesn't read is soon the service's to keep."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    listening.bind(("127.0.0.1", 0))
    listening.listen(1024)
    return listening


async def _until_ready(http: httpx2.AsyncClient) -> None:
    async def is_ready() -> bool:
        try:
            return (await http.get("/readyz")).status_code == 200
        except httpx2.TransportError:
            return False

    await until(is_ready)


@contextmanager
def _no_complaints() -> Iterator[None]:
    """Fail when a server, the service or the event loop logs an error or has an exception that nobody takes."""
    complaints: list[object] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: complaints.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    try:
        with capture_logs() as lines:
            yield
    finally:
        loop.set_exception_handler(None)
        logging.getLogger().removeHandler(handler)
    complaints += [line for line in lines if line["log_level"] in {"error", "critical"}]
    assert not complaints, "\n".join(map(repr, complaints))


def new_channel() -> str:
    """Return a channel that no other test uses."""
    return uuid4().hex
