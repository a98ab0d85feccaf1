"""A client that comes back with its last cursor gets exactly what it hasn't seen, on whatever transport."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.client import Client
from tests.conformance.ways import ANSWERS, WAYS, Way

if TYPE_CHECKING:
    from tests.conformance.house import Place

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", params=["in the window", "in the log"])
def overrides(request: pytest.FixtureRequest) -> dict[str, str]:
    return {"HISTORY__WINDOW_EVENTS": "3"} if request.param == "in the log" else {}


async def mixed(gateway: Place, channel: str) -> tuple[list[str], list[int]]:
    """Publish events of which client 42 sees some; return the ids of all, and which it sees."""
    scopes = ["broadcast", "user:7", "user:42", "topic:secret", "broadcast", "role:other", "user:42", "user:7"]
    ids = await gateway.publish(*({"scope": scope, "data": at} for at, scope in enumerate(scopes)), channel=channel)
    return ids, [0, 2, 4, 6]


async def test_resumes_at_every_position(gateway: Place, way: Way, channel: str) -> None:
    begin = Client(gateway, way, channel)
    await begin.begin()
    ids, visible = await mixed(gateway, channel)
    for after, cursor in enumerate([begin.cursor, *ids[:6]]):
        client = Client(gateway, way, channel, cursor)
        expected = [at for at in visible if at >= after]
        assert await client.read(len(expected)) == expected
        assert client.truncations == []


async def test_a_client_at_the_last_event_gets_the_next_one(gateway: Place, way: Way, channel: str) -> None:
    ids, _ = await mixed(gateway, channel)
    client = Client(gateway, way, channel, ids[-1])
    await client.attach(lambda: bool(client.controls))
    assert client.events == []
    await gateway.number(1, channel, 100)
    assert await client.read(1) == [100]


async def test_a_client_that_drops_after_every_event_misses_and_repeats_none(
    gateway: Place, way: Way, channel: str
) -> None:
    await gateway.number(12, channel)
    client = Client(gateway, way, channel, "earliest", **({} if way.stays_open or way.moved else {"limit": "1"}))
    for count in range(1, 13):
        assert await client.read(count) == list(range(len(client.events)))
        if way not in ANSWERS or not way.moved:
            assert len(client.events) == count


async def test_without_a_cursor_it_begins_now(gateway: Place, way: Way, channel: str) -> None:
    await gateway.number(3, channel)
    client = Client(gateway, way, channel)
    await client.begin()
    await gateway.number(3, channel, 10)
    assert await client.read(3) == [10, 11, 12]


async def test_earliest_is_everything_that_is_kept(gateway: Place, way: Way, channel: str) -> None:
    _, visible = await mixed(gateway, channel)
    client = Client(gateway, way, channel, "earliest")
    assert await client.read(len(visible)) == visible
    assert client.truncations == []


async def test_a_cursor_is_good_on_every_transport_and_gateway(house: dict[str, Place], channel: str) -> None:
    """One position travels over all ways and all gateways, an event at each stop."""
    first = next(iter(house.values()))
    stops = [(gateway, way) for gateway in house.values() for way in WAYS]
    begin = Client(first, stops[0][1], channel)
    await begin.begin()
    cursor = begin.cursor
    for number, (gateway, way) in enumerate(stops):
        await first.number(1, channel, number)
        client = Client(gateway, way, channel, cursor)
        assert await client.read(1) == [number]
        cursor = client.cursor
