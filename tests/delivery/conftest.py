"""What the tests of the engine share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.delivery.lanes import Lanes, listening
from tests.delivery.room import Room
from tests.support.gateway import gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.redis import RedisServer


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    """A channel with nobody attached."""
    room = Room()
    yield room
    room.hub.close()
    room.hub.wheel.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lanes(valkey: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lanes]:
    """One service, by the fast lane and by ASGI alone."""
    url = valkey.database()
    quick = {"LONG_POLL__HOLD": "50ms", "AUTH__ANONYMOUS_SCOPES": '["broadcast"]'}
    async with gateway(tmp_path_factory.mktemp("lanes"), url, quick) as served:
        await served.publish({"data": 1}, {"data": 2})
        async with listening(served) as asgi:
            yield Lanes(served, int(served.url.rpartition(":")[2]), asgi)
