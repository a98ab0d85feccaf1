"""A Redis whose memory ends: history that it may evict is not vouched for, and a full one still answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from tests.support.gateway import gateway
from tests.support.redis import RedisServer
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

POLL = "/api/v1/events/poll"


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """A Redis of the operator's own."""
    server = RedisServer(tmp_path / "redis")
    await server.start()
    yield server
    server.stop()


async def configure(server: RedisServer, **settings: str) -> None:
    async with Redis(port=server.port) as client:
        for name, value in settings.items():
            await client.config_set(name.replace("_", "-"), value)


async def forget_what_was_asked(server: RedisServer) -> None:
    """As when another server process answers from now on: an epoch begins."""
    async with Redis(port=server.port) as client:
        await client.function_flush()


async def test_a_gateway_whose_redis_may_evict_is_not_ready_and_says_why(tmp_path: Path, own: RedisServer) -> None:
    async with gateway(tmp_path, own.url) as one:
        await configure(own, maxmemory_policy="allkeys-lru")
        await forget_what_was_asked(own)
        await until(lambda: not one.worker.is_ready)
        answer = await one.http.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["code"] == "log-unavailable"
        assert "allkeys-lru" in answer.json()["detail"]
        health = (await one.http.get("/api/v1/events/health", headers=one.bearer(roles=("viewer",)))).json()
        assert (health["status"], health["follower"]["eviction"]) == ("degraded", "allkeys-lru")
        await configure(own, maxmemory_policy="noeviction")
        await until(lambda: one.worker.is_ready)


async def test_a_stream_that_was_evicted_is_told_and_not_passed_over(tmp_path: Path, own: RedisServer) -> None:
    async with gateway(tmp_path, own.url, {"HISTORY__WINDOW_EVENTS": "5"}) as one:
        first, *_ = await one.publish(*[{"data": number} for number in range(30)])
        async with Redis(port=own.port) as client:
            await client.delete("{gapless:0}:scope main broadcast")
        answer = await one.http.get(POLL, params={"cursor": first}, headers=one.bearer())
        assert "history.truncated" in answer.text, answer.text


async def test_history_is_read_while_memory_is_full(tmp_path: Path, own: RedisServer) -> None:
    async with gateway(tmp_path, own.url) as one:
        ids = await one.publish(*[{"data": number} for number in range(3)])
        await configure(own, maxmemory="1mb")
        answer = await one.http.get("/api/v1/events/history", headers=one.bearer())
        assert answer.status_code == 200, answer.text
        assert [event["id"] for event in answer.json()["events"]] == ids
        await configure(own, maxmemory="0")
