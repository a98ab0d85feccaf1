"""Revocations: refused on every gateway, until their time, whatever happens to Redis."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from redis import Redis

from realtime.control import key
from realtime.revocations import Revocation
from tests.control.workers import worker
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.support.redis import RedisServer

HASH = key("revoked")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def test_a_subject_and_a_token_are_refused_by_all_and_looked_for(redis_url: str) -> None:
    async with worker(redis_url) as one, worker(redis_url) as other:
        looked = other.ended
        await one.revocations.revoke(Revocation("jti", "token-1", "alice", now_ms()))
        await one.refuse("42")
        assert one.revocations.refuses("42", None), "at once where it was said"
        await until(lambda: other.revocations.refuses("42", None) and other.revocations.refuses(None, "token-1"))
        assert other.ended > looked
        assert not other.revocations.refuses("token-1", "42"), "a subject is no token"
        assert [one.name for one in other.revocations.list()] == ["token-1", "42"]


async def test_one_that_is_over_counts_no_longer_and_is_forgotten(redis_url: str, valkey: RedisServer) -> None:
    async with worker(redis_url) as one:
        await one.revocations.revoke(Revocation("sub", "42", "alice", now_ms(), until=now_ms() + 300))
        assert one.revocations.refuses("42", None)
        await until(lambda: not one.revocations.refuses("42", None))
        await one.refuse("7")
        with Redis(port=valkey.port) as client:
            await until(lambda: set(client.hkeys(HASH)) == {b"", b"sub:7"})


async def test_one_that_is_lifted_counts_nowhere(redis_url: str) -> None:
    async with worker(redis_url) as one, worker(redis_url) as other:
        await one.refuse("42")
        await until(lambda: other.revocations.refuses("42", None))
        assert await other.revocations.lift("sub", "42", "bob")
        await until(lambda: not one.revocations.refuses("42", None))
        assert not await other.revocations.lift("sub", "42", "bob")


async def test_a_worker_that_starts_later_knows_them(redis_url: str) -> None:
    async with worker(redis_url) as one:
        await one.refuse("42")
        async with worker(redis_url) as late:
            await until(lambda: late.revocations.refuses("42", None))


async def test_a_flush_lets_nobody_in(redis_url: str, valkey: RedisServer) -> None:
    async with worker(redis_url) as one, worker(redis_url) as other:
        await one.refuse("42")
        await one.refuse("7")
        await other.revocations.lift("sub", "7", "bob")
        await until(lambda: not one.revocations.refuses("7", None))
        with Redis(port=valkey.port) as client:
            client.flushall()
            await until(lambda: set(client.hkeys(HASH)) == {b"", b"sub:42"})
        assert one.revocations.refuses("42", None)
        await other.refuse("9")
        await until(lambda: one.revocations.refuses("9", None))
        async with worker(redis_url) as late:
            await until(lambda: late.revocations.refuses("42", None))
            assert not late.revocations.refuses("7", None)
