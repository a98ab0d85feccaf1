"""A real gateway: the service under a real uvicorn on a real socket, in the test's own event loop."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import uvicorn

from realtime.app import Worker
from realtime.config import Settings, load
from realtime.delivery.direct import lane
from realtime.delivery.state import State
from tests.support.ports import free_port
from tests.support.stream import EventStream, Message
from tests.support.waiting import PATIENCE_S, patience, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

SECRET = "a secret for tests that is long enough"


def settings(directory: Path, redis_url: str, overrides: Mapping[str, str] | None = None) -> Settings:
    """Build settings as a process would: from the environment. Names without GAPLESS_, e.g. ``SSE__HEARTBEAT``."""
    given = {
        "DATA_DIR": str(directory),
        "REDIS__URL": redis_url,
        "REDIS__TIMEOUT": "5s",  # a machine that stalls is no Redis that is away
        "AUTH__SECRET": SECRET,
        "LIMITS__STREAMS_PER_USER": "0",  # most tests are one user's, with many streams
        **(overrides or {}),
    }
    return load(environ={f"GAPLESS_{name}": value for name, value in given.items()})


@dataclass
class Gateway:
    """One running gateway, and a client of it."""

    url: str
    worker: Worker
    http: httpx2.AsyncClient

    async def holds(self, sub: str, count: int = 1) -> None:
        """Wait until so many answers to a subject wait at the tail for the next event."""

        def are_held() -> bool:
            found = self.worker.engine.hub.attachments
            return sum(one.plan.context.sub == sub and one.state is State.LIVE for one in found) >= count

        await until(are_held)

    def token(self, sub: str = "42", *, roles: tuple[str, ...] = (), scopes: tuple[str, ...] = (), **more: Any) -> str:  # noqa: ANN401 - as `mint` takes them
        """Mint a token; `more` are further arguments of `Credentials.mint`."""
        arguments = {"roles": roles, "scopes": scopes, "channel": "main", "ttl_s": 3600, **more}
        return self.worker.credentials.mint(sub, **arguments)

    def bearer(self, sub: str = "42", **more: Any) -> dict[str, str]:  # noqa: ANN401 - as `mint` takes them
        return {"Authorization": f"Bearer {self.token(sub, **more)}"}

    async def publish(self, *events: Mapping[str, Any], channel: str = "main") -> list[str]:
        """Publish events (``event`` and ``data`` have defaults) and return their ids."""
        full = [{"event": "test.happened", "scope": "broadcast", "data": None, **event} for event in events]
        headers = self.bearer("publisher", roles=("publisher",), channel=channel)
        answer = await self.http.post("/api/v1/events", json={"events": full}, headers=headers)
        assert answer.status_code == 201, answer.text
        return [one["id"] for one in answer.json()["events"]]

    async def negotiate(self, sub: str = "42", body: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - as `mint` takes them
        answer = await self.http.post("/api/v1/events/negotiate", json=body or {}, headers=self.bearer(sub, **more))
        assert answer.status_code == 200, answer.text
        value: dict[str, Any] = answer.json()
        return value

    @asynccontextmanager
    async def stream(self, headers: Mapping[str, str], **query: str) -> AsyncIterator[Stream]:
        """Open an SSE stream."""
        async with self.http.stream("GET", "/api/v1/events/stream", params=query, headers=dict(headers)) as answer:
            yield Stream(answer)


class Stream:
    """An SSE answer, read message by message."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.answer = answer
        self.parser = EventStream()
        self.parts = 0
        """How many pieces of it were read: a write of the server is one, unless it is large."""
        self._text = answer.aiter_text()
        self._ready: list[Message] = []

    async def next(self) -> Message:
        """Wait for the next event; `StopAsyncIteration` at the end of the answer."""
        async with patience():
            while not self._ready:
                text = await anext(self._text)
                self.parts += 1
                self._ready.extend(self.parser.feed(text))
        return self._ready.pop(0)

    async def envelope(self, event: str | None = None) -> dict[str, Any]:
        """Wait for the next envelope; with `event`, for the next of that type."""
        while True:
            message = await self.next()
            if event in (None, message.event):
                value: dict[str, Any] = json.loads(message.data)
                return value

    async def rest(self) -> list[Message]:
        """Read to the end of the answer."""
        async with patience():
            async for text in self._text:
                self._ready.extend(self.parser.feed(text))
        ready, self._ready = self._ready, []
        return ready


class QuietServer(uvicorn.Server):
    """A server that leaves the signal handlers to the test runner."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def gateway(
    directory: Path, redis_url: str, overrides: Mapping[str, str] | None = None, *, port: int | None = None
) -> AsyncIterator[Gateway]:
    """Run a gateway until the block ends."""
    worker = Worker(settings(directory, redis_url, overrides), redis_url)
    port = port or free_port()
    config = uvicorn.Config(
        worker.asgi,
        host="127.0.0.1",
        port=port,
        http=lane(worker.taker, worker.engine.watch),  # as `gapless serve` has it; the conformance suite has the others
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
        timeout_keep_alive=75,
    )
    server = QuietServer(config)
    serving = asyncio.create_task(server.serve())
    url = f"http://127.0.0.1:{port}"
    async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE_S, limits=httpx2.Limits(max_connections=None)) as http:
        await _until_ready(http, serving)
        unmeasured(worker)
        try:
            yield Gateway(url, worker, http)
        finally:
            worker.close_answers()
            server.should_exit = True
            await serving


def unmeasured(worker: Worker) -> None:
    """Let a worker take itself to have time to spare: this process is busy with tests, and polls would be put off."""
    worker.engine.hub.wheel.disarm(worker.engine.load)


async def _until_ready(http: httpx2.AsyncClient, serving: asyncio.Task[None]) -> None:
    async def is_ready() -> bool:
        assert not serving.done(), "the gateway did not start"
        try:
            return (await http.get("/readyz")).status_code == 200
        except httpx2.TransportError:
            return False

    await until(is_ready)
