"""A Redis that lacks our functions (a new one, or one that was promoted) is given them by whoever comes first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.client import Client
from tests.conformance.losses import history

if TYPE_CHECKING:
    from tests.conformance.house import Place
    from tests.conformance.ways import Way
    from tests.support.redis import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def overrides() -> dict[str, str]:
    return {"HISTORY__WINDOW_EVENTS": "1"}


async def test_a_client_that_reads_the_log_brings_them_back(
    gateway: Place, way: Way, channel: str, valkey: RedisServer
) -> None:
    ids = await gateway.number(4, channel)
    async with valkey.client as redis:
        await redis.function_flush("SYNC")
    client = Client(gateway, way, channel, ids[0])
    assert await client.read(3) == [1, 2, 3]
    assert (client.truncations, client.unavailable) == ([], 0)


async def test_history_brings_them_back(gateway: Place, channel: str, valkey: RedisServer) -> None:
    ids = await gateway.number(4, channel)
    async with valkey.client as redis:
        await redis.function_flush("SYNC")
    assert await history(gateway, channel, ids[0]) == 200
