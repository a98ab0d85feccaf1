"""Gateways that many tests share: each on a database of one Valkey that no other test touches."""

from __future__ import annotations

import json
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.support.gateway import Gateway, gateway
from tests.support.redis import RedisServer, redis_server
from tests.wire.support import APP

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="session")
def wire_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Valkey that is never emptied: tests keep apart by their own scopes."""
    with redis_server(tmp_path_factory.mktemp("wire-valkey")) as server:
        yield server


def forgetful(running: Gateway) -> Gateway:
    """Let the shared client keep no cookie, or one test's would be sent by all that follow."""
    running.http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def plain(wire_valkey: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """A gateway with the default settings."""
    async with gateway(tmp_path_factory.mktemp("plain"), wire_valkey.url) as running:
        yield forgetful(running)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def public(wire_valkey: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """A gateway that lets anonymous clients see broadcasts and the news, and calls from the pages of `APP`."""
    settings = {
        "AUTH__ANONYMOUS_SCOPES": json.dumps(["broadcast", "topic:news.*"]),
        "CORS__ORIGINS": json.dumps([APP]),
    }
    async with gateway(tmp_path_factory.mktemp("public"), wire_valkey.database(), settings) as running:
        yield forgetful(running)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def moved(wire_valkey: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """A gateway whose policy offers no stream."""
    settings = {"POLICY__PREFERENCE": '["long-poll","polling"]', "POLLING__INTERVAL": "2s"}
    async with gateway(tmp_path_factory.mktemp("moved"), wire_valkey.database(), settings) as running:
        yield forgetful(running)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def quick(wire_valkey: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """A gateway whose times are short, on the log of `plain`."""
    settings = {
        "SSE__HEARTBEAT": "100ms",
        "AUTH__TICKET_TTL": "1s",
        "LONG_POLL__HOLD": "300ms",
        "POLLING__INTERVAL": "200ms",
    }
    async with gateway(tmp_path_factory.mktemp("quick"), wire_valkey.url, settings) as running:
        yield forgetful(running)
