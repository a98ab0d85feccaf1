"""A client that doesn't read costs a bounded buffer, nobody else's time, and loses nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.client import Client
from tests.conformance.raw import RawClient
from tests.conformance.ways import ANSWERS, STREAMS

if TYPE_CHECKING:
    from tests.conformance.house import Place
    from tests.conformance.ways import Way

pytestmark = pytest.mark.asyncio(loop_scope="module")

MOST_BUFFERED = 3 * 256 * 1024
"""A write is cut at 256 KiB: one that filled the buffer, one that waits behind it, and what HTTP puts around them."""
BATCH = 20
SIZE = 16_000
BATCHES = 6
"""2 MB."""


@pytest.fixture(scope="module")
def overrides() -> dict[str, str]:
    return {"HISTORY__WINDOW_EVENTS": "50"}


async def publish(gateway: Place, channel: str) -> tuple[int, int]:
    """Publish much more than buffers hold; return how many events, and the most bytes that the server held."""
    most = 0
    for first in range(0, BATCH * BATCHES, BATCH):
        await gateway.publish(*({"data": f"{first + at:06}{'x' * SIZE}"} for at in range(BATCH)), channel=channel)
        most = max(most, gateway.buffered())
    return BATCH * BATCHES, most


@pytest.mark.parametrize("way", STREAMS, ids=str)
async def test_a_stream_that_is_not_read_is_left_alone_and_catches_up(gateway: Place, way: Way, channel: str) -> None:
    other = Client(gateway, way, channel)
    async with other.attached(), RawClient(gateway, way, channel) as idler:
        await idler.ask()
        await idler.read()
        await other.live(2)
        count, most = await publish(gateway, channel)
        await other.when(lambda: len(other.events) == count)
        await gateway.stalled()
        assert max(most, gateway.buffered()) <= MOST_BUFFERED
        await idler.read_until(count)
        await gateway.number(1, channel)
        await idler.read_until(count + 1)
    assert [int(event["data"][:6]) for event in idler.events[:-1]] == list(range(count))
    assert idler.events[-1]["data"] == 0
    assert [envelope for envelope in idler.envelopes if envelope["event"] == "history.truncated"] == []


@pytest.mark.parametrize("way", STREAMS, ids=str)
async def test_a_replay_that_is_not_read_stops_where_it_is(gateway: Place, way: Way, channel: str) -> None:
    count, _ = await publish(gateway, channel)
    async with RawClient(gateway, way, channel) as idler:
        await idler.ask(cursor="earliest")
        await gateway.stalled()
        assert gateway.buffered() <= MOST_BUFFERED
        await idler.read_until(count)
    assert [int(event["data"][:6]) for event in idler.events] == list(range(count))


@pytest.mark.parametrize("way", ANSWERS, ids=str)
async def test_answers_that_are_not_read_do_not_pile_up(gateway: Place, way: Way, channel: str) -> None:
    """Twenty requests on one connection, of which no answer is read: 5 MiB if all were written."""
    (first, *_) = await gateway.publish(*({"data": f"{at:06}{'x' * SIZE}"} for at in range(17)), channel=channel)
    async with RawClient(gateway, way, channel) as idler:
        await idler.ask(20, cursor=first)
        for _ in range(10):  # the service goes on with others meanwhile
            assert (await gateway.http.get("/livez")).status_code == 200
            assert gateway.buffered() <= MOST_BUFFERED
        while idler.answers < 20:
            assert await idler.read(), "the connection ended too early"
    assert [int(event["data"][:6]) for event in idler.events] == [*range(1, 17)] * 20
