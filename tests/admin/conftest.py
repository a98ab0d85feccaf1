"""A gateway for the tests of the admin API, and those who may sit at its desk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.support.gateway import Gateway, gateway
from tests.support.operator import Operator
from tests.support.redis import RedisServer, redis_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="session")
def admin_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("admin-valkey")) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def desk(admin_valkey: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """The gateway."""
    async with gateway(tmp_path_factory.mktemp("desk"), admin_valkey.url) as running:
        yield running


@pytest.fixture
def admin(desk: Gateway) -> Operator:
    return Operator.at(desk)


@pytest.fixture
def viewer(desk: Gateway) -> Operator:
    return Operator.at(desk, "viewer", sub="victor")
