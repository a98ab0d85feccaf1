"""The peer: a plain Quart service, a queue for each client, as Quart's documentation shows it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from quart import Quart, Response, make_response, request

from bench.bare import BODY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

app = Quart("peer")
_queues: set[asyncio.Queue[bytes]] = set()


@app.get("/readyz")
async def ready() -> Response:
    """Say that requests are served."""
    return Response(b"{}", content_type="application/json")


@app.get("/stream")
async def stream() -> Response:
    """Send every event to everyone."""
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    _queues.add(queue)

    async def events() -> AsyncIterator[bytes]:
        yield b"event: connection.established\ndata: {}\n\n"
        try:
            while True:
                yield await queue.get()
        finally:
            _queues.discard(queue)

    response = await make_response(events(), {"Content-Type": "text/event-stream"})
    response.timeout = None  # type: ignore[union-attr]
    return response  # type: ignore[return-value]


@app.post("/publish")
async def publish() -> Response:
    """Put one event into every queue."""
    data: bytes = await request.data
    for queue in _queues:
        queue.put_nowait(data)
    return Response(b"{}", content_type="application/json")


@app.get("/poll")
async def poll() -> Response:
    """Answer a poll that finds nothing new."""
    return Response(BODY, content_type="application/json")
