"""What the tests of the engine share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.delivery.room import Room

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    """A channel with nobody attached."""
    room = Room()
    yield room
    room.hub.close()
    room.hub.wheel.stop()
