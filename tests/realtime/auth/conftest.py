"""Fixtures of the tests of credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.realtime.auth.makers import Clock, credentials

if TYPE_CHECKING:
    from realtime.auth import Credentials


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def door(clock: Clock) -> Credentials:
    """Credentials with the default settings: HS256, nobody anonymous."""
    return credentials(clock)
