"""`history.durability` in a whole gateway: what it may be, what publishers are told, and what else waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from realtime.channel.durability import Durability
from realtime.config import load
from realtime.connect import connect
from realtime.control import Control
from realtime.delivery.wheel import Wheel
from realtime.embedded import Embedded
from realtime.errors import ConfigError, LogUnavailable
from tests.support.gateway import gateway
from tests.wire.support import EVENTS, check_problem

if TYPE_CHECKING:
    from pathlib import Path

EVENT = {"event": "test.happened", "scope": "broadcast", "data": 1, "idempotency_key": "k"}
REPLICA = {"HISTORY__DURABILITY": "replicas:1", "REDIS__TIMEOUT": "400ms"}


@pytest.mark.parametrize("text", ["memory", "fsync"])
def test_the_private_valkey_can_be_as_durable_as_its_disk(text: str) -> None:
    assert load(environ={"GAPLESS_HISTORY__DURABILITY": text}).history.durability == text


def test_the_private_valkey_has_no_replicas() -> None:
    with pytest.raises(ConfigError, match=r"history\.durability.*the private Valkey has no replicas"):
        load(environ={"GAPLESS_HISTORY__DURABILITY": "replicas:1"})


def test_what_it_may_be_is_said() -> None:
    with pytest.raises(ConfigError, match=r'history\.durability.*"memory", "fsync" or "replicas:<1 to 99>"'):
        load(environ={"GAPLESS_HISTORY__DURABILITY": "disk"})


async def test_the_private_valkey_writes_to_the_disk_at_once_where_that_is_wanted(tmp_path: Path) -> None:
    valkey = Embedded(fsync=True)
    try:
        async with Redis.from_url(await valkey.start(tmp_path), decode_responses=True) as redis:
            assert await redis.config_get("appendfsync") == {"appendfsync": "always"}
    finally:
        await valkey.stop()


async def test_a_publisher_is_told_that_its_event_is_perhaps_in_the_log(tmp_path: Path, redis_url: str) -> None:
    async with gateway(tmp_path, redis_url, REPLICA) as one:
        headers = one.bearer("publisher", roles=("publisher",))
        answer = await one.http.post(EVENTS, json={"events": [EVENT]}, headers=headers)
        told = check_problem(answer, 503, "log-unavailable")
        assert told["detail"].startswith("0 of 1 replicas had it in time")
        assert "perhaps in the log" in told["detail"]
        assert int(answer.headers["retry-after"]) >= 1
        assert (await one.http.get("/readyz")).status_code == 200, "and all else goes on"
    async with gateway(tmp_path, redis_url) as one:
        answer = await one.http.post(EVENTS, json={"events": [EVENT]}, headers=headers)
        assert answer.status_code == 201
        assert answer.json()["events"][0]["duplicate"] is True


async def test_state_of_operators_is_as_durable_and_news_is_not_waited_for(redis_url: str) -> None:
    redis = connect(redis_url, 5.0, 4)
    control = Control(redis, lambda: redis, Wheel(), Durability(replicas=1, patience_ms=50))
    await control.say("test.happened", {})
    await control.say("test.happened", {}, beside=[("SET", "soon gone", 1)], lasts=False)
    with pytest.raises(LogUnavailable, match="0 of 1 replicas"):
        await control.say("test.happened", {}, beside=[("SET", "state", 1)])
    await redis.aclose()
