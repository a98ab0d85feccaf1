"""Bytes out of Redis: a replay reads about what it delivers, and the window is filled whatever the entries' size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from realtime.channel.event import BATCH_BYTES, Draft, interest, parse_filter, stored_envelope
from realtime.channel.follower import Follower
from realtime.channel.pages import BYTES, Pages
from realtime.channel.reader import Reader, Replays, Start
from realtime.channel.window import Window
from tests.channel.events import draft
from tests.channel.following import Following

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from realtime.channel.event import Cursor
    from realtime.channel.log import Log

SCOPES = ["broadcast", *(f"user:{number}" for number in range(11))]
DATA = b'"' + b"x" * 60_000 + b'"'


async def bytes_out(redis: Redis) -> int:
    stats: Any = await redis.info("stats")
    return int(stats["total_net_output_bytes"])


async def read_to_the_end(reader: Reader) -> list[tuple[Cursor, int]]:
    found: list[tuple[Cursor, int]] = []
    while True:
        part = reader.take(500) or await reader.fetch(500, wait=False)
        assert part.truncation is None
        found += [(entry.id, entry.size) for entry in part.entries]
        if not part.more:
            return found


@pytest.mark.parametrize("kinds", ["*", "task.done"])
@pytest.mark.parametrize("scopes", [1, 12])
async def test_a_replay_reads_at_most_twice_what_it_delivers(log: Log, redis: Redis, scopes: int, kinds: str) -> None:
    """Case 19 of issue 11: with one scope, and with twelve in turn; with a filter that hides half of the events."""
    names = SCOPES[:scopes]
    drafts = []
    for number in range(100):
        kind, scope = ("task.done", "task.begun")[number // 12 % 2], names[number % scopes]
        drafts.append(Draft("main", scope, stored_envelope(kind, scope, DATA)))
    start = (await log.touch()).tail
    published = [one.id for at in range(0, 100, 25) for one in await log.append(drafts[at : at + 25])]
    following = Following(log, redis, size=1 << 20)
    for _ in range(4):
        await following.tick()
    wanted = parse_filter(kinds)
    reader = Reader(
        following.follower, Replays(following.follower), interest("main", names, wanted), Start(cursor=start)
    )
    before = await bytes_out(redis)
    found = await read_to_the_end(reader)
    read = await bytes_out(redis) - before
    expected = [id_ for id_, one in zip(published, drafts, strict=True) if kinds == "*" or b"task.done" in one.stored]
    assert [id_ for id_, _ in found] == expected
    assert read <= 2 * sum(size for _, size in found)


async def test_an_event_as_large_as_any_makes_progress(log: Log) -> None:
    start = (await log.touch()).tail
    huge = draft('"' + "x" * (4 * 1024 * 1024) + '"')
    published = [one.id for one in await log.append([draft(), huge, draft()])]
    seen, read, more = interest("main", ["broadcast"]), [], True
    while more:
        replay = await log.replay(seen, start, published[-1], 100)
        start, more = replay.position, replay.more
        read.append([entry.id for entry in replay.entries])
    assert read == [[id_] for id_ in published]


async def test_a_page_has_at_most_a_batch_of_bytes_and_tells_that_more_follows(log: Log) -> None:
    start = (await log.touch()).tail
    published = [one.id for one in await log.append([draft(DATA.decode())] * 9)]
    replay = await log.replay(interest("main", ["broadcast"]), start, published[-1], 100)
    assert sum(entry.size for entry in replay.entries) <= BATCH_BYTES
    assert ([entry.id for entry in replay.entries], replay.more) == (published[:4], True)


async def test_more_is_not_said_of_what_a_filter_hides(log: Log) -> None:
    start = (await log.touch()).tail
    drafts = [
        Draft("main", "broadcast", stored_envelope(kind, "broadcast", DATA))
        for kind in ["task.done", *["task.begun"] * 60]
    ]
    answers = [one.id for at in (0, 30) for one in await log.append(drafts[at : 61 if at else 30])]
    for limit in (1, 2):
        replay = await log.replay(interest("main", ["broadcast"], parse_filter("task.done")), start, answers[-1], limit)
        assert [entry.id for entry in replay.entries] == answers[:1]
        assert (replay.position, replay.more) == (answers[-1], False)


async def test_the_window_is_filled_page_by_page_of_bounded_bytes(log: Log, redis: Redis) -> None:
    for _ in range(8):
        await log.append([draft(DATA.decode())] * 25)
    sizes = []
    backwards = log.backwards

    async def watched(before: Cursor | None, count: int) -> Any:  # noqa: ANN401 - what it returns
        links = await backwards(before, count)
        sizes.append(sum(link.entry.size for link in links))
        return links

    log.backwards = watched  # type: ignore[method-assign]
    window = Window(1_000, 64 << 20)
    follower = Follower(log, window, lambda: redis, Following(log, redis).sink)
    await follower.read_on(redis, None)
    assert window.bytes >= 200 * 60_000
    assert max(sizes) <= BYTES


def test_a_page_that_failed_is_half_the_next_time() -> None:
    pages = Pages()
    counts = []
    for _ in range(6):
        counts.append(pages.count)
        pages.failed()
    assert counts == [16, 8, 4, 2, 1, 1]


def test_pages_grow_while_they_are_full_and_follow_the_size_of_what_came() -> None:
    pages = Pages()
    for _ in range(4):
        pages.came(pages.count, 100 * pages.count)
    assert pages.count == 1_000
    pages.came(2, 2 * BYTES)
    assert pages.count == 1
