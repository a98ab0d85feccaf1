"""A rolling update: gateways of two versions, with two versions of the kernel's library, on one log.

The next version is a copy of this one, whose library and functions have the next name: a gateway of its own process.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from redis import Redis

from tests.support.gateway import SECRET, Gateway, gateway
from tests.support.program import program
from tests.support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support.gateway import Stream
    from tests.support.redis import RedisServer

ROOT = Path(__file__).parents[2]
PACKAGES = ("realtime", "transports", "policies", "admin")
OURS, NEXT = "gapless_3", "gapless_4"
META = "{gapless:0}:meta"


def next_version(place: Path) -> Path:
    """Make the next version: the same, but for the names of its library and of the functions in it."""
    for name in PACKAGES:
        shutil.copytree(ROOT / name, place / name)
    for name in ("log.lua", "log.py"):
        file = place / "realtime/channel" / name
        text = file.read_text()
        assert OURS in text
        file.write_text(text.replace(OURS, NEXT))
    return place


@asynccontextmanager
async def updated(directory: Path, old: Gateway, redis_url: str) -> AsyncIterator[Gateway]:
    """Run a gateway of the next version; the credentials of the old one count there too."""
    environ = {
        "PYTHONPATH": str(next_version(directory / "next")),
        "GAPLESS_REDIS__URL": redis_url,
        "GAPLESS_AUTH__SECRET": SECRET,
        "GAPLESS_LIMITS__STREAMS_PER_USER": "0",
    }
    start = ("-c", "from realtime.cli import run; run()", "serve", "--port", "0")
    async with program(directory, *start, environ=environ, command=sys.executable) as running:
        url = await running.address()
        async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE_S, trust_env=False) as http:
            yield Gateway(url, old.worker, http)


@pytest.fixture
def redis(valkey: RedisServer, redis_url: str) -> Iterator[Redis]:
    """Redis without any library, before and after."""
    with Redis(port=valkey.port, decode_responses=True) as client:
        client.function_flush()
        yield client
        client.function_flush()


def libraries(redis: Redis) -> dict[str, str]:
    """Return the code of each library."""
    listed: Any = redis.function_list(withcode=True)
    tables = [one if isinstance(one, dict) else dict(zip(one[::2], one[1::2], strict=True)) for one in listed]
    return {table["library_name"]: table["library_code"] for table in tables}


async def received(stream: Stream, count: int) -> list[str]:
    """Read so many events; anything but events and heartbeats is a failure."""
    ids: list[str] = []
    while len(ids) < count:
        message = await stream.next()
        if message.event != "heartbeat.sent":
            assert message.event == "test.happened"
            ids.append(message.last_event_id)
    return ids


async def test_two_versions_publish_and_follow_together_and_nothing_is_lost(
    tmp_path: Path, redis_url: str, redis: Redis
) -> None:
    async with gateway(tmp_path, redis_url) as old, AsyncExitStack() as open_ones:
        (before,) = await old.publish({"data": "before the update"})
        assert libraries(redis).keys() == {OURS}
        floor = redis.hget(META, "floor")
        at_old = await open_ones.enter_async_context(old.stream(old.bearer(), cursor=before))
        assert (await at_old.next()).event == "connection.established"

        new = await open_ones.enter_async_context(updated(tmp_path, old, redis_url))
        at_new = await open_ones.enter_async_context(new.stream(old.bearer(), cursor=before))
        assert (await at_new.next()).event == "connection.established", "the cursor is as good there"

        ids: list[str] = []
        for number in range(10):
            ids += await (old, new)[number % 2].publish({"data": number})
        together = await asyncio.gather(*[one.publish({"data": 0}, {"data": 1}) for one in (old, new) * 10])
        ids += sorted((id_ for batch in together for id_ in batch), key=_order)
        assert ids == sorted(set(ids), key=_order)
        assert await received(at_old, len(ids)) == ids
        assert await received(at_new, len(ids)) == ids

        back = {"Last-Event-ID": ids[4], **old.bearer()}
        for place in (new, old):
            async with place.stream(back) as resumed:
                assert (await resumed.next()).event == "connection.established"
                assert await received(resumed, len(ids) - 5) == ids[5:]
        assert redis.hget(META, "floor") == floor, "no loss was found where there was none"


async def test_the_older_version_leaves_the_newer_ones_library_alone(
    tmp_path: Path, redis_url: str, redis: Redis
) -> None:
    newer = f"#!lua name={NEXT}\nredis.register_function('{NEXT}_touch', function() return 'newer' end)"
    redis.function_load(newer)
    for _ in range(2):  # also when it is put back, and finds its own there
        async with gateway(tmp_path, redis_url) as old:
            await old.publish({"data": "from the older"})
            assert libraries(redis).keys() == {OURS, NEXT}
            assert libraries(redis)[NEXT] == newer
    ours = (ROOT / "realtime/channel/log.lua").read_text()
    assert libraries(redis)[OURS] == ours


def _order(id_: str) -> tuple[int, ...]:
    return tuple(int(part) for part in id_.split("-"))
