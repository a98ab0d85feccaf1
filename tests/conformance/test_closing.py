"""A gateway that goes away ends every answer at once, and its clients go on at another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.conformance.client import Client
from tests.conformance.house import House, new_channel, open_house
from tests.conformance.raw import RawClient
from tests.conformance.ways import STREAMS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conformance.ways import Way

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def closing(redis_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """A house of one's own: what was closed stays closed."""
    async with open_house(tmp_path, redis_url, {"LONG_POLL__HOLD": "30s"}) as running:
        yield running


async def test_answers_end_at_once_and_their_clients_go_on_elsewhere(
    closing: House, exchange: str, way: Way, channel: str
) -> None:
    place, other = closing[exchange], next(one for name, one in closing.items() if name != exchange)
    client = Client(place, way, channel)
    async with client.attached():
        await client.when(lambda: client.position is not None)
        await client.live()
        await place.number(2, channel)
        await client.when(lambda: len(client.events) == 2)
        await client.live()
        client.gateway = other
        place.worker.close_answers()
        assert place.attachments == set()
        await other.number(2, channel, 2)
        await client.when(lambda: len(client.events) == 4)
    assert client.data == [0, 1, 2, 3]
    assert (client.failure, client.truncations) == (None, [])


@pytest.mark.parametrize("way", STREAMS, ids=str)
async def test_an_answer_that_is_not_read_is_over_too(closing: House, exchange: str, way: Way) -> None:
    place, channel = closing[exchange], new_channel()
    await place.publish(*[{"data": "x" * 16_000}] * 50, channel=channel)
    async with RawClient(place, way, channel) as client:
        await client.ask(cursor="earliest")
        await place.stalled()
        place.worker.close_answers()
        assert place.attachments == set()
        client.reset()
