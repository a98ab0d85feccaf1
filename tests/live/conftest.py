"""Two gateways on one log, shared by the tests of a process; each test begins with the same policy on both."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.live.support import SETTINGS, WITHIN_MS, Pair, restored
from tests.support.gateway import gateway
from tests.support.redis import RedisServer, redis_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="session")
def live_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Valkey that is never emptied."""
    with redis_server(tmp_path_factory.mktemp("live-valkey")) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gateways(live_valkey: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    """The two."""
    async with AsyncExitStack() as stack:
        folders = (tmp_path_factory.mktemp(name) for name in ("here", "there"))
        running = [await stack.enter_async_context(gateway(one, live_valkey.url, SETTINGS)) for one in folders]
        yield Pair(*running)


@pytest_asyncio.fixture(loop_scope="session")
async def pair(gateways: Pair) -> Pair:
    """The two, with a policy of the usual order, that moves clients within `WITHIN_MS`."""
    assert WITHIN_MS < 1000
    await restored(gateways)
    return gateways
