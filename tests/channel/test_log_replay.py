"""Replay: history read from the scope streams, up to a horizon, judged last (rule 7)."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from realtime.channel.event import Cursor, Draft, interest, parse_filter, stored_envelope
from realtime.channel.log import Log
from tests.channel.events import EVERYONE, other_epoch, publish
from tests.channel.model import INTERESTS, PLACES, ROOMY

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from realtime.channel.event import Interest


async def tail(log: Log) -> Cursor:
    return (await log.touch()).tail


async def ids(log: Log, seen: Interest, after: Cursor) -> list[Cursor]:
    return [entry.id for entry in (await log.replay(seen, after, await tail(log), 100)).entries]


async def test_several_scopes_come_in_one_order(log: Log) -> None:
    start = await tail(log)
    published = await publish(log, "user:1", "broadcast", "topic:a.x", "user:1", "user:2")
    seen = interest("main", ["broadcast", "user:1", "topic:a.*"])
    assert await ids(log, seen, start) == published[:4]


async def test_a_topic_asked_for_by_name_and_by_pattern_is_one_event(log: Log) -> None:
    start = await tail(log)
    published = await publish(log, "topic:a.x", "topic:a", "topic:a.y")
    assert await ids(log, interest("main", ["topic:a.x", "topic:a.*"]), start) == [published[0], published[2]]


async def test_other_channels_and_scopes_stay_hidden(log: Log) -> None:
    start = await tail(log)
    await publish(log, "broadcast", channel="other")
    await publish(log, "user:2", "role:admin", "topic:ab")
    assert await ids(log, interest("main", ["broadcast", "user:1", "topic:a.*"]), start) == []


async def test_what_a_filter_hides_is_examined_all_the_same(log: Log) -> None:
    start = await tail(log)
    drafts = [
        Draft("main", "broadcast", stored_envelope(kind, "broadcast", b"0"))
        for kind in ["task.done", *["task.begun"] * 30]
    ]
    answers = await log.append(drafts)
    replay = await log.replay(replace(EVERYONE, filter=parse_filter("task.done")), start, answers[-1].id, 3)
    assert [entry.id for entry in replay.entries] == [answers[0].id]
    assert replay.position == answers[-1].id
    assert replay.verdict.good


async def test_a_full_page_ends_with_its_last_event(log: Log) -> None:
    start = await tail(log)
    published = await publish(log, *["broadcast", "user:1"] * 4)
    replay = await log.replay(interest("main", ["broadcast", "user:1"]), start, published[-1], 3)
    assert [entry.id for entry in replay.entries] == published[:3]
    assert replay.position == published[2]


async def test_nothing_beyond_the_horizon_is_read(log: Log) -> None:
    start = await tail(log)
    published = await publish(log, *["broadcast"] * 4)
    replay = await log.replay(EVERYONE, start, published[1], 10)
    assert [entry.id for entry in replay.entries] == published[:2]
    assert replay.position == published[1]


async def test_reading_stops_where_it_is_told_to(log: Log) -> None:
    start = await tail(log)
    published = await publish(log, *["broadcast"] * 4)
    replay = await log.replay(EVERYONE, start, published[3], 10, until=published[1])
    assert [entry.id for entry in replay.entries] == published[:2]
    assert replay.position == published[1]
    beyond = await log.replay(EVERYONE, start, published[1], 10, until=published[3])
    assert beyond.position == published[1]


@pytest.mark.parametrize("ms", [-1, 0, 1])
async def test_a_horizon_of_another_log_moves_no_cursor(log: Log, ms: int) -> None:
    """A gateway that follows one server and reads from another: the position would be good on the first."""
    start = await tail(log)
    published = await publish(log, "broadcast", "broadcast")
    horizon = other_epoch(published[1])._replace(ms=published[1].ms + ms)
    replay = await log.replay(EVERYONE, start, horizon, 10)
    assert (replay.entries, replay.position) == ([], start)
    assert replay.verdict.good
    assert not replay.verdict.complete


async def test_the_position_never_goes_back(log: Log) -> None:
    first, second = await publish(log, "broadcast", "broadcast")
    replay = await log.replay(EVERYONE, second, first, 10)
    assert replay.entries == []
    assert replay.position == second


async def test_a_cursor_below_a_cap_of_the_readers_scopes_is_said_to_be_bad(redis: Redis) -> None:
    log = Log(redis, replace(ROOMY, scope_cap=2))
    published = await publish(log, *["broadcast"] * 4)
    replay = await log.replay(EVERYONE, published[0], published[3], 10)
    assert not replay.verdict.good
    assert replay.verdict.floor == published[1]
    assert (await log.replay(EVERYONE, published[1], published[3], 10)).verdict.good


async def test_a_cursor_of_another_log_is_said_to_be_bad(log: Log) -> None:
    (id_,) = await publish(log, "broadcast")
    replay = await log.replay(EVERYONE, other_epoch(id_), id_, 10)
    assert not replay.verdict.good
    assert replay.verdict.tail > id_


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_page_by_page_is_what_a_plain_look_at_the_whole_log_finds(log: Log, limit: int) -> None:
    chance = random.Random(limit)
    start = await tail(log)
    for _ in range(12):
        drafts = [
            Draft(channel, scope, stored_envelope("a.b", scope, b"0")) for channel, scope in chance.choices(PLACES, k=5)
        ]
        await log.append(drafts)
    everything = [entry for entry, _ in await log.backwards(None, 1_000)][::-1]
    horizon = everything[-3].id
    for seen in INTERESTS:
        read, after = [], start
        while after < horizon:
            replay = await log.replay(seen, after, horizon, limit)
            assert replay.position > after
            assert len(replay.entries) <= limit
            read += [entry.id for entry in replay.entries]
            after = replay.position
        assert read == [entry.id for entry in everything if start < entry.id <= horizon and seen.sees(entry)]
