"""A crowd: a client of every way at every gateway of a house, attached all at once while something happens."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from tests.conformance.client import Client
from tests.conformance.ways import WAYS, Way
from tests.support.waiting import patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.conformance.house import House

Crowd = dict[tuple[str, Way], Client]
"""Clients by the name of their exchange and their way."""


@asynccontextmanager
async def crowd(house: House, channel: str) -> AsyncIterator[Crowd]:
    """Have everybody attached, with a position, while the block runs."""
    clients = {(name, way): Client(place, way, channel) for name, place in house.items() for way in WAYS}
    async with AsyncExitStack() as stack:
        for client in clients.values():
            await stack.enter_async_context(client.attached())
        await all_have(clients, lambda client: client.position is not None)
        yield clients


async def all_have(clients: Crowd, got: Callable[[Client], bool]) -> None:
    """Wait until something holds for all, or not: who lags behind fails in the test that looks at it."""
    waiting = [asyncio.create_task(client.when(partial(got, client))) for client in clients.values()]
    if waiting:
        with suppress(TimeoutError):
            async with patience():
                await asyncio.wait(waiting)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
