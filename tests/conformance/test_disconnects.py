"""A client that goes away, however rudely, leaves nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.client import Client
from tests.conformance.raw import RawClient
from tests.conformance.ways import STREAMS, WAYS
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.conformance.house import Place
    from tests.conformance.ways import Way

pytestmark = pytest.mark.asyncio(loop_scope="module")

lasting = pytest.mark.parametrize("way", [way for way in WAYS if way.stays_open or way.waits], ids=str)
BATCH = 50


@pytest.fixture(scope="module")
def overrides() -> dict[str, str]:
    return {"HISTORY__WINDOW_EVENTS": "40", "LONG_POLL__HOLD": "30s"}


async def nothing_left(gateway: Place) -> None:
    """Wait until nobody is attached, and nothing is kept for anybody."""
    await until(lambda: not (gateway.attachments or gateway.buffered()))


@pytest.mark.parametrize("after", [0, 50_000])
async def test_a_reset_in_the_middle_of_a_large_replay(gateway: Place, way: Way, channel: str, after: int) -> None:
    for _ in range(2):
        await gateway.publish(*[{"data": "x" * 16_000}] * BATCH, channel=channel)
    client = RawClient(gateway, way, channel)
    async with client:
        await client.ask(cursor="earliest")
        received = 0
        while received < after:
            received += await client.read()
        client.reset()
    await nothing_left(gateway)
    again = Client(gateway, way, channel, "earliest")
    assert len(await again.read(2 * BATCH)) == 2 * BATCH


@lasting
async def test_a_reset_while_it_waits(gateway: Place, way: Way, channel: str) -> None:
    gone, stays = RawClient(gateway, way, channel), Client(gateway, way, channel)
    await stays.begin()
    async with stays.attached(), gone:
        await gone.ask(cursor=stays.cursor or "")
        await stays.live(2)
        gone.reset()
        await gateway.number(3, channel)
        await stays.when(lambda: len(stays.events) == 3)
    await nothing_left(gateway)


@pytest.mark.parametrize("way", STREAMS, ids=str)
async def test_a_reset_while_nothing_is_read(gateway: Place, way: Way, channel: str) -> None:
    for _ in range(2):
        await gateway.publish(*[{"data": "x" * 16_000}] * BATCH, channel=channel)
    async with RawClient(gateway, way, channel) as client:
        await client.ask(cursor="earliest")
        await gateway.stalled()
        client.reset()
    await nothing_left(gateway)
