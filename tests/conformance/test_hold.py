"""How long an answer waits for its first event.

The policy of this house lets it wait for a minute: what must not wait and does takes longer than anybody has patience.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from tests.conformance.client import Client, Refused
from tests.conformance.ways import ANSWERS, WAITING

if TYPE_CHECKING:
    from tests.conformance.house import Place
    from tests.conformance.ways import Way

pytestmark = pytest.mark.asyncio(loop_scope="module")

waiting = pytest.mark.parametrize("way", WAITING, ids=str)
HOLD_MS = 300
PUBLISHED_MS = 2_000
"""A hold within which something can be published, on a busy machine too."""


@pytest.fixture(scope="module")
def overrides() -> dict[str, str]:
    return {"LONG_POLL__HOLD": "60s", "HISTORY__WINDOW_EVENTS": "3"}


async def answered_ms(client: Client) -> float:
    """Make one request; return after how long it was answered."""
    since = time.monotonic()
    await client.attach()
    return (time.monotonic() - since) * 1000


@waiting
async def test_it_waits_as_long_as_asked(gateway: Place, way: Way, channel: str) -> None:
    (cursor,) = await gateway.number(1, channel)
    client = Client(gateway, way, channel, cursor, hold_ms=str(HOLD_MS))
    assert await answered_ms(client) >= HOLD_MS - 1
    assert (client.heard, client.answers[-1].more) == ([], False)


@waiting
async def test_it_does_not_wait_when_asked_not_to(gateway: Place, way: Way, channel: str) -> None:
    (cursor,) = await gateway.number(1, channel)
    client = Client(gateway, way, channel, cursor, hold_ms="0")
    await client.attach()
    assert client.heard == []


@waiting
async def test_it_answers_at_once_when_an_event_comes(gateway: Place, way: Way, channel: str) -> None:
    client = Client(gateway, way, channel)
    await client.begin()
    answer = asyncio.create_task(client.attach())
    await client.live()
    await gateway.number(2, channel)
    await answer
    assert (client.data, client.sizes[-1]) == ([0, 1], 2)


@waiting
async def test_an_event_that_it_does_not_see_lets_it_wait(gateway: Place, way: Way, channel: str) -> None:
    (cursor,) = await gateway.number(1, channel)
    client = Client(gateway, way, channel, cursor, hold_ms=str(PUBLISHED_MS))
    answer = asyncio.create_task(answered_ms(client))
    await client.live()
    (hidden,) = await gateway.publish({"scope": "user:7"}, channel=channel)
    assert await answer >= PUBLISHED_MS - 1
    assert (client.heard, client.cursor) == ([], hidden)


@waiting
async def test_it_does_not_wait_when_there_is_something_in_the_log(gateway: Place, way: Way, channel: str) -> None:
    ids = await gateway.number(10, channel)
    client = Client(gateway, way, channel, ids[0])
    await client.attach()
    assert client.data == list(range(1, 10))


@pytest.mark.parametrize("way", ANSWERS, ids=str)
async def test_without_a_cursor_nothing_waits(gateway: Place, way: Way, channel: str) -> None:
    await gateway.number(3, channel)
    client = Client(gateway, way, channel)
    await client.attach()
    assert client.events == []
    assert client.position is not None


@waiting
async def test_a_hold_that_is_no_number_is_400_on_every_transport_and_exchange(
    gateway: Place, way: Way, channel: str
) -> None:
    with pytest.raises(Refused) as refused:
        await Client(gateway, way, channel, hold_ms="1.5").attach()
    assert (refused.value.status, refused.value.problem["code"]) == (400, "malformed-parameter")


@waiting
async def test_a_second_request_of_a_session_ends_the_first(gateway: Place, way: Way, channel: str) -> None:
    agreed = await gateway.negotiate(channel=channel)
    first, second = (
        Client(gateway, way, channel, agreed["cursor"], ticket=agreed["ticket"], token="") for _ in range(2)
    )
    waits = asyncio.create_task(first.attach())
    await first.live()
    async with second.attached():
        await waits
        assert (first.heard, first.answers[-1].more) == ([], False)
        await gateway.number(1, channel)
        await second.when(lambda: len(second.events) == 1)
    assert await first.read(1) == [0]


@waiting
async def test_requests_of_two_sessions_let_each_other_wait(gateway: Place, way: Way, channel: str) -> None:
    clients = []
    for _ in range(2):
        agreed = await gateway.negotiate(channel=channel)
        query = {"ticket": agreed["ticket"], "hold_ms": str(HOLD_MS)}
        clients.append(Client(gateway, way, channel, agreed["cursor"], token="", **query))
    assert min(await asyncio.gather(*map(answered_ms, clients))) >= HOLD_MS - 1
