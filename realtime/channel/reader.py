"""One client's view of the channel: a cursor, what it may see, and the seam between history and live.

The seam is here and nowhere else. A cursor that the window holds is read on from memory; any other is judged and read
from the log up to the follower's position, where the window takes over. What can't be resumed is said, once, and the
reading goes on at the tail.
"""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from realtime.channel.event import BATCH_BYTES, LARGEST

if TYPE_CHECKING:
    from realtime.channel.event import Cursor, Entry, Interest
    from realtime.channel.follower import Follower
    from realtime.channel.log import Replay

_READS_AT_ONCE = 16


class Start(NamedTuple):
    """Where a client wants to begin: at a cursor, at the earliest event kept, or now (neither)."""

    cursor: Cursor | None = None
    earliest: bool = False
    requested: str = ""
    """The position as the client wrote it."""


class Truncation(NamedTuple):
    """What a client must be told when its cursor can't be resumed."""

    requested: str
    floor: Cursor
    cursor: Cursor
    cause: str = ""
    """`malformed`: no cursor; `expired`: history begins after it; `unknown`: none of this log's ids, or lost."""


class Part(NamedTuple):
    """What a reader gives: entries up to its new cursor, whether there is more at once, and what was missed."""

    entries: list[Entry]
    more: bool
    truncation: Truncation | None = None


_NOTHING_NEW = Part([], more=False)


class Replays:
    """Reads of the log beyond the window: shared when equal, capped in number, so a crowd that comes back is one."""

    def __init__(self, follower: Follower) -> None:
        """Read the follower's log up to its position."""
        self._follower = follower
        self._slots = asyncio.Semaphore(_READS_AT_ONCE)
        self._running: dict[tuple[Interest, Cursor, int], asyncio.Task[Replay]] = {}

    async def read(self, interest: Interest, after: Cursor, limit: int) -> Replay:
        """Read up to `limit` visible entries after a cursor.

        Raises:
            LogUnavailable: Redis does not answer.
        """
        key = (interest, after, limit)
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._read(*key))
            self._running[key] = task
            task.add_done_callback(partial(self._forget, key))
        return await asyncio.shield(task)

    def _forget(self, key: tuple[Interest, Cursor, int], task: asyncio.Task[Replay]) -> None:
        """Let go of a read that has ended; its error too, for whoever waited was told, or has gone."""
        del self._running[key]
        if not task.cancelled():
            task.exception()

    async def _read(self, interest: Interest, after: Cursor, limit: int) -> Replay:
        async with self._slots:
            horizon = self._follower.tail
            replay = await self._follower.log.replay(interest, after, horizon, limit)
            if not replay.verdict.complete:
                self._follower.doubt()
            return replay


class Reader:
    """A cursor and an interest; `cursor` is the position up to which the log has been examined for this client."""

    __slots__ = ("_earliest", "_follower", "_replays", "_requested", "cursor", "interest", "resumes", "started")

    def __init__(self, follower: Follower, replays: Replays, interest: Interest, start: Start) -> None:
        """Begin at `start`; "now" is the latest position known here."""
        self._follower = follower
        self._replays = replays
        self._earliest = start.earliest
        self._requested = start.requested
        self.resumes = start.cursor is not None or start.earliest
        """Whether it began somewhere, and not "now"."""
        self.interest = interest
        self.cursor = follower.tail if start.cursor is None else start.cursor
        self.started = self.cursor
        """Where the reading began: the given cursor when it was good, else what replaced it."""

    @property
    def is_at_tail(self) -> bool:
        """Whether nothing is left to read in the window."""
        return self.cursor == self._follower.window.position

    def take(self, limit: int) -> Part | None:
        """Read on in the window; `None` when the cursor is not in it, and `fetch` has to be awaited."""
        window = self._follower.window
        if self._earliest:
            return None
        if self.cursor == window.position:
            return _NOTHING_NEW
        if not window.holds(self.cursor):
            return None
        batch = window.read(self.interest, self.cursor, limit)
        entries, cut = _cut(batch.entries)
        self.cursor = entries[-1].id if cut else batch.position
        return Part(entries, cut or batch.more)

    async def fetch(self, limit: int, *, wait: bool) -> Part:
        """Read on in the log.

        With `wait`, a cursor beyond the follower's position (real, but not followed yet) is waited for.

        Raises:
            LogUnavailable: Redis does not answer.
        """
        earliest, after = self._earliest, self.cursor
        if earliest:
            after = (await self._follower.log.check(after, self.interest)).floor
        replay = await self._replays.read(self.interest, after, limit)
        while earliest and not replay.verdict.good:  # cut away meanwhile
            after = replay.verdict.floor
            replay = await self._replays.read(self.interest, after, limit)
        if not replay.verdict.good:
            return self._truncate(replay)
        if earliest:
            self.started = self.cursor = after
            self._earliest = False
        self.cursor = max(self.cursor, replay.position)
        if wait and not replay.entries:
            await self._follower.reach(self.cursor)
        return Part(replay.entries, replay.more or self._is_behind(visibly=bool(replay.entries)))

    def _is_behind(self, *, visibly: bool) -> bool:
        """Tell whether there is more in the window: at all, or `visibly`, so that who asks again will not wait."""
        window = self._follower.window
        if not visibly or not window.holds(self.cursor):
            return self.cursor < window.position and not self._follower.is_in_doubt
        return bool(window.read(self.interest, self.cursor, 1).entries)

    def _truncate(self, replay: Replay) -> Part:
        requested = self._requested or str(self.cursor)
        cause = _cause(self.cursor, replay.verdict.floor)
        self._requested = ""
        self.started = self.cursor = replay.verdict.tail
        return Part([], more=False, truncation=Truncation(requested, replay.verdict.floor, self.cursor, cause))


def _cause(cursor: Cursor, floor: Cursor) -> str:
    if cursor.ms >= LARGEST:
        return "malformed"
    return "expired" if cursor < floor else "unknown"


def _cut(entries: list[Entry]) -> tuple[list[Entry], bool]:
    """Cut a batch where its bytes would pass what one write may carry; at least one entry stays."""
    if len(entries) <= 1:
        return entries, False
    sizes = accumulate(entry.size for entry in entries)
    fit = max(1, sum(1 for size in sizes if size <= BATCH_BYTES))
    return entries[:fit], fit < len(entries)
