"""Follow the log: fill the window, keep it unbroken, and say so when it had to begin anew.

One follower for each process, on a connection of its own: a blocked read would starve or poison a shared pool. It is
supervised: whatever Redis does, it comes back and reads on from its position. Once a second, and at every marker, it
touches the log (rules 5 and 6). The touch goes over other connections than the reading: that is how a connection which
stays with a server that nobody else reaches any more is noticed.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol

import structlog
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from realtime.channel.event import ORIGIN, Cursor, Entry
from realtime.channel.log import NO_EVICTION
from realtime.channel.pages import MOST, Pages
from realtime.channel.refusals import why
from realtime.errors import LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from redis.asyncio import Redis

    from realtime.channel.log import Link, Log
    from realtime.channel.window import Window

_BLOCK_MS = 500
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
        self.policy = NO_EVICTION
        """The server's ``maxmemory-policy``, as a touch found it last (rule 10)."""
        self.is_deaf = False
        """Whether the log went on, and the last read brought nothing of it."""
        self._filling = asyncio.Event()
        self._sink = sink
        self._connect = connect
        self._join_s = join_ms / 1000
        self._filled_by = Pages()
        self._followed_by = Pages(MOST)
        """What comes is taken together; usually it is little."""
        self._wanted = asyncio.Event()
        self._refill = True
        self._reconnect = False
        self._tail = ORIGIN
        """The log's, at the last touch."""
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
        """Whether Redis does not answer just now, or is not heard: what is known here may be old."""
        return bool(self._away) or self.is_deaf

    @property
    def is_vouched_for(self) -> bool:
        """Whether the server keeps what it was given: one that evicts loses history without a word (rule 10)."""
        return self.policy == NO_EVICTION

    @property
    def is_in_doubt(self) -> bool:
        """Whether the window is about to begin anew."""
        return self._refill

    def doubt(self) -> None:
        """Begin the window anew, on a new connection: the log does not have a position that we know.

        It is another log, and the connection may still lead to the one before.
        """
        self._refill = self._reconnect = True

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

    async def fill_up(self, timeout_s: float) -> None:
        """Wait for the window to be filled for the first time; what came of it is for the caller to look at."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._filling.wait()

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

        Tell whether there was something. The connection is closed, and so made anew by the read, when it may lead to
        another server than the log's. Where an epoch begins, or entries do not follow our position, the log is touched
        before any of them is taken: who was here before is told what was lost first, and given what came after then.

        Raises:
            LogUnavailable: Redis does not answer, or the connection brings another log than the pool's.
        """
        if self._reconnect:
            self._reconnect = False
            await connection.aclose()
        if self._refill:
            await self._fill()
        awaited = self._tail
        links = await _page(self._followed_by, partial(self.log.follow, connection, self.window.position, block_ms))
        self._listen(links, awaited)
        if self._is_turn(links):
            await self.touch()
            await self._require(links[-1].entry.id)
        if links and not self._refill:
            self._take(_from_last_fence(links))
            await self._sink.settled()
        return bool(links)

    def _is_turn(self, links: Sequence[Link]) -> bool:
        """Tell whether an epoch begins, or what was read does not follow what the window holds."""
        follows = not links or links[0].previous == self.window.position
        return not follows or any(link.entry.is_epoch for link in links)

    async def _require(self, id_: Cursor) -> None:
        """Check that the pool's server has what was read: else the connection leads to another one, with another log.

        Raises:
            LogUnavailable: it has not, or does not answer.
        """
        verdict = await self.log.check(id_)
        if not verdict.complete:
            message = f"the follower reads {id_}, which the pool's server does not have"
            raise LogUnavailable(message)

    async def _touch(self, _: Redis) -> None:
        while True:
            self._wanted.clear()
            await self.touch()
            self._answered("touch")
            with suppress(TimeoutError):
                async with asyncio.timeout(_TOUCH_EVERY_S):
                    await self._wanted.wait()

    async def touch(self) -> None:
        """Give the log a sign of life, and compare what we know with what it says (rules 5, 6 and 10).

        Raises:
            LogUnavailable: Redis does not answer.
        """
        before = self.window.position
        pulse = await self.log.touch()
        if pulse.tail < before or pulse.fenced:
            self.doubt()
        if pulse.fenced:
            _log.warning("entries lost", log=self.log.name, floor=str(pulse.tail))
        self._tail = pulse.tail
        self._hear(pulse.policy)
        self.window.trim(pulse.floor)

    def _listen(self, links: Sequence[Link], awaited: Cursor) -> None:
        """Notice a read that brought nothing, though the log was ahead of us, up to `awaited`, before it began.

        Then the connection leads to another server than the touch did.
        """
        is_deaf = not links and self.window.position < awaited
        if is_deaf and not self.is_deaf:
            _log.warning("following nothing", log=self.log.name, position=str(self.window.position), tail=str(awaited))
        self.is_deaf = is_deaf
        self._reconnect |= is_deaf

    def _hear(self, policy: str) -> None:
        """Take note of what the server does when its memory is full."""
        if policy != self.policy:
            told = _log.info if policy == NO_EVICTION else _log.error
            told("eviction policy", log=self.log.name, policy=policy, wanted=NO_EVICTION)
        self.policy = policy

    async def _fill(self) -> None:
        """Begin the window anew from the recent part of the log."""
        pulse = await self.log.touch()
        self._tail = pulse.tail
        self._hear(pulse.policy)
        entries, base = await self._recent(pulse.floor)
        self._refill = False
        self._restart(base)
        self._extend(entries)
        self.log.witness(self.window.position)
        self.filled = True
        self._filling.set()

    async def _recent(self, floor: Cursor) -> tuple[list[Entry], Cursor]:
        """Read back as far as the window reaches, the entries hang together, and history goes."""
        recent: list[Entry] = []
        base, size = None, 0
        while links := await _page(self._filled_by, partial(self.log.backwards, recent[-1].id if recent else None)):
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


async def _page(pages: Pages, read: Callable[[int], Awaitable[list[Link]]]) -> list[Link]:
    """Read as many entries as the log gives in one answer of a bounded size."""
    try:
        links = await read(pages.count)
    except LogUnavailable as error:
        if isinstance(error.__cause__, (TimeoutError, RedisTimeoutError)):
            pages.failed()
        raise
    pages.came(len(links), sum(link.entry.size for link in links))
    return links


def _from_last_fence(links: Sequence[Link]) -> Sequence[Link]:
    """Leave out what lies before a fence: whoever has not seen it yet is told that it can't be read on from there."""
    fences = [at for at, link in enumerate(links) if link.entry.is_fence]
    return links[fences[-1] :] if fences else links
