"""A split: what was made on the side that is lost yields to what was acknowledged on the side that stays."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest
from redis import Redis
from structlog.testing import capture_logs

from realtime.config import Settings
from realtime.connect import connect
from realtime.control import Control, key
from realtime.delivery.wheel import Wheel
from realtime.errors import PreconditionFailed
from realtime.offers import Offers
from realtime.revision import GAPLESS, Revision
from realtime.revisions import Revisions
from realtime.revocation import Revocation
from tests.control.splits import Split, split
from tests.control.workers import BASELINE, Worker, worker
from tests.support.proxy import proxy
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.redis import RedisServer

STREAM = key("policy")


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Split]:
    async with split(tmp_path) as one:
        yield one


async def both(two: Split, number: int) -> None:
    """Wait until both workers have a revision in force."""
    await until(lambda: two.lost.revisions.current.number == two.kept.revisions.current.number == number)


async def test_of_two_policies_the_one_on_the_side_that_stays_counts_and_who_made_the_other_is_told(two: Split) -> None:
    await two.lost.prefer("sse")
    await both(two, 1)
    await two.part()
    await two.lost.prefer("long-poll", by="alice")
    await two.lost.prefer("polling", by="ada")
    assert await two.kept.prefer("long-poll", "sse", by="bob") == 2
    with capture_logs() as said:
        await two.heal()
        await both(two, 4)
    assert two.lost.revisions.document.preference == two.kept.revisions.document.preference == ("long-poll", "sse")
    history = await two.kept.revisions.list(10)
    assert [(one.number, one.by) for one in history] == [(4, GAPLESS), (2, "bob"), (1, "alice")]
    assert [(one.number, one.by, one.reason) for one in history[0].dropped] == [
        (2, "alice", "a test"),
        (3, "ada", "a test"),
    ]
    assert [[change.path for change in one.changes] for one in history[0].dropped] == [["preference"]] * 2
    assert "revision 2 by alice, revision 3 by ada" in history[0].reason
    dropped = [one for one in said if one["event"].startswith("policy change dropped")]
    assert [(one["revision"], one["by"], one["kept"], one["log_level"]) for one in dropped] == [
        (2, "alice", 2, "error"),
        (3, "ada", 2, "error"),
    ]
    assert await two.lost.prefer("sse", "polling") == 5, "and changes go on"
    await two.kept.has("sse", "polling")


async def test_the_same_number_on_both_sides_is_not_the_same_policy(two: Split) -> None:
    await two.part()
    await two.lost.prefer("polling")
    await two.kept.prefer("long-poll")
    await two.heal()
    await both(two, 2)
    assert two.lost.revisions.document.preference == ("long-poll",)
    (dropped,) = two.lost.revisions.current.dropped
    assert (dropped.number, dropped.by) == (1, "alice")


async def test_a_policy_of_the_side_that_is_lost_yields_to_one_with_a_higher_number_too(two: Split) -> None:
    await two.part()
    await two.lost.prefer("polling")
    await two.kept.prefer("long-poll")
    await two.kept.prefer("sse", "long-poll")
    await two.heal()
    await both(two, 3)
    assert [one.number for one in two.kept.revisions.current.dropped] == [1]


async def test_what_was_made_on_the_side_that_is_lost_is_put_back_where_nothing_was_made_on_the_other(
    two: Split,
) -> None:
    await two.lost.prefer("sse")
    await both(two, 1)
    await two.part()
    await two.lost.prefer("long-poll")
    await two.lost.prefer("polling")
    await two.heal()
    await two.kept.has("polling")
    assert two.lost.revisions.document.preference == ("polling",)
    assert [(one.number, one.dropped) for one in await two.kept.revisions.list(10)] == [(3, ()), (1, ())]


async def test_a_change_of_a_policy_that_was_lost_is_not_made_on_another(two: Split) -> None:
    """Both have number 2, and the gateway that is asked has not heard yet that there is another."""
    await two.lost.prefer("sse")
    await both(two, 1)
    await two.part()
    await two.lost.prefer("polling")
    await two.kept.prefer("long-poll")
    async with proxy(two.first.port) as way, unaware(way.redis_url) as revisions:
        await revisions.load()
        assert revisions.document.preference == ("polling",)
        way.target_port = two.second.port
        way.cut()
        later = revisions.document.model_copy(update={"move_within": revisions.document.move_within + 1})
        with pytest.raises(PreconditionFailed):
            await revisions.save(later, "ada", "", 2)
        assert revisions.document.preference == ("long-poll",)
    await until(lambda: two.kept.revisions.current.by == GAPLESS)
    assert two.kept.revisions.document.preference == ("long-poll",)


@asynccontextmanager
async def unaware(redis_url: str) -> AsyncIterator[Revisions]:
    """Make revisions that hear no news: they look when they are told to."""
    redis, wheel = connect(redis_url, 5.0, 2), Wheel()
    yield Revisions(Control(redis, lambda: redis, wheel), BASELINE, Offers(Settings()))
    wheel.stop()
    await redis.aclose()


# Revocations


async def refused(one: Worker, *subs: str) -> None:
    """Wait until exactly these are refused."""
    await until(lambda: {known.name for known in one.revocations.list()} == set(subs))


async def test_no_revocation_is_lost_though_as_many_were_made_on_both_sides(two: Split) -> None:
    await two.lost.refuse("before")
    await refused(two.kept, "before")
    await two.part()
    await two.lost.refuse("on the lost side")
    await two.kept.refuse("on the other")
    await two.kept.refuse("on the other, too")
    await two.heal()
    for one in (two.lost, two.kept):
        await refused(one, "before", "on the lost side", "on the other", "on the other, too")
    async with worker(two.kept_way.redis_url) as late:
        await refused(late, "before", "on the lost side", "on the other", "on the other, too")


async def test_who_is_revoked_again_on_the_side_that_is_lost_stays_refused_though_the_other_lifted(two: Split) -> None:
    await two.lost.refuse("42")
    await refused(two.kept, "42")
    await two.part()
    assert await two.kept.revocations.lift("sub", "42", "bob")
    await two.lost.refuse("42")
    await two.heal()
    await refused(two.kept, "42")
    await refused(two.lost, "42")


async def test_a_lift_on_the_side_that_stays_counts_on_both(two: Split) -> None:
    await two.lost.refuse("42")
    await refused(two.kept, "42")
    await two.part()
    await two.lost.refuse("7")
    assert await two.kept.revocations.lift("sub", "42", "bob")
    await two.heal()
    await refused(two.kept, "7")
    await refused(two.lost, "7")


async def test_of_two_revocations_of_one_subject_the_longer_counts(two: Split) -> None:
    await two.part()
    await two.lost.revocations.revoke(Revocation("sub", "42", "alice", 1))
    await two.kept.revocations.revoke(Revocation("sub", "42", "bob", 2, until=4_000_000_000_000))
    await two.heal()
    await until(lambda: [known.by for known in two.lost.revocations.list()] == ["alice"])
    await until(lambda: [known.by for known in two.kept.revocations.list()] == ["alice"])


# An earlier version's revisions don't name those that they were made from.


def earlier(redis: Redis, revision: Revision, **changes: object) -> None:
    """Write a revision as an earlier version does."""
    kept = msgspec.to_builtins(msgspec.structs.replace(revision, **changes))
    old = {name: value for name, value in kept.items() if name not in {"after", "dropped"}}
    redis.xadd(STREAM, {"r": msgspec.json.encode(old)}, id=f"{old['number']}-0")


async def in_force(one: Worker, number: int) -> None:
    await one.control.say("policy.revised", {})
    await until(lambda: one.revisions.current.number == number)


async def test_revisions_of_an_earlier_version_are_put_back_by_whoever_had_them_in_force(
    redis_url: str, valkey: RedisServer
) -> None:
    with Redis(port=valkey.port) as redis:
        async with worker(redis_url) as one:
            policy = BASELINE.model_copy(update={"preference": ("polling",)}).dump()
            first = Revision(1, BASELINE.dump(), "alice", 1, request="one")
            earlier(redis, first)
            await in_force(one, 1)
            earlier(redis, first, number=2, policy=policy, request="two")
            await in_force(one, 2)
            redis.delete(STREAM)
            earlier(redis, first)
            await one.control.say("policy.revised", {})
            await until(lambda: redis.xlen(STREAM) == 2)
            assert one.revisions.document.preference == ("polling",)


async def test_a_revision_of_an_earlier_version_that_was_made_beside_ours_counts(
    redis_url: str, valkey: RedisServer
) -> None:
    with Redis(port=valkey.port) as redis:
        async with worker(redis_url) as one:
            policy = BASELINE.model_copy(update={"preference": ("polling",)}).dump()
            first = Revision(1, BASELINE.dump(), "alice", 1, request="one")
            earlier(redis, first)
            await in_force(one, 1)
            earlier(redis, first, number=2, request="two")
            await in_force(one, 2)
            redis.delete(STREAM)
            earlier(redis, first)
            earlier(redis, first, number=2, policy=policy, by="bob", request="beside")
            await in_force(one, 3)
            assert one.revisions.document.preference == ("polling",)
            assert [(made.number, made.by) for made in one.revisions.current.dropped] == [(2, "alice")]
            assert await one.prefer("sse") == 4


async def test_an_earlier_version_reads_what_this_one_writes(redis_url: str, valkey: RedisServer) -> None:
    class Earlier(msgspec.Struct):
        number: int
        policy: dict[str, object]
        by: str
        at: int
        reason: str = ""
        request: str = ""

    async with worker(redis_url) as one:
        await one.prefer("polling")
        with Redis(port=valkey.port) as redis:
            ((_, fields),) = redis.xrange(STREAM)
        read = msgspec.json.decode(next(iter(fields.values())), type=Earlier)
        assert (read.number, read.by) == (1, "alice")
