"""Redis that goes away and comes back is a pause for whoever is attached, never a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.conformance.client import Client
from tests.conformance.crowd import Crowd, all_have, crowd
from tests.conformance.house import new_channel, open_house
from tests.support.redis import RedisServer
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conformance.house import House, Place
    from tests.conformance.ways import Way

pytestmark = pytest.mark.asyncio(loop_scope="module")

KINDS = ("restarted", "killed", "stopped for a while")


class Outage(NamedTuple):
    """A house whose Redis was away, and who was attached."""

    house: House
    channel: str
    cursor: str
    crowd: Crowd
    published: list[int]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def outage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Outage]:
    directory = tmp_path_factory.mktemp("outage")
    redis = RedisServer(directory / "redis", arguments=["--appendfsync", "always"])
    await redis.start()
    try:
        async with open_house(directory / "house", redis.url, {"REDIS__TIMEOUT": "300ms"}) as house:
            channel, place = new_channel(), next(iter(house.values()))
            async with crowd(house, channel) as clients:
                (cursor,) = await place.number(1, channel)
                await place.number(4, channel, 1)
                await all_have(clients, lambda client: len(client.data) == 5)
                await _away(redis, request.param, place)
                published = [*range(5), *await _publish_until_back(place, channel, 5)]
                await place.number(5, channel, 100)
                await all_have(clients, lambda client: client.data[-1:] == [104])
            yield Outage(house, channel, cursor, clients, [*published, *range(100, 105)])
    finally:
        redis.stop()


async def _away(redis: RedisServer, kind: str, place: Place) -> None:
    """Take Redis away until the gateway has noticed, and bring it back."""
    if kind == "stopped for a while":
        redis.pause()
    elif kind == "killed":
        redis.kill()
    else:
        async with Redis(port=redis.port, retry=Retry(NoBackoff(), 0)) as client:
            await client.shutdown()
        redis.stop()
    headers = place.bearer("publisher", roles=("publisher",))
    event = {"event": "test.happened", "scope": "broadcast", "data": None}
    answer = await place.http.post("/api/v1/events", json=event, headers=headers)
    assert answer.status_code == 503
    assert answer.json()["code"] == "log-unavailable"
    assert int(answer.headers["retry-after"]) >= 1
    if kind == "stopped for a while":
        redis.resume()
    else:
        await redis.start()


async def _publish_until_back(place: Place, channel: str, number: int) -> list[int]:
    """Publish one event as a careful publisher does: again, with the same key, until it is told that it's there."""
    event = {"event": "test.happened", "scope": "broadcast", "data": number, "idempotency_key": "the one"}
    headers = place.bearer("publisher", roles=("publisher",), channel=channel)

    async def is_published() -> bool:
        return (await place.http.post("/api/v1/events", json=event, headers=headers)).status_code == 201

    await until(is_published)
    return [number]


async def test_who_was_attached_gets_everything_once(outage: Outage, exchange: str, way: Way) -> None:
    client = outage.crowd[exchange, way]
    assert client.failure is None
    assert client.truncations == []
    assert client.data == outage.published


async def test_who_comes_back_later_gets_everything_once(outage: Outage, exchange: str, way: Way) -> None:
    client = Client(outage.house[exchange], way, outage.channel, outage.cursor)
    assert await client.read(len(outage.published) - 1) == outage.published[1:]
    assert client.truncations == []


async def test_a_stream_stays_open_meanwhile(outage: Outage, exchange: str, way: Way) -> None:
    if way.stays_open:
        client = outage.crowd[exchange, way]
        assert (len(client.answers), client.unavailable) == (1, 0)
