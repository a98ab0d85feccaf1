"""Crowds: known clients that ask for the same in the same way, and what is made once for all of them.

They share what all of them see (broadcasts, and what their patterns match); what one sees by a scope of its own is its
own matter. After one cursor, all who have nothing of their own are given the same answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from realtime.channel.event import BATCH_BYTES, parse_cursor
from realtime.delivery.answers import NOT_MODIFIED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realtime.channel.event import Cursor, Entry, Interest
    from realtime.channel.follower import Follower
    from realtime.delivery.hub import Hub
    from realtime.metrics import Polled
    from transports.transport import Answer, Transport

_MOST_CURSORS: Final = 64
_LARGEST: Final = 4 * 1024
"""Bytes of an answer that is kept here: those of all cursors of all crowds have to fit into memory."""


class Pace(Protocol):
    """When those who poll are to come again."""

    def draw(self) -> int:
        """Return in how many ms one is to."""


class Kind(NamedTuple):
    """What those in a crowd have in common."""

    transport: Transport
    common: Interest
    """What all of them see."""
    limit: int
    """Events of one answer, at most."""
    gzip: bool
    """Whether they take answers compressed."""
    is_conditional: bool
    """Whether they say that they have the answer to their cursor."""
    interval_ms: int
    """How far apart they poll; 0: they wait."""


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
        """By when the client is to come again, in ms: at the tail, and for those who wait. Others are seldom alike."""


class Crowd:
    """Known clients of one kind."""

    __slots__ = (
        "__weakref__",
        "_base",
        "_follower",
        "_found",
        "_hub",
        "_pace",
        "_position",
        "_unchanged",
        "_window",
        "kind",
        "polled",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - whom it asks, and who counts
        self, kind: Kind, follower: Follower, hub: Hub, pace: Pace, polled: Polled, unchanged: Polled
    ) -> None:
        """Begin with what nobody has asked for yet; answers are counted by `polled`, those of 304 by `unchanged`."""
        self.kind = kind
        self.polled = polled
        self._unchanged = unchanged
        self._pace = pace
        self._hub = hub
        self._follower = follower
        self._window = window = follower.window
        self._found: dict[bytes | Cursor, Since] = {}
        self._position = self._base = window.position

    def since(self, cursor: bytes) -> Since | None:
        """Return what is after a client's cursor; `None`: it is none, not in the window, or more than an answer holds.

        Nor where clients are not served just now, or the window is about to begin anew.
        """
        if self._hub.is_closed or self._follower.is_in_doubt:
            return None
        return self._known(cursor) or self._find(cursor, _position(cursor))

    def after(self, cursor: Cursor) -> Since | None:
        """Return what is after a cursor; `None`: it is not in the window, or more than one answer holds."""
        return self._known(cursor) or self._find(cursor, cursor)

    def _known(self, cursor: bytes | Cursor) -> Since | None:
        window = self._window
        if window.position is not self._position or window.base is not self._base:
            self._position, self._base = window.position, window.base
            self._found.clear()
        return self._found.get(cursor)

    def _find(self, key: bytes | Cursor, after: Cursor | None) -> Since | None:
        if after is None or not self._window.holds(after):
            return None
        entries = self._read(self.kind.common, after)
        if entries is None:
            return None
        if len(self._found) >= _MOST_CURSORS:
            self._found.clear()
        since = self._found[key] = Since(after, entries, is_tail=after == self._position)
        return since

    @property
    def is_behind(self) -> bool:
        """Whether something has happened that has not been followed here yet."""
        return self._follower.is_behind

    def next_poll(self) -> int:
        """Return when one is to come again, in ms; 0: at once."""
        return self._pace.draw() if self.kind.interval_ms else 0

    def own(self, scopes: Sequence[tuple[str, str]], seen: Interest, after: Cursor) -> Sequence[Entry] | None:
        """Read all that one sees after a cursor, where there is something in its own scopes; else nothing.

        `None`: that is more than one answer holds.
        """
        return self._read(seen, after) if self._window.has_after(scopes, after) else ()

    def _read(self, seen: Interest, after: Cursor) -> Sequence[Entry] | None:
        batch = self._window.read(seen, after, self.kind.limit)
        if batch.more or sum(entry.size for entry in batch.entries) > BATCH_BYTES:
            return None
        return batch.entries

    def answer(self, since: Since, own: Sequence[Entry], next_poll_ms: int) -> Answer:
        """Answer one: with all that it sees after a cursor, where it has something of its own; else as all are."""
        answer = None if own else since.answers.get(next_poll_ms)
        if answer is None:
            answer = self._made(since.after, own or since.entries, next_poll_ms)
            if len(answer.body) <= _LARGEST and not own and (since.is_tail or not next_poll_ms):
                since.answers[next_poll_ms] = answer
        polled = self._unchanged if answer.status == NOT_MODIFIED else self.polled
        events = len(own or since.entries)
        polled.answers += 1
        polled.written += len(answer.body)
        if events:
            polled.events += events
            self._hub.meter.deliveries[self.kind.transport.name] += events
        return answer

    def _made(self, after: Cursor, entries: Sequence[Entry], next_poll_ms: int) -> Answer:
        answers, kind = self._hub.answers, self.kind
        return answers.plain(
            kind.transport,
            entries,
            self._window.position,
            next_poll_ms=next_poll_ms,
            gzip=kind.gzip,
            given=after if kind.is_conditional else None,
        )


def _position(cursor: bytes) -> Cursor | None:
    try:
        return parse_cursor(cursor.decode("ascii"))
    except ValueError:
        return None
