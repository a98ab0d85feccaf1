"""The ways in which history is lost: each leaves a house with a cursor that can't be resumed any more.

Each lets its caller attach clients before the loss: `attach` is awaited once, when the house has a history.
"""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from realtime.channel.event import Cursor, parse_cursor
from tests.conformance.crowd import Crowd, all_have
from tests.conformance.house import House, Place, new_channel, open_house
from tests.support.redis import RedisServer
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.conformance.client import Client

    Attach = Callable[[House, str], Awaitable[Crowd]]
    Loss = Callable[[Path, Attach], AbstractAsyncContextManager["Lost"]]


class Lost(NamedTuple):
    """A house after a loss, and a cursor of one of its channels from before."""

    house: House
    channel: str
    cursor: str


@asynccontextmanager
async def retention(directory: Path, attach: Attach) -> AsyncIterator[Lost]:
    """The event after the cursor has outlived the retention."""
    async with _house(directory, HISTORY__RETENTION="3s") as (_, house):
        channel = new_channel()
        await attach(house, channel)
        cursor, *_ = await _any(house).number(3, channel)
        await gone(house, channel, cursor)
        yield Lost(house, channel, cursor)


@asynccontextmanager
async def cap(directory: Path, attach: Attach) -> AsyncIterator[Lost]:
    """More events came in the scope than are kept of one, and the window is small."""
    async with _house(directory, HISTORY__SCOPE_CAP="5", HISTORY__WINDOW_EVENTS="2") as (_, house):
        channel = new_channel()
        clients = await attach(house, channel)
        ids = []
        for first in range(0, 30, 3):  # a few at a time, for who is attached to keep up with them
            ids += await _any(house).number(3, channel, first)
            await all_have(clients, partial(_has, first + 2))
        yield Lost(house, channel, ids[0])


@asynccontextmanager
async def flush(directory: Path, attach: Attach) -> AsyncIterator[Lost]:
    """Redis was emptied under the running gateways."""
    async with _house(directory) as (redis, house):
        channel = new_channel()
        await attach(house, channel)
        cursor, *_ = await _any(house).number(3, channel)
        async with redis.client as client:
            await client.flushall()
        await gone(house, channel, cursor)
        yield Lost(house, channel, cursor)


@asynccontextmanager
async def replaced_by_an_empty_one(directory: Path, attach: Attach) -> AsyncIterator[Lost]:
    """Another server stands at the address, with nothing in it."""
    async with _house(directory) as (redis, house):
        channel = new_channel()
        await attach(house, channel)
        cursor, *_ = await _any(house).number(3, channel)
        redis.kill()
        shutil.rmtree(redis.directory)
        await redis.start()
        await gone(house, channel, cursor)
        yield Lost(house, channel, cursor)


@asynccontextmanager
async def replaced_by_another_log(directory: Path, attach: Attach) -> AsyncIterator[Lost]:
    """Another server stands at the address, with a log of its own that has the same channel."""
    channel = new_channel()
    async with _house(directory / "other") as (other, house):
        await _any(house).number(10, channel, 1000)
        copy = shutil.copytree(other.directory, directory / "copy")
    async with _house(directory) as (redis, house):
        await attach(house, channel)
        cursor, *_ = await _any(house).number(3, channel)
        await _restart_from(redis, copy)
        await gone(house, channel, cursor)
        yield Lost(house, channel, cursor)


@asynccontextmanager
async def restored_from_a_copy(directory: Path, attach: Attach) -> AsyncIterator[Lost]:
    """Redis came back from an older copy, and gateways had seen more (a lagging replica was promoted).

    The cursor itself is in the copy: what it was owed is not.
    """
    async with _house(directory) as (redis, house):
        channel = new_channel()
        await attach(house, channel)
        (kept,) = await _any(house).number(1, channel)
        copy = shutil.copytree(redis.directory, directory / "copy")
        seen = await _any(house).number(3, channel, 1)
        await _seen(house, seen[-1])
        await _restart_from(redis, copy)
        await gone(house, channel, kept)
        yield Lost(house, channel, kept)


@asynccontextmanager
async def lost_branch(directory: Path, attach: Attach) -> AsyncIterator[Lost]:
    """Redis came back from an older copy: the cursor is of an epoch that ended before it; nobody here has seen it."""
    async with _house(directory) as (redis, house):
        channel = new_channel()
        await _any(house).number(3, channel)
        copy = shutil.copytree(redis.directory, directory / "copy")
        *_, cursor = await _any(house).number(3, channel, 3)
    await _restart_from(redis, copy)
    try:
        async with open_house(directory / "house", redis.url) as house:
            await attach(house, channel)
            yield Lost(house, channel, cursor)
    finally:
        redis.stop()


@asynccontextmanager
async def future(directory: Path, attach: Attach) -> AsyncIterator[Lost]:
    """The log has not got so far."""
    async with _house(directory) as (_, house):
        channel = new_channel()
        await attach(house, channel)
        *_, last = await _any(house).number(3, channel)
        ms, seq = parse_cursor(last)
        yield Lost(house, channel, str(Cursor(ms + 3_600_000, seq)))


HARMLESS: dict[str, Loss] = {"retention": retention, "cap": cap, "future": future, "lost branch": lost_branch}
"""Who is attached here misses nothing."""

TOLD: dict[str, Loss] = {
    "flush": flush,
    "replaced by an empty one": replaced_by_an_empty_one,
    "replaced by another log": replaced_by_another_log,
    "restored from a copy": restored_from_a_copy,
}
"""Who is attached here has to be told."""

LOSSES: dict[str, Loss] = {**HARMLESS, **TOLD}


async def history(place: Place, channel: str, since: str) -> int:
    """Return the status of history after a cursor."""
    headers = place.bearer("42", channel=channel)
    return (await place.http.get("/api/v1/events/history", params={"since_id": since}, headers=headers)).status_code


@asynccontextmanager
async def _house(directory: Path, **overrides: str) -> AsyncIterator[tuple[RedisServer, House]]:
    redis = RedisServer(directory / "redis")
    await redis.start()
    try:
        async with open_house(directory / "house", redis.url, overrides) as house:
            yield redis, house
    finally:
        redis.stop()


async def _restart_from(redis: RedisServer, copy: Path) -> None:
    redis.stop()
    shutil.rmtree(redis.directory)
    shutil.copytree(copy, redis.directory)
    await redis.start()


def _any(house: House) -> Place:
    return next(iter(house.values()))


def _has(last: int, client: Client) -> bool:
    return client.data[-1:] == [last]


async def _seen(house: House, id_: str) -> None:
    """Wait until each gateway of a house has followed the log up to an id."""
    for place in house.values():
        await until(partial(_has_seen, place, id_))


async def _has_seen(place: Place, id_: str) -> bool:
    return parse_cursor((await place.negotiate())["cursor"]) >= parse_cursor(id_)


async def gone(house: House, channel: str, cursor: str) -> None:
    """Wait until no gateway of a house takes a cursor any more: neither in Redis nor in its window."""
    for place in house.values():
        await until(partial(_is_gone, place, channel, cursor))


async def _is_gone(place: Place, channel: str, cursor: str) -> bool:
    if await history(place, channel, cursor) != 410:
        return False
    headers = place.bearer("42", channel=channel)
    answer = await place.http.get("/api/v1/events/poll", params={"cursor": cursor}, headers=headers)
    return answer.status_code == 200 and bool(answer.json()["control"])
