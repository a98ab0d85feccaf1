"""The version before this one, as it was released, on the same log: what a rolling update has for a while."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from realtime.channel.event import Cursor, stored_cursor
from tests.channel.events import EVERYONE, draft, publish
from tests.channel.model import RETENTION_MS, ROOMY
from tests.channel.rules import META, good, replayed

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from realtime.channel.log import Log

BASE = "{gapless:0}:"


class Older:
    """What a gateway of the older version asks of Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._requests = 0

    async def _call(self, name: str, *arguments: object) -> Any:  # noqa: ANN401 - what a function returns
        keys = (f"{BASE}log", META, BASE, RETENTION_MS)
        command = ("FCALL", f"gapless_2_{name}", 2, *keys, *arguments)
        return await self._redis.execute_command(*command)  # type: ignore[no-untyped-call]

    async def publish(self, scope: str = "broadcast") -> Cursor:
        self._requests += 1
        one = draft(scope=scope)
        limits = (ROOMY.scope_cap, ROOMY.topics_cap, 0, f"older {self._requests}", 60_000, 60_000)
        answer = await self._call("append", *limits, one.channel, one.scope, one.stored, "", "")
        return stored_cursor(answer.split()[1])

    async def good(self, cursor: Cursor) -> bool:
        answer = await self._call("check", str(cursor), str(cursor), "cap:main broadcast")
        return bool(answer[0] == 1)

    async def touch(self) -> Cursor:
        return stored_cursor((await self._call("touch", 0))[0])

    async def fence(self, witness: Cursor) -> bool:
        return bool((await self._call("fence", str(witness), 0))[0] == 1)


@pytest.fixture
async def older(redis: Redis) -> Older:
    await redis.function_load(Path(__file__).with_name("gapless_2.lua").read_text(), replace=True)
    return Older(redis)


async def test_each_reads_what_the_other_wrote(older: Older, log: Log) -> None:
    start = (await log.touch()).tail
    ids = []
    for _ in range(4):
        ids += [await older.publish(), *await publish(log, "broadcast")]
    assert await replayed(log, EVERYONE, start) == ids == sorted(ids)
    assert [await good(log, id_) for id_ in ids] == [await older.good(id_) for id_ in ids] == [True] * len(ids)


async def test_the_older_one_walks_over_what_only_the_newer_one_knows(older: Older, log: Log, redis: Redis) -> None:
    (id_,) = await publish(log, "broadcast")
    foreign = id_._replace(seq=id_.seq ^ (1 << 40))
    await log.replay(EVERYONE, foreign, id_, 10)
    log.witness(foreign)
    assert (await log.touch()).fenced
    names: Any = await redis.hkeys(META)
    assert {b"held", b"lost", b"seen"} <= {name.partition(b":")[0] for name in names}
    assert await older.touch() == (await log.touch()).tail
    assert not await older.good(id_), "a fence is a fence for both"


async def test_what_the_older_one_fences_the_newer_one_knows(older: Older, log: Log) -> None:
    kept = await older.publish()
    (other,) = await publish(log, "broadcast")
    assert await older.fence(kept._replace(seq=kept.seq ^ (1 << 40)))
    assert [await good(log, cursor) for cursor in (kept, other)] == [False, False]


async def test_what_the_newer_one_fenced_does_not_silence_the_older_one(older: Older, log: Log) -> None:
    kept = await older.publish()
    await log.mistrust()
    (after,) = await publish(log, "broadcast")
    assert await older.fence(kept._replace(seq=kept.seq ^ (1 << 40)))
    assert not await good(log, after)
