"""Fixtures of the channel's tests: a log on a real server, and one whose clock the test moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from realtime.channel.log import Log
from realtime.connect import connect
from tests.channel.model import NOON_MS, ROOMY
from tests.channel.simulated import SimulatedServer
from tests.support.redis import RedisServer, redis_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from redis.asyncio import Redis


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of a server that holds nothing."""
    client = connect(redis_url, 2.0, 8)
    yield client
    await client.aclose()


@pytest.fixture
def log(redis: Redis) -> Log:
    """A log with room."""
    return Log(redis, ROOMY)


@pytest.fixture(scope="session")
def spare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server for tests that hurt it: they leave it running."""
    with redis_server(tmp_path_factory.mktemp("spare"), "--appendfsync", "no") as server:
        yield server


@pytest.fixture
async def simulated(spare: RedisServer) -> AsyncIterator[SimulatedServer]:
    """A server that holds nothing, at noon."""
    server = SimulatedServer(spare)
    server.reset(NOON_MS)
    yield server
    server.forget()
    await server.close()
