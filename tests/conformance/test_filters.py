"""What a client narrows its view to, and what it may not see at all."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from realtime.channel.event import parse_cursor
from tests.conformance.client import Client, Refused
from tests.conformance.house import new_channel

if TYPE_CHECKING:
    from tests.conformance.house import House, Place
    from tests.conformance.ways import Way

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELD = ("topic:news.*", "topic:news.local", "topic:sport", "user:7")
PUBLISHED = [
    {"event": event, "scope": scope, "data": f"{event} {scope}"}
    for scope in (
        *("broadcast", "user:42", "user:7", "user:8", "role:viewer", "role:admin"),
        *("topic:news", "topic:news.local", "topic:news.local.today", "topic:newspaper", "topic:sport"),
    )
    for event in ("task.done", "task.failed", "tasks.done", "system.notification")
]
SEEN = {"broadcast", "user:42", "user:7", "role:viewer", "topic:news.local", "topic:news.local.today", "topic:sport"}
TYPES = {"task.done", "task.failed", "tasks.done", "system.notification"}

FILTERS: dict[str, tuple[dict[str, str], set[str], set[str]]] = {
    "everything held": ({}, SEEN, TYPES),
    "one type": ({"events": "task.done"}, SEEN, {"task.done"}),
    "a prefix": ({"events": "task.*"}, SEEN, {"task.done", "task.failed"}),
    "a prefix and a type": ({"events": "tasks.*,task.failed"}, SEEN, {"tasks.done", "task.failed"}),
    "all types": ({"events": "*"}, SEEN, TYPES),
    "one scope": ({"scopes": "user:42"}, {"user:42"}, TYPES),
    "a topic that a pattern covers": ({"scopes": "topic:news.local.today"}, {"topic:news.local.today"}, TYPES),
    "a pattern": ({"scopes": "topic:news.*"}, {"topic:news.local", "topic:news.local.today"}, TYPES),
    "a narrower pattern": ({"scopes": "topic:news.local.*"}, {"topic:news.local.today"}, TYPES),
    "a topic by name and by pattern": (
        {"scopes": "topic:news.local,topic:news.*"},
        {"topic:news.local", "topic:news.local.today"},
        TYPES,
    ),
    "scopes and types": (
        {"scopes": "broadcast,topic:sport", "events": "task.*"},
        {"broadcast", "topic:sport"},
        {"task.done", "task.failed"},
    ),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shelf(house: House) -> tuple[str, str]:
    """A channel with everything published in it, and the cursor before."""
    channel = new_channel()
    place = next(iter(house.values()))
    before = (await place.negotiate())["cursor"]
    await place.publish(*PUBLISHED, channel=channel)
    return channel, before


def expected(narrowed: str) -> list[str]:
    _, scopes, types = FILTERS[narrowed]
    return [f"{one['event']} {one['scope']}" for one in PUBLISHED if one["scope"] in scopes and one["event"] in types]


def holder(gateway: Place, way: Way, channel: str, cursor: str | None, narrowed: str) -> Client:
    """Return the client that holds `HELD`, narrowed."""
    token = gateway.token("42", channel=channel, roles=("viewer",), scopes=HELD)
    return Client(gateway, way, channel, cursor, token=token, **FILTERS[narrowed][0])


async def test_what_is_replayed_is_what_is_held_and_asked_for(gateway: Place, way: Way, shelf: tuple[str, str]) -> None:
    clients = {narrowed: holder(gateway, way, *shelf, narrowed) for narrowed in FILTERS}
    await asyncio.gather(*(client.read(len(expected(narrowed))) for narrowed, client in clients.items()))
    assert {narrowed: client.data for narrowed, client in clients.items()} == {one: expected(one) for one in FILTERS}


async def test_what_arrives_live_is_what_is_held_and_asked_for(gateway: Place, way: Way, channel: str) -> None:
    clients = {narrowed: holder(gateway, way, channel, None, narrowed) for narrowed in FILTERS}
    async with AsyncExitStack() as attached:
        for client in clients.values():
            await client.begin()
            await attached.enter_async_context(client.attached())
        await asyncio.gather(*(client.live(len(clients)) for client in clients.values()))
        *_, last = await gateway.publish(*PUBLISHED, channel=channel)
        for client in clients.values():
            await client.when(partial(has_passed, client, last))
    assert {narrowed: client.data for narrowed, client in clients.items()} == {one: expected(one) for one in FILTERS}


def has_passed(client: Client, id_: str) -> bool:
    return client.position is not None and client.position >= parse_cursor(id_)


async def test_the_cursor_moves_past_what_is_hidden(gateway: Place, way: Way, channel: str) -> None:
    client = Client(gateway, way, channel, events="task.*")
    await client.begin()
    async with client.attached():
        await client.live()
        await gateway.publish({"event": "task.done"}, channel=channel)
        await client.when(lambda: len(client.events) == 1)
        *_, hidden = await gateway.publish(*[{"event": "other.thing"}, {"scope": "user:7"}] * 3, channel=channel)
        await client.when(lambda: has_passed(client, hidden))
    assert len(client.events) == 1
    await gateway.publish({"event": "task.failed"}, channel=channel)
    assert await client.read(2) == [None, None]


async def test_another_filter_at_the_same_cursor_shows_what_was_hidden(gateway: Place, way: Way, channel: str) -> None:
    narrow = Client(gateway, way, channel, events="task.*")
    await narrow.begin()
    start = narrow.cursor
    await gateway.publish({"event": "task.done", "data": 1}, {"event": "other.thing", "data": 2}, channel=channel)
    assert await narrow.read(1) == [1]
    assert await Client(gateway, way, channel, start).read(2) == [1, 2]


async def test_a_scope_that_is_not_held_is_403_on_every_transport_and_exchange(
    gateway: Place, way: Way, channel: str
) -> None:
    """One scope: which are held is tested where that is decided (tests/realtime/auth)."""
    token = gateway.token("42", channel=channel, scopes=HELD)
    client = Client(gateway, way, channel, token=token, scopes="broadcast,role:admin")
    with pytest.raises(Refused) as refused:
        await client.attach()
    assert (refused.value.status, refused.value.problem["code"]) == (403, "scope-not-held")


async def test_a_malformed_filter_is_400_on_every_transport_and_exchange(
    gateway: Place, way: Way, channel: str
) -> None:
    """One value: what else is malformed is tested where it is read (tests/wire, tests/realtime)."""
    with pytest.raises(Refused) as refused:
        await Client(gateway, way, channel, scopes="topic:a..b").attach()
    assert (refused.value.status, refused.value.problem["code"]) == (400, "malformed-parameter")


async def test_channels_do_not_mix(gateway: Place, way: Way, channel: str) -> None:
    client = Client(gateway, way, channel)
    await client.begin()
    await gateway.number(3, f"{channel}-other", 100)
    await gateway.number(3, channel)
    assert await client.read(3) == [0, 1, 2]
