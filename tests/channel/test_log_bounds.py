"""What the log keeps, and that it knows what it let go (rule 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realtime.channel.event import ORIGIN, interest
from tests.channel.events import EVERYONE, draft, publish
from tests.channel.model import RETENTION_MS

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from realtime.channel.log import Log
    from tests.channel.simulated import SimulatedServer

from tests.channel.rules import META, good, log_of, replayed


class TestBounds:
    """Rule 9: what is kept, and that what goes is known."""

    async def test_a_scope_keeps_its_newest_and_knows_where_the_cut_ended(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated, scope_cap=3)
        ids = await publish(log, *["user:1"] * 5)
        seen = interest("main", ["user:1"])
        assert await replayed(log, seen) == ids[2:]
        assert [await good(log, id_, seen) for id_ in ids] == [False, True, True, True, True]
        assert (await log.check(ORIGIN, seen)).floor == ids[1]

    async def test_a_cut_scope_is_nobody_elses_matter(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated, scope_cap=3)
        first, *_ = await publish(log, "broadcast", *["user:1"] * 5)
        assert await good(log, first, EVERYONE)
        assert not await good(log, first, interest("main", ["broadcast", "user:1"]))
        assert await good(log, first, interest("other", ["user:1"]))

    async def test_large_caps_are_cut_in_steps_of_a_hundredth(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated, scope_cap=200)
        ids = await publish(log, *["user:1"] * 202)
        seen = interest("main", ["user:1"])
        assert await replayed(log, seen) == ids
        (last,) = await publish(log, "user:1")
        assert await replayed(log, seen) == [*ids[3:], last]
        assert (await log.check(ORIGIN, seen)).floor == ids[2]

    async def test_all_topics_together_have_a_cap_for_who_asks_by_pattern(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated, topics_cap=3)
        ids = await publish(log, "topic:a.x", "topic:b", "topic:b", "topic:b", "topic:b")
        by_name, by_pattern = interest("main", ["topic:a.x"]), interest("main", ["topic:a.*"])
        assert await good(log, ids[0], by_name)
        assert await replayed(log, by_name) == ids[:1]
        assert not await good(log, ids[0], by_pattern)
        assert await good(log, ids[1], by_pattern)
        assert await replayed(log, interest("main", ["topic:*"])) == ids[2:]

    async def test_an_idle_scopes_stream_goes_after_the_retention_and_not_before(self, log: Log, redis: Redis) -> None:
        (id_,) = await publish(log, "topic:a")
        for name in ("scope main topic:a", "topics main"):
            gone_ms = await redis.pexpiretime(f"{{gapless:0}}:{name}")
            assert id_.ms + RETENTION_MS < gone_ms <= id_.ms + 1.1 * RETENTION_MS + 1_000
        assert await redis.pexpiretime(META) == -1
        assert await redis.pexpiretime(log.key) == -1

    async def test_a_full_log_gives_up_its_oldest_part_and_says_so(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated, max_bytes=20_000)
        ids = []
        for _ in range(40):
            ids += [one.id for one in await log.append([draft('"' + "x" * 400 + '"', scope="user:1")])]
        seen = interest("main", ["user:1"])
        left = await replayed(log, seen)
        assert left == ids[-len(left) :]
        assert 10 < len(left) < 30
        floor = (await log.touch()).floor
        assert floor == ids[-len(left) - 1]
        assert not await good(log, ids[-len(left) - 2], seen)
        assert await good(log, floor, seen)

    async def test_one_event_larger_than_all_room_is_kept(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated, max_bytes=1_000)
        for _ in range(3):
            (one,) = await log.append([draft('"' + "x" * 2_000 + '"')])
            assert (await log.touch()).tail == one.id
            assert await good(log, one.id)

    async def test_no_bound_of_bytes_when_there_is_none(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated, max_bytes=0)
        ids = await publish(log, *["broadcast"] * 500)
        assert await replayed(log, EVERYONE) == ids
