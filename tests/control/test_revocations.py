"""Revocations: refused on every gateway, until their time, whatever happens to Redis."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from redis import Redis

from realtime.control import key
from realtime.revocation import Revocation
from tests.control.workers import worker
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.support.redis import RedisServer

HASH = key("revoked")
LIFTED = key("lifted")


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


async def test_a_subject_or_token_named_none_is_not_the_lack_of_one(redis_url: str) -> None:
    async with worker(redis_url) as one:
        await one.refuse("None")
        await one.revocations.revoke(Revocation("jti", "None", "alice", now_ms()))
        assert one.revocations.refuses("None", None)
        assert one.revocations.refuses(None, "None")
        assert not one.revocations.refuses(None, None), "an anonymous client, a token without an id"
        assert not one.revocations.refuses("42", None)


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


async def test_one_that_is_revoked_anew_is_refused_until_the_new_time(redis_url: str, valkey: RedisServer) -> None:
    async with worker(redis_url) as one, worker(redis_url) as other:
        await one.refuse("42")
        await until(lambda: other.revocations.refuses("42", None))
        shorter = now_ms() + 3_600_000
        await other.revocations.revoke(Revocation("sub", "42", "bob", now_ms(), shorter))
        await until(lambda: [known.until for known in one.revocations.list()] == [shorter])
        await one.revocations.load()
        assert [known.until for known in other.revocations.list()] == [shorter]


async def test_one_of_a_later_version_is_left_alone_and_keeps_nobody_from_the_others(
    redis_url: str, valkey: RedisServer
) -> None:
    async with worker(redis_url) as one:
        later = b'{"kind":"address","name":"10.0.0.1","by":"alice","at":1}'
        with Redis(port=valkey.port) as client:
            client.hset(HASH, "address:10.0.0.1", later)
            await one.refuse("42")
            async with worker(redis_url) as late:
                await until(lambda: late.revocations.refuses("42", None))
                await late.revocations.load()
                assert client.hget(HASH, "address:10.0.0.1") == later


async def test_a_lift_is_remembered_no_longer_than_what_it_lifts_would_have_lasted(
    redis_url: str, valkey: RedisServer
) -> None:
    async with worker(redis_url) as one:
        await one.revocations.revoke(Revocation("sub", "42", "alice", now_ms(), until=now_ms() + 300))
        assert await one.revocations.lift("sub", "42", "bob")
        with Redis(port=valkey.port) as client:
            assert client.hlen(LIFTED) == 1

            async def is_forgotten() -> bool:
                await one.revocations.load()
                return bool(client.hlen(LIFTED) == 0)

            await until(is_forgotten)
            assert set(client.hkeys(HASH)) == {b""}
