"""Fixtures of the suite: a house for each module, and a way and an exchange for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from redis import Redis

from tests.conformance.exchanges import EXCHANGES
from tests.conformance.house import House, Place, new_channel, open_house
from tests.conformance.ways import WAYS, Way

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.redis import RedisServer


@pytest.fixture(scope="module")
def overrides() -> dict[str, str]:
    """The settings of a module's house that aren't `QUICK`; modules have their own."""
    return {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(
    valkey: RedisServer, tmp_path_factory: pytest.TempPathFactory, overrides: dict[str, str]
) -> AsyncIterator[House]:
    with Redis(port=valkey.port) as client:
        client.flushall()
    async with open_house(tmp_path_factory.mktemp("house"), valkey.empty(), overrides) as running:
        yield running


@pytest.fixture(params=EXCHANGES)
def exchange(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    one: Way = request.param
    return one


@pytest.fixture
def gateway(house: House, exchange: str) -> Place:
    return house[exchange]


@pytest.fixture
def channel() -> str:
    return new_channel()
