"""Whatever the reason for which a cursor can't be resumed, the client is told at once, and goes on without a gap."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, NamedTuple

import pytest
import pytest_asyncio

from realtime.channel.event import ORIGIN, parse_cursor
from tests.conformance.client import Client
from tests.conformance.crowd import Crowd, all_have, crowd
from tests.conformance.losses import HARMLESS, LOSSES, TOLD, Lost, history

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conformance.house import House, Place
    from tests.conformance.ways import Way

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Scene(NamedTuple):
    """What was lost, and what became of those who were attached when it was."""

    name: str
    lost: Lost
    crowd: Crowd


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=LOSSES)
async def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    clients: Crowd = {}
    async with AsyncExitStack() as attached:

        async def attach(house: House, channel: str) -> Crowd:
            clients.update(await attached.enter_async_context(crowd(house, channel)))
            await next(iter(house.values())).number(1, channel, -1)
            await all_have(clients, lambda client: client.data == [-1])
            return clients

        async with LOSSES[request.param](tmp_path_factory.mktemp("lost"), attach) as lost:
            place = next(iter(lost.house.values()))
            if request.param in TOLD:
                tail = parse_cursor((await place.negotiate())["cursor"])
                await all_have(clients, lambda client: client.truncations != [] and (client.position or ORIGIN) >= tail)
            await place.number(3, lost.channel, 100)
            await all_have(clients, lambda client: 102 in client.data)
            await attached.aclose()
            yield Scene(request.param, lost, clients)


@pytest.fixture
def gateway(scene: Scene, exchange: str) -> Place:
    return scene.lost.house[exchange]


@pytest.fixture
def lost(scene: Scene) -> Lost:
    return scene.lost


async def test_the_client_is_told_and_the_same_answer_goes_on(gateway: Place, way: Way, lost: Lost) -> None:
    client = Client(gateway, way, lost.channel, lost.cursor)
    await client.read_until(lambda: bool(client.truncations))
    (told,) = client.truncations
    assert list(told) == ["requested", "floor", "cursor"]
    assert told["requested"] == lost.cursor
    assert told["cursor"] == client.cursor
    assert parse_cursor(told["floor"]) <= parse_cursor(told["cursor"])
    assert client.events == []
    await gateway.number(3, lost.channel, 10)
    assert await client.read(3) == [10, 11, 12]
    assert len(client.truncations) == 1


async def test_the_floor_is_where_history_still_begins(gateway: Place, way: Way, lost: Lost) -> None:
    async def the_floor_is_good() -> bool:
        client = Client(gateway, way, lost.channel, lost.cursor)
        await client.read_until(lambda: bool(client.truncations))
        return await history(gateway, lost.channel, client.truncations[0]["floor"]) == 200

    # At once, except where the retention is short: there a floor is one for a moment only.
    assert await the_floor_is_good() or await the_floor_is_good() or await the_floor_is_good()
    assert await history(gateway, lost.channel, lost.cursor) == 410


async def test_a_stream_says_so_before_it_is_established(gateway: Place, way: Way, lost: Lost) -> None:
    client = Client(gateway, way, lost.channel, lost.cursor)
    await client.read_until(lambda: len(client.controls) > way.stays_open)
    expected = ["history.truncated", "connection.established"] if way.stays_open else ["history.truncated"]
    assert [one["event"] for one in client.heard] == expected
    assert {one["data"]["cursor"] for one in client.heard} == {client.cursor}


async def test_who_was_attached_misses_nothing_untold(scene: Scene, exchange: str, way: Way) -> None:
    client = scene.crowd[exchange, way]
    assert client.failure is None
    *before, first, second, third = client.data
    assert [first, second, third] == [100, 101, 102]
    if scene.name in HARMLESS:
        assert client.truncations == []
        assert before == list(range(-1, {"cap": 30, "lost branch": 0}.get(scene.name, 3)))
    else:
        # Told once, or twice: who was told when the new epoch began, before a gateway had compared the log with what it
        # had seen of the old one, can't be told apart from who read across the break unawares (rule 5 of the kernel).
        assert len(client.truncations) in {1, 2}
        assert before == list(range(-1, len(before) - 1))
