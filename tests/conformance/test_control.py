"""Control events, by transport: which there are, when they come, and what they say (PROTOCOL §2)."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from realtime.channel.event import LARGEST, parse_cursor
from tests.conformance.client import Client
from tests.conformance.ways import ANSWERS, STREAMS, WAITING, WAYS
from tests.support.waiting import patience

if TYPE_CHECKING:
    from tests.conformance.house import Place
    from tests.conformance.ways import Way

pytestmark = pytest.mark.asyncio(loop_scope="module")

streams = pytest.mark.parametrize("way", STREAMS, ids=str)
resuming = pytest.mark.parametrize("way", [way for way in WAYS if way.transport.resumes_by], ids=str)

HEARTBEAT_MS = 200
LIFETIME_MS = 1000
HOLD_MS = 400


@pytest.fixture(scope="module")
def overrides() -> dict[str, str]:
    return {
        "SSE__LIFETIME": f"{LIFETIME_MS}ms",
        "SSE__HEARTBEAT": f"{HEARTBEAT_MS}ms",
        "LONG_POLL__HOLD": f"{HOLD_MS}ms",
    }


@streams
async def test_a_stream_begins_by_saying_what_was_agreed(gateway: Place, way: Way, channel: str) -> None:
    agreed = await gateway.negotiate(channel=channel)
    client = Client(gateway, way, channel, agreed["cursor"], ticket=agreed["ticket"], token="")
    await client.read_until(lambda: bool(client.heard))
    (established,) = client.heard
    assert list(established) == ["time", "event", "data"]
    assert established["event"] == "connection.established"
    assert established["data"] == {
        "session": agreed["session"],
        "transport": way.transport.name,
        "cursor": agreed["cursor"],
        "heartbeat_ms": HEARTBEAT_MS,
        "lifetime_ms": LIFETIME_MS,
    }


@streams
async def test_a_silent_stream_says_that_it_is_alive_and_where_it_stands(
    gateway: Place, way: Way, channel: str
) -> None:
    client = Client(gateway, way, channel)
    async with client.attached():
        await client.live()
        (id_,) = await gateway.number(1, channel)
        await client.when(lambda: len(client.events) == 1)
        await client.when(lambda: client.heard[-1]["event"] == "heartbeat.sent")
    event, heartbeat = (datetime.fromisoformat(one["time"]) for one in (client.events[0], client.heard[-1]))
    assert heartbeat - event >= timedelta(milliseconds=HEARTBEAT_MS - 1), (
        "after so long without output, not by the clock"
    )
    assert list(client.heard[-1]) == ["time", "event", "data"]
    assert client.heard[-1]["data"] == {"cursor": client.cursor}
    assert client.position is not None
    assert client.position >= parse_cursor(id_)


@streams
async def test_streams_end_by_themselves_and_not_all_at_once(gateway: Place, way: Way, channel: str) -> None:
    clients = [Client(gateway, way, channel) for _ in range(12)]
    ending = [asyncio.create_task(_answered_ms(client)) for client in clients]
    await clients[0].live(len(clients))
    planned = sorted(one.plan.hold_ms for one in gateway.attachments if one.reader.interest.channel == channel)
    lives = await asyncio.gather(*ending)
    assert LIFETIME_MS * 0.8 <= planned[0] <= planned[-1] <= LIFETIME_MS
    assert planned[-1] - planned[0] >= LIFETIME_MS * 0.05
    assert min(lives) >= planned[0] - 1
    await gateway.number(1, channel)
    for client in clients:
        assert await client.read(1) == [0]


async def _answered_ms(client: Client) -> float:
    """Attach once; return how long it took until the answer ended."""
    since = time.monotonic()
    async with patience():
        await client.attach()
    return (time.monotonic() - since) * 1000


@pytest.mark.parametrize("way", WAITING, ids=str)
@pytest.mark.parametrize("asked", [None, "500", "86400000"])
async def test_an_answer_waits_no_longer_than_the_policy_lets_it(
    gateway: Place, way: Way, channel: str, asked: str | None
) -> None:
    (cursor,) = await gateway.number(1, channel)
    client = Client(gateway, way, channel, cursor, **({} if asked is None else {"hold_ms": asked}))
    assert await _answered_ms(client) >= HOLD_MS - 1
    assert client.heard == []


@pytest.mark.parametrize("way", ANSWERS, ids=str)
async def test_what_does_not_stay_open_says_neither(gateway: Place, way: Way, channel: str) -> None:
    client = Client(gateway, way, channel)
    await client.begin()
    async with client.attached():
        await client.when(lambda: len(client.answers) >= 3)
    told = [one["event"] for one in client.heard]
    assert told == (["heartbeat.sent"] * len(client.answers) if way.moved else []), "where there is no other way"


@resuming
@pytest.mark.parametrize("position", ["nonsense", "1-", f"{LARGEST}-1", "1" * 5000, "é"])
async def test_a_position_that_can_not_be_read_can_not_be_resumed(
    gateway: Place, way: Way, channel: str, position: str
) -> None:
    """A browser can't drop what it once took for its last id: a status would be the end."""
    client = Client(gateway, way, channel)
    client.cursor = position
    await client.read_until(lambda: bool(client.truncations))
    (told,) = client.truncations
    assert told["requested"] == position.encode().decode("latin-1")[:64]
    await gateway.number(1, channel)
    assert await client.read(1) == [0]


@resuming
async def test_the_position_that_a_client_repeats_by_itself_comes_first(gateway: Place, way: Way, channel: str) -> None:
    ids = await gateway.number(5, channel)
    client = Client(gateway, way, channel, ids[0])
    client.cursor = ids[3]
    assert await client.read(1) == [4]
