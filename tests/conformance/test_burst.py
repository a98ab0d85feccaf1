"""Many events at once arrive in order, in few answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.client import Client, Refused
from tests.conformance.ways import ANSWERS

if TYPE_CHECKING:
    from tests.conformance.house import Place
    from tests.conformance.ways import Way

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = [way for way in ANSWERS if way.media_type == "application/json"]


@pytest.fixture(scope="module")
def overrides() -> dict[str, str]:
    """Let a batch be more than the window holds: its begin is read from the log."""
    return {"HISTORY__WINDOW_EVENTS": "300"}


async def test_a_batch_of_1000_arrives_live_and_in_order(gateway: Place, way: Way, channel: str) -> None:
    client = Client(gateway, way, channel)
    await client.begin()
    async with client.attached():
        await client.live()
        await gateway.number(1000, channel)
        await client.when(lambda: len(client.events) >= 1000)
    assert client.data == list(range(1000))
    assert sum(size > 0 for size in client.sizes) <= 4
    assert client.truncations == []


async def test_a_batch_of_1000_is_replayed_in_order(gateway: Place, way: Way, channel: str) -> None:
    client = Client(gateway, way, channel)
    await client.begin()
    await gateway.number(1000, channel)
    assert await client.read(1000) == list(range(1000))
    assert sum(size > 0 for size in client.sizes) <= 4
    assert client.truncations == []


@pytest.mark.parametrize("way", JSON, ids=str)
async def test_an_answer_has_at_most_as_many_events_as_asked_for(gateway: Place, way: Way, channel: str) -> None:
    await gateway.number(25, channel)
    client = Client(gateway, way, channel, "earliest", limit="10")
    shape = []
    for _ in range(3):
        before = len(client.events)
        await client.attach()
        shape.append((len(client.events) - before, client.answers[-1].more))
    assert shape == [(10, True), (10, True), (5, False)]
    assert client.data == list(range(25))


@pytest.mark.parametrize("way", JSON, ids=str)
async def test_a_waiting_answer_keeps_its_limit_too(gateway: Place, way: Way, channel: str) -> None:
    client = Client(gateway, way, channel, limit="10")
    await client.begin()
    async with client.attached():
        await client.live()
        await gateway.number(25, channel)
        await client.when(lambda: len(client.events) >= 25)
    assert client.data == list(range(25))
    assert max(client.sizes) == 10


@pytest.mark.parametrize("way", JSON, ids=str)
async def test_a_limit_out_of_bounds_is_400_on_every_transport_and_exchange(
    gateway: Place, way: Way, channel: str
) -> None:
    client = Client(gateway, way, channel, limit="1001")
    with pytest.raises(Refused) as refused:
        await client.attach()
    assert (refused.value.status, refused.value.problem["code"]) == (400, "malformed-parameter")


async def test_large_events_come_in_pieces_and_whole(gateway: Place, way: Way, channel: str) -> None:
    """More than one answer may carry: 1.4 MiB in events of 60 KiB."""
    client = Client(gateway, way, channel)
    await client.begin()
    async with client.attached():
        await client.live()
        for first in (0, 12):
            await gateway.publish(*({"data": f"{first + at:05}" + "x" * 60_000} for at in range(12)), channel=channel)
        await client.when(lambda: len(client.events) >= 24)
    assert [int(data[:5]) for data in client.data] == list(range(24))
    assert {len(data) for data in client.data} == {60_005}
