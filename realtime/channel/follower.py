"""Follow the log: fill the window, keep it unbroken, and say so when it had to begin anew.

One follower for each process, on a connection of its own: a blocked read would starve or poison a shared pool. It is
supervised: whatever Redis does, it comes back and reads on from its position. Once a second, and at every marker, it
touches the log (rules 5 and 6).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import structlog
from redis.exceptions import RedisError

from realtime.channel.event import ORIGIN, Cursor, Entry
from realtime.channel.refusals import why
from realtime.errors import LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from redis.asyncio import Redis

    from realtime.channel.log import Link, Log
    from realtime.channel.window import Window

_BLOCK_MS = 500
_COUNT = 1_000
_TOUCH_EVERY_S = 1.0
_RETRY_S = 0.2

_log = structlog.get_logger("gapless.follower")


class Sink(Protocol):
    """Who is told what the follower saw."""

    def extended(self, entries: Sequence[Entry]) -> None:
        """Hear that entries were added to the window."""

    async def settled(self) -> None:
        """Wait until what was added has been dealt with."""

    def restarted(self, base: Cursor) -> None:
        """Hear that the window began anew at `base`: what an earlier position still has to see need not be in it."""


class Follower:
    """The window's keeper."""

    def __init__(self, log: Log, window: Window, connect: Callable[[], Redis], sink: Sink, join_ms: int = 0) -> None:
        """Follow `log` into `window`, on connections made by `connect`, that wait longer than a blocked read.

        What comes within `join_ms` after entries were taken is taken together: the busier the log, the less is a tick.
        """
        self.log = log
        self.window = window
        self.filled = False
        self._sink = sink
        self._connect = connect
        self._join_s = join_ms / 1000
        self._wanted = asyncio.Event()
        self._refill = True
        self._away: set[str] = set()
        self._waiting: list[tuple[Cursor, asyncio.Future[None]]] = []

    @property
    def tail(self) -> Cursor:
        """The latest position known here: what we follow, or what our own appends were acknowledged."""
        return max(self.window.position, self.log.acknowledged)

    @property
    def is_behind(self) -> bool:
        """Whether we were acknowledged something that we have not followed yet."""
        return self.window.position < self.log.acknowledged

    @property
    def is_away(self) -> bool:
        """Whether Redis does not answer just now: what is known here may be old."""
        return bool(self._away)

    @property
    def is_in_doubt(self) -> bool:
        """Whether the window is about to begin anew."""
        return self._refill

    def doubt(self) -> None:
        """Begin the window anew: the log does not have a position that we know, so it is another one."""
        self._refill = True

    async def reach(self, cursor: Cursor) -> None:
        """Wait until the window stands at a cursor or beyond it, or began anew."""
        if self.window.position >= cursor and not self._refill:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((cursor, future))
        await future

    async def catch_up(self, timeout_s: float) -> None:
        """Wait for what our own appends were acknowledged, so that a publisher reads its own writes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.reach(self.log.acknowledged)

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._supervise("follow", self._follow))
            tasks.create_task(self._supervise("touch", self._touch))

    async def _supervise(self, name: str, work: Callable[[Redis], Awaitable[None]]) -> None:
        while True:
            connection = self._connect()
            try:
                await work(connection)
            except LogUnavailable as error:
                if name not in self._away:
                    _log.warning("log away", log=self.log.name, work=name, reason=why(error))
                self._away.add(name)
                await asyncio.sleep(_RETRY_S)
            except Exception:  # noqa: BLE001 - nobody else would begin again, and clients would hear heartbeats only
                _log.exception("following failed", work=name)
                self.doubt()
                await asyncio.sleep(_RETRY_S)
            finally:
                with suppress(RedisError, OSError):
                    await connection.aclose()

    def _answered(self, name: str) -> None:
        if name in self._away:
            self._away.discard(name)
            _log.info("log back", log=self.log.name, work=name)

    async def _follow(self, connection: Redis) -> None:
        while True:
            taken = await self.read_on(connection, _BLOCK_MS)
            self._answered("follow")
            if taken and self._join_s:
                await asyncio.sleep(self._join_s)

    async def read_on(self, connection: Redis, block_ms: int | None) -> bool:
        """Take what the log has after our position, waiting up to `block_ms` for it; fill the window first when due.

        Tell whether there was something.
        """
        if self._refill:
            await self._fill()
        links = await self.log.follow(connection, self.window.position, block_ms, _COUNT)
        if links and not self._refill:
            self._take(links)
            await self._sink.settled()
        return bool(links)

    async def _touch(self, _: Redis) -> None:
        while True:
            self._wanted.clear()
            await self.touch()
            self._answered("touch")
            with suppress(TimeoutError):
                async with asyncio.timeout(_TOUCH_EVERY_S):
                    await self._wanted.wait()

    async def touch(self) -> None:
        """Give the log a sign of life, and compare what we know with what it says (rules 5 and 6)."""
        before = self.window.position
        pulse = await self.log.touch()
        if pulse.tail < before:
            self.doubt()
        if await self.log.fence(pulse.tail):
            _log.warning("entries lost", floor=str(pulse.tail))
        self.window.trim(pulse.floor)

    async def _fill(self) -> None:
        """Begin the window anew from the recent part of the log."""
        pulse = await self.log.touch()
        entries, base = await self._recent(pulse.floor)
        self._refill = False
        self._restart(base)
        self._extend(entries)
        self.log.witness(self.window.position)
        self.filled = True

    async def _recent(self, floor: Cursor) -> tuple[list[Entry], Cursor]:
        """Read back as far as the window reaches, the entries hang together, and history goes."""
        recent: list[Entry] = []
        base, size = None, 0
        while links := await self.log.backwards(recent[-1].id if recent else None, _COUNT):
            for entry, previous in links:
                full = len(recent) >= self.window.most_events or size + entry.size > self.window.most_bytes
                if entry.id <= floor or full or base not in {None, entry.id}:
                    return recent[::-1], base or entry.id
                recent.append(entry)
                size += entry.size
                base = previous
        return recent[::-1], base or floor

    def _take(self, links: Sequence[Link]) -> None:
        run: list[Entry] = []
        last = self.window.position
        for entry, previous in links:
            if entry.is_marker:
                self._marked(entry, run)
            if previous != last or entry.is_fence:
                self._extend(run)
                run = []
                self._restart(entry.id if entry.is_fence or previous == ORIGIN else previous)
                last = self.window.position
            if entry.id > last:
                run.append(entry)
                last = entry.id
        self._extend(run)

    def _marked(self, marker: Entry, run: Sequence[Entry]) -> None:
        """Look at the log at once; an id that we were given in an epoch that has ended need not be in it.

        With a marker an epoch may end: the last entry of a run before it is the highest of that.
        """
        self._wanted.set()
        for seen in (*run[-1:], marker):
            self.log.witness(seen.id)
        if self.log.acknowledged.epoch != marker.id.epoch:
            self.log.acknowledged = ORIGIN

    def _restart(self, base: Cursor) -> None:
        _log.info("window restarted", log=self.log.name, base=str(base), position=str(self.window.position))
        self.window.restart(base)
        self.log.acknowledged = ORIGIN
        self._sink.restarted(base)
        self._wake(everyone=True)

    def _extend(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        self.log.witness(entries[-1].id)
        self.window.extend(entries)
        self._sink.extended(entries)
        self._wake(everyone=False)

    def _wake(self, *, everyone: bool) -> None:
        still = []
        for cursor, future in self._waiting:
            if everyone or cursor <= self.window.position:
                if not future.done():
                    future.set_result(None)
            else:
                still.append((cursor, future))
        self._waiting = still
