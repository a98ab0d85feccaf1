"""A plain Quart service: a streaming response and a queue for each client, as Quart's documentation shows it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from quart import Quart, Response, make_response, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

app = Quart("peer")
_queues: set[asyncio.Queue[bytes]] = set()


@app.get("/stream")
async def stream() -> Response:
    """Send every event to everyone."""
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    _queues.add(queue)

    async def sent() -> AsyncIterator[bytes]:
        yield b": hello\n\n"
        try:
            while True:
                yield b"data: %b\n\n" % await queue.get()
        finally:
            _queues.discard(queue)

    response = await make_response(sent(), {"Content-Type": "text/event-stream"})
    response.timeout = None  # type: ignore[union-attr]
    return response  # type: ignore[return-value]


@app.post("/publish")
async def publish() -> Response:
    """Put one event into every queue."""
    data: bytes = await request.data
    for queue in _queues:
        queue.put_nowait(data)
    return Response(b"", 201)
