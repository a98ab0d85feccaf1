"""sse-starlette: an EventSourceResponse and a queue for each client, as its documentation shows it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

_queues: set[asyncio.Queue[str]] = set()


async def stream(_: Request) -> Response:
    """Send every event to everyone."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    _queues.add(queue)

    async def sent() -> AsyncIterator[dict[str, str]]:
        try:
            while True:
                yield {"data": await queue.get()}
        finally:
            _queues.discard(queue)

    return EventSourceResponse(sent())


async def publish(request: Request) -> Response:
    """Put one event into every queue."""
    data = (await request.body()).decode()
    for queue in _queues:
        queue.put_nowait(data)
    return Response(status_code=201)


app = Starlette(routes=[Route("/stream", stream), Route("/publish", publish, methods=["POST"])])
