"""A client to whom nothing happens for longer than history is kept is still where it was."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest
import pytest_asyncio

from realtime.channel.event import ORIGIN
from tests.conformance.client import Client
from tests.conformance.crowd import crowd
from tests.conformance.house import new_channel
from tests.conformance.losses import gone

if TYPE_CHECKING:
    from tests.conformance.house import House
    from tests.conformance.ways import Way

pytestmark = pytest.mark.asyncio(loop_scope="module")

RETENTION_MS = 4000


@pytest.fixture(scope="module")
def overrides() -> dict[str, str]:
    return {"HISTORY__RETENTION": f"{RETENTION_MS}ms"}


class Idle(NamedTuple):
    """What a client that nothing happened to has to say."""

    client: Client
    age_ms: float
    """How old its cursor was in the end."""
    resumed: Client
    """One that came back with that cursor."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def idle(house: House) -> dict[tuple[str, Way], Idle]:
    """Everybody, after nothing was published for longer than the retention."""
    channel = new_channel()
    async with crowd(house, channel) as clients:
        first = min(client.position for client in clients.values() if client.position)
        await gone(house, channel, str(first))
        now_ms = time.time_ns() / 1_000_000
        ages = {key: now_ms - (client.position or ORIGIN).ms for key, client in clients.items()}
        resumed = {key: Client(client.gateway, client.way, channel, client.cursor) for key, client in clients.items()}
    await next(iter(house.values())).number(1, channel)
    await asyncio.gather(*(client.read(1) for client in resumed.values()))
    return {key: Idle(client, ages[key], resumed[key]) for key, client in clients.items()}


async def test_its_cursor_stayed_young(idle: dict[tuple[str, Way], Idle], exchange: str, way: Way) -> None:
    client, age_ms, _ = idle[exchange, way]
    assert client.failure is None
    assert (client.events, client.truncations) == ([], [])
    assert age_ms < RETENTION_MS


async def test_it_resumes_from_there(idle: dict[tuple[str, Way], Idle], exchange: str, way: Way) -> None:
    resumed = idle[exchange, way].resumed
    assert (resumed.data, resumed.truncations) == ([0], [])
