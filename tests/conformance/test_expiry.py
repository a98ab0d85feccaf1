"""When the token behind an attachment runs out: the client is told, in time, and let in no more."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest
import pytest_asyncio

from tests.conformance.client import Client, Refused
from tests.conformance.exchanges import EXCHANGES
from tests.conformance.house import new_channel
from tests.conformance.ways import WAYS, Way

if TYPE_CHECKING:
    from tests.conformance.house import House, Place

pytestmark = pytest.mark.asyncio(loop_scope="module")

LEAST_TTL_S = 4.2
"""A token's expiry is a whole second: it lives for so long, up to a second longer."""
BEGINNINGS = 6
"""So many times as long as all clients need to begin, on this machine just now, is what a token lives at least."""
INTERVAL_S = 0.4
"""Polls are told when the token will not outlive two of them (each jittered by a tenth)."""


class Told(NamedTuple):
    """What became of a client that stayed until its token had run out."""

    client: Client
    life_s: float
    left_s: float
    """How long the token was still good when the client was told."""
    refused: Refused


@pytest.fixture(scope="module")
def overrides() -> dict[str, str]:
    return {"AUTH__LEEWAY": "0s", "LONG_POLL__HOLD": "10s", "POLLING__INTERVAL": f"{INTERVAL_S}s"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(house: House) -> dict[tuple[str, Way], Told]:
    """Everybody stays until the token runs out; all at once, for it takes five seconds."""
    everybody = [(name, way) for name in EXCHANGES for way in WAYS]
    begun_s = time.monotonic()
    await asyncio.gather(*(_begin(house[name], way) for name, way in everybody))
    ttl_s = max(LEAST_TTL_S, BEGINNINGS * (time.monotonic() - begun_s))
    results = await asyncio.gather(*(_stay(house[name], way, ttl_s) for name, way in everybody))
    return dict(zip(everybody, results, strict=True))


async def _begin(place: Place, way: Way) -> None:
    """Begin, and get an event, with a token that lasts: how long that takes is measured."""
    channel = new_channel()
    client = Client(place, way, channel)
    await client.begin()
    await place.number(1, channel)
    await client.read_until(lambda: bool(client.events))


async def _stay(place: Place, way: Way, ttl_s: float) -> Told:
    channel = new_channel()
    token = place.token("42", channel=channel, ttl_s=ttl_s)
    expires_s = (place.worker.credentials.bearer(token).expires_ms or 0) / 1000
    life_s = expires_s - time.time()
    client = Client(place, way, channel, token=token)
    await client.begin()
    await place.number(1, channel)
    await client.read_until(lambda: _is_told(client))
    left_s = expires_s - time.time()
    with pytest.raises(Refused) as refused:
        await client.read_until(lambda: False)
    return Told(client, life_s, left_s, refused.value)


def _is_told(client: Client) -> bool:
    return any(control["event"] == "ticket.expired" for control in client.controls)


async def test_the_client_is_told_around_the_end_of_its_token_and_not_long_before(
    told: dict[tuple[str, Way], Told], exchange: str, way: Way
) -> None:
    _, life_s, left_s, _ = told[exchange, way]
    assert left_s <= max(life_s / 10, 2.2 * INTERVAL_S), "a tenth of its life, or two polls"


async def test_it_is_told_in_a_control_event_without_data(
    told: dict[tuple[str, Way], Told], exchange: str, way: Way
) -> None:
    client = told[exchange, way].client
    (expired, *_) = [control for control in client.controls if control["event"] == "ticket.expired"]
    assert list(expired) == ["time", "event"]
    assert client.data == [0]


async def test_a_stream_ends_after_it(told: dict[tuple[str, Way], Told], exchange: str, way: Way) -> None:
    if way.stays_open:
        client = told[exchange, way].client
        places = [at for at, control in enumerate(client.controls) if control["event"] == "ticket.expired"]
        after = [client.controls[at + 1]["event"] for at in places if at + 1 < len(client.controls)]
        assert set(after) <= {"connection.established"}


async def test_the_token_is_good_for_nothing_afterwards(
    told: dict[tuple[str, Way], Told], exchange: str, way: Way
) -> None:
    refused = told[exchange, way].refused
    assert (refused.status, refused.problem["code"]) == (401, "bad-credential")
