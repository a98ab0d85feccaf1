"""Crowds: known clients that ask for the same in the same way, and what is made once for all of them.

They share what all of them see (broadcasts, and what their patterns match); what one sees by a scope of its own is its
own matter. After one cursor, all who have nothing of their own are given the same answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from realtime.channel.event import parse_cursor
from realtime.channel.reader import BATCH_BYTES
from realtime.delivery.group import share
from realtime.offers import EVENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realtime.channel.event import Cursor, Entry, Interest
    from realtime.channel.follower import Follower
    from realtime.delivery.hub import Hub
    from realtime.metrics import Metrics
    from realtime.standing import Standing
    from transports.transport import Answer

_MOST_CURSORS: Final = 512
_MOST_CROWDS: Final = 1_024


class Since:
    """What all of a crowd see after one cursor, and the answers that were made of it."""

    __slots__ = ("after", "answers", "entries", "is_tail")

    def __init__(self, after: Cursor, entries: Sequence[Entry], *, is_tail: bool) -> None:
        """Hold what was read; nothing is made of it yet."""
        self.after = after
        self.entries = entries
        self.is_tail = is_tail
        """Whether there is nothing after the cursor, for anybody."""
        self.answers: dict[int, Answer] = {}
        """By when the client is to come again, in ms."""


class Crowd:
    """Known clients of one transport, one compression, and one common interest."""

    __slots__ = (
        "_base",
        "_common",
        "_follower",
        "_found",
        "_gzip",
        "_hub",
        "_limit",
        "_polled",
        "_position",
        "_transport",
        "_window",
    )

    def __init__(self, standing: Standing, follower: Follower, hub: Hub, metrics: Metrics) -> None:
        """Begin the crowd of a standing; it reads in the window."""
        self._transport = standing.transport
        self._common, _ = share(standing.seen)
        self._polled = metrics.polled(standing.transport.name, f"{EVENTS}/{standing.transport.path}")
        self._limit = standing.limit
        self._gzip = standing.gzip
        self._follower = follower
        self._window = window = follower.window
        self._hub = hub
        self._found: dict[bytes, Since] = {}
        self._position = self._base = window.position

    def since(self, cursor: bytes) -> Since | None:
        """Return what is after a cursor; `None`: it is none, not in the window, or more than one answer holds.

        Nor where clients are not served just now, or something has happened that was not followed yet.
        """
        if self._hub.is_closed or not self._follower.is_current:
            return None
        window = self._window
        if window.position is not self._position or window.base is not self._base:
            self._position, self._base = window.position, window.base
            self._found.clear()
        return self._found.get(cursor) or self._find(cursor)

    def _find(self, cursor: bytes) -> Since | None:
        after = _position(cursor)
        if after is None or not self._window.holds(after):
            return None
        entries = self._read(self._common, after)
        if entries is None:
            return None
        if len(self._found) >= _MOST_CURSORS:
            self._found.clear()
        since = self._found[cursor] = Since(after, entries, is_tail=after == self._position)
        return since

    def own(self, scopes: Sequence[tuple[str, str]], seen: Interest, after: Cursor) -> Sequence[Entry] | None:
        """Read all that one sees after a cursor, where it sees something by its own scopes; else nothing.

        `None`: that is more than one answer holds.
        """
        return self._read(seen, after) if self._window.has_after(scopes, after) else ()

    def _read(self, seen: Interest, after: Cursor) -> Sequence[Entry] | None:
        batch = self._window.read(seen, after, self._limit)
        if batch.more or sum(entry.size for entry in batch.entries) > BATCH_BYTES:
            return None
        return batch.entries

    def answer(self, since: Since, next_poll_ms: int) -> Answer:
        """Answer one who has nothing of its own after a cursor."""
        answer = since.answers.get(next_poll_ms)
        if answer is None:
            answer = since.answers[next_poll_ms] = self._made(since.entries, next_poll_ms)
        self._count(len(since.entries), len(answer.body))
        return answer

    def given(self, entries: Sequence[Entry], next_poll_ms: int) -> Answer:
        """Answer with some entries, which are all that one sees up to now."""
        answer = self._made(entries, next_poll_ms)
        self._count(len(entries), len(answer.body))
        return answer

    def resumed(self) -> None:
        """Count one who waits again after its cursor; who waits for the first time is counted as anybody."""
        self._polled.resumes += 1

    def _made(self, entries: Sequence[Entry], next_poll_ms: int) -> Answer:
        answers, position = self._hub.answers, self._window.position
        return answers.plain(self._transport, entries, position, next_poll_ms=next_poll_ms, gzip=self._gzip)

    def _count(self, events: int, size: int) -> None:
        polled = self._polled
        polled.answers += 1
        polled.written += size
        if events:
            polled.events += events
            self._hub.meter.deliveries[self._transport.name] += events


class Crowds:
    """The crowds of one worker."""

    def __init__(self, follower: Follower, hub: Hub, metrics: Metrics) -> None:
        """Begin with none."""
        self._parts = (follower, hub, metrics)
        self._crowds: dict[tuple[object, ...], Crowd] = {}

    def of(self, standing: Standing) -> Crowd:
        """Return the crowd that a client is one of."""
        common, _ = share(standing.seen)
        key = (standing.transport.name, common, standing.limit, standing.gzip)
        crowd = self._crowds.get(key)
        if crowd is None:
            if len(self._crowds) >= _MOST_CROWDS:  # who is in one stays there
                self._crowds.clear()
            crowd = self._crowds[key] = Crowd(standing, *self._parts)
        return crowd


def _position(cursor: bytes) -> Cursor | None:
    try:
        return parse_cursor(cursor.decode("ascii"))
    except ValueError:
        return None
