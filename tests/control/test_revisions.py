"""The policy's revisions: no change is lost between two admins, none is undone by what happens to Redis."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from redis import Redis

from policies.document import Document
from realtime.control import key
from realtime.errors import LogUnavailable, NotFound, PreconditionFailed
from realtime.revision import Revision
from realtime.revisions import REVISED
from tests.control.workers import BASELINE, CATALOGUE, worker
from tests.support.proxy import proxy
from tests.support.redis import RedisServer
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


STREAM = key("policy")


@pytest.fixture
def redis(valkey: RedisServer, redis_url: str) -> Iterator[Redis]:
    """A client of the Valkey of this test."""
    with Redis(port=valkey.port) as client:
        yield client


def kept(redis: Redis) -> list[int]:
    """Return the revisions that Redis holds."""
    found: Any = redis.xrange(STREAM)
    return [int(id_.split(b"-")[0]) for id_, _ in found]


async def test_revision_0_is_the_configuration_s(redis_url: str) -> None:
    async with worker(redis_url) as one:
        current = one.revisions.current
        assert (current.number, current.by) == (0, "config")
        assert current.policy == BASELINE.with_transports(CATALOGUE).dump()
        assert not one.revisions.is_stale


async def test_a_change_is_a_revision_that_tells_who_why_and_what(redis_url: str) -> None:
    async with worker(redis_url) as one, worker(redis_url) as other:
        assert await one.prefer("polling", "sse") == 1
        await other.has("polling", "sse")
        (revision,) = await other.revisions.list(10)
        assert (revision.number, revision.by, revision.reason) == (1, "alice", "a test")
        assert [change.path for change in revision.changes] == ["preference"]
        assert [policy.revision for policy in other.policies] == [0, 1]


async def test_saving_what_is_in_force_makes_no_revision(redis_url: str, redis: Redis) -> None:
    async with worker(redis_url) as one:
        await one.prefer("polling")
        assert await one.prefer("polling") == 1
        assert kept(redis) == [1]


async def test_of_two_admins_at_once_one_is_told(redis_url: str, redis: Redis) -> None:
    async with worker(redis_url) as one, worker(redis_url) as other:
        saves = (one.prefer("polling", by="alice"), other.prefer("sse", by="bob"))
        results = await asyncio.gather(*saves, return_exceptions=True)
        (refused,) = [result for result in results if isinstance(result, PreconditionFailed)]
        assert (min(map(str, results)), kept(redis)) == ("1", [1])
        assert json.loads(refused.body())["revision"] == 1, "it names what is in force, and not what was"
        winner = one if results[0] == 1 else other
        await one.has(*winner.revisions.document.preference)
        await other.has(*winner.revisions.document.preference)


async def test_edits_of_many_at_once_are_all_made(redis_url: str, redis: Redis) -> None:
    """Switches and ramps are small enough to be made again on what another has just made."""
    async with worker(redis_url) as one, worker(redis_url) as other:

        def later(document: Document) -> Document:
            return document.model_copy(update={"move_within": document.move_within + 1})

        edits = [who.revisions.edit(later, "alice", "") for who in (one, other, one, other)]
        await asyncio.gather(*edits)
        await until(lambda: other.revisions.document.move_within == BASELINE.move_within + 4)
        assert kept(redis) == [1, 2, 3, 4]


async def test_a_restore_of_whatever_is_in_force_is_made_also_while_others_change_it(
    redis_url: str, redis: Redis
) -> None:
    async with worker(redis_url) as one, worker(redis_url) as other:
        await one.prefer("polling")
        await other.has("polling")
        back = [who.revisions.restore(0, "alice", f"by {number}") for number, who in enumerate((one, other, one))]
        assert {revision.policy["preference"][0] for revision in await asyncio.gather(*back)} == {"sse"}
        assert kept(redis) == [1, 2]


async def test_an_edit_of_a_revision_that_is_in_force_no_longer_is_not_made(redis_url: str) -> None:
    async with worker(redis_url) as one:
        await one.prefer("polling")
        with pytest.raises(PreconditionFailed):
            await one.revisions.edit(lambda document: document, "alice", "", expected=0)


async def test_who_read_the_newest_revision_elsewhere_is_not_refused(redis_url: str, valkey: RedisServer) -> None:
    """The news of it is still on its way."""
    async with proxy(valkey.port) as way, worker(redis_url) as one, worker(way.redis_url) as other:
        await one.prefer("polling")
        await other.revisions.require(1)
        assert other.revisions.current.number == 1


async def test_a_lost_reply_makes_one_revision(redis_url: str, valkey: RedisServer, redis: Redis) -> None:
    async with proxy(valkey.port) as way, worker(way.redis_url) as one, worker(redis_url) as other:
        way.lose_reply(b"XADD")
        assert await one.prefer("polling", "sse") == 1
        await way.lost.wait()
        await other.has("polling", "sse")
        assert kept(redis) == [1]
        assert await one.prefer("sse") == 2


async def test_a_revision_that_redis_loses_at_once_is_perhaps_in_force(
    redis_url: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with worker(redis_url) as one:
        write = one.revisions._write  # noqa: SLF001 - between writing and looking is no other seam

        async def lost(revision: Revision, onto: bytes) -> None:
            await write(revision, onto)
            redis.flushall()

        monkeypatch.setattr(one.revisions, "_write", lost)
        with pytest.raises(LogUnavailable):
            await one.prefer("polling")


async def test_spurious_news_changes_nothing(redis_url: str) -> None:
    async with worker(redis_url) as one:
        await one.prefer("polling")
        await one.control.say(REVISED, {"revision": 17, "by": "nobody"})
        await one.command(1)
        await until(lambda: one.commands == [1])
        assert [policy.revision for policy in one.policies] == [0, 1]


async def test_a_flush_undoes_nothing(redis_url: str, redis: Redis) -> None:
    async with worker(redis_url) as one, worker(redis_url) as other:
        await one.prefer("sse")
        await one.prefer("polling")
        await other.has("polling")
        redis.flushall()
        await until(lambda: kept(redis) == [2])
        assert await other.prefer("sse", "polling") == 3
        await one.has("sse", "polling")


async def test_a_failover_to_a_replica_that_lagged_undoes_nothing(tmp_path: Path) -> None:
    primary, replica = RedisServer(tmp_path / "primary"), RedisServer(tmp_path / "replica")
    await primary.start()
    await replica.start()
    try:
        async with proxy(primary.port) as link, proxy(primary.port) as way, worker(way.redis_url) as one:
            await one.prefer("sse")
            async with replica.client as client:
                await client.replicaof("127.0.0.1", link.port)
                with Redis(port=replica.port) as seen:
                    await until(lambda: kept(seen) == [1])
                link.hold()
                await one.prefer("polling")
                await client.replicaof("NO", "ONE")
                way.target_port = replica.port
                primary.kill()
                way.cut()
                with Redis(port=replica.port) as seen:
                    await until(lambda: kept(seen) == [1, 2])
            assert one.revisions.document.preference == ("polling",)
    finally:
        primary.stop()
        replica.stop()


async def test_a_revision_that_another_made_after_a_failover_counts(redis_url: str, redis: Redis) -> None:
    async with worker(redis_url) as one:
        await one.prefer("polling")
        await one.prefer("sse")
        before = await one.revisions.revision(1)
        redis.delete(STREAM)
        policy = {**before.policy, "preference": ["long-poll"]}
        other = msgspec.structs.replace(before, number=2, policy=policy, request="another", after=before.line)
        redis.xadd(STREAM, {"r": msgspec.json.encode(other)}, id="2-0")
        await one.control.say(REVISED, {})
        await one.has("long-poll")


def unreadable(redis: Redis, *numbers: int) -> None:
    """Write revisions as a newer version might."""
    for number in numbers:
        newer = Revision(number, {"moods": ["good"]}, "alice", 0, "a newer version")
        redis.xadd(STREAM, {"r": msgspec.json.encode(newer)}, id=f"{number}-0")


async def test_a_revision_that_this_version_cannot_read_leaves_the_last_one_and_says_so(
    redis_url: str, redis: Redis
) -> None:
    async with worker(redis_url) as one:
        await one.prefer("polling")
        unreadable(redis, 2)
        await one.control.say(REVISED, {})
        await until(lambda: one.revisions.unread == 2)
        assert one.revisions.is_loaded
        assert one.revisions.is_stale
        assert one.revisions.document.preference == ("polling",)
        readable = msgspec.structs.replace(one.revisions.current, number=3, request="another")
        redis.xadd(STREAM, {"r": msgspec.json.encode(readable)}, id="3-0")
        await one.control.say(REVISED, {})
        await until(lambda: not one.revisions.is_stale)
        assert one.revisions.unread == 0


@pytest.mark.parametrize("newer", [1, 60], ids=["one", "more than are read at once"])
async def test_who_starts_takes_the_newest_revision_that_it_can_read(redis_url: str, redis: Redis, newer: int) -> None:
    async with worker(redis_url) as one:
        await one.prefer("sse")
        await one.prefer("polling")
    unreadable(redis, *range(3, 3 + newer))
    async with worker(redis_url) as late:
        assert (late.revisions.current.number, late.revisions.document.preference) == (2, ("polling",))
        assert late.revisions.unread == 2 + newer
        assert late.revisions.is_stale
    assert kept(redis)[-1] == 2 + newer, "and puts nothing back over it"


async def test_who_starts_and_can_read_no_revision_is_not_ready_until_it_can(redis_url: str, redis: Redis) -> None:
    unreadable(redis, 1, 2)
    async with worker(redis_url, ready=False) as one:
        await until(lambda: one.revisions.unread == 2)
        assert not one.revisions.is_loaded
        policy = Document(preference=("polling",)).dump()
        redis.xadd(STREAM, {"r": msgspec.json.encode(Revision(3, policy, "bob", 0, ""))}, id="3-0")
        await one.control.say(REVISED, {})
        await until(lambda: one.revisions.is_loaded)
        assert one.revisions.document.preference == ("polling",)


async def test_what_cannot_be_read_is_not_changed_but_can_be_replaced(redis_url: str, redis: Redis) -> None:
    async with worker(redis_url) as one:
        await one.prefer("polling")
        unreadable(redis, 2)
        with pytest.raises(PreconditionFailed, match="revision 2 is in force, which this version can't read"):
            await one.prefer("sse")
        for expected in (None, 1, 2):
            with pytest.raises(PreconditionFailed) as refused:
                await one.revisions.edit(lambda document: document, "alice", "", expected)
            assert json.loads(refused.value.body())["revision"] == 2
        assert kept(redis) == [1, 2]
        replaced = await one.revisions.save(one.revisions.document, "bob", "a downgrade, to what was before", 2)
        assert (replaced.number, replaced.by) == (3, "bob")
        await until(lambda: not one.revisions.is_stale)
        assert one.revisions.document.preference == ("polling",)


async def test_while_redis_is_away_the_last_policy_counts_and_is_said_to_be_old(
    redis_url: str, valkey: RedisServer
) -> None:
    async with proxy(valkey.port) as way, worker(way.redis_url) as one, worker(redis_url) as other:
        await one.prefer("polling")
        way.refuses = True
        way.cut()
        await until(lambda: one.revisions.is_stale)
        await other.has("polling")
        await other.prefer("sse")
        assert one.revisions.document.preference == ("polling",)
        with pytest.raises(LogUnavailable):
            await one.prefer("long-poll")
        way.refuses = False
        await one.has("sse")
        await until(lambda: not one.revisions.is_stale)


async def test_earlier_revisions_can_be_restored_and_the_configuration_too(redis_url: str) -> None:
    async with worker(redis_url) as one:
        await one.prefer("sse")
        await one.prefer("polling")
        restored = await one.revisions.restore(1, "bob", "", 2)
        assert (restored.number, one.revisions.document.preference) == (3, ("sse",))
        assert restored.reason == "restored revision 1"
        assert (await one.revisions.restore(0, "bob", "", 3)).policy["preference"] == list(BASELINE.preference)
        for number in (99, 2**53, 10**30):
            with pytest.raises(NotFound):
                await one.revisions.restore(number, "bob", "", 4)


async def test_revisions_are_listed_in_pages_newest_first(redis_url: str) -> None:
    async with worker(redis_url) as one:
        for number in range(5):
            await one.prefer("sse" if number % 2 else "polling")
        assert [revision.number for revision in await one.revisions.list(2)] == [5, 4]
        assert [revision.number for revision in await one.revisions.list(10, before=3)] == [2, 1]
        assert await one.revisions.list(10, before=1) == []


async def test_who_has_heard_of_a_revision_and_waits_until_that_is_heeded_finds_it_in_force(redis_url: str) -> None:
    async with worker(redis_url) as one, worker(redis_url) as two:
        for number, first in enumerate(("polling", "long-poll", "sse") * 5, 1):
            await one.prefer(first)
            told = one.control.log.acknowledged
            await two.control.follower.reach(told)
            await two.revisions.news.heeded()
            assert two.revisions.current.number == number
