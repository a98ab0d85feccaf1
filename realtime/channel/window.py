"""The recent part of the log in memory, indexed by scope.

Pure. Everything after `base` up to `position` is here, in one unbroken run: an entry that does not follow the last one
never gets in (the follower sees to it and restarts the window). Bounded by events and by bytes; what falls out moves
`base` up, and a reader below it turns to the log.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from realtime.channel.event import EVERY_TOPIC, ORIGIN, Cursor, Entry, Interest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ID = attrgetter("id")
_COMPACT_AT = 512


class Track:
    """Entries in order of id, growing at the end and eaten at the beginning, both in constant time."""

    __slots__ = ("_entries", "_start")

    def __init__(self) -> None:
        """Begin empty."""
        self._entries: list[Entry] = []
        self._start = 0

    def __len__(self) -> int:
        """Count the entries."""
        return len(self._entries) - self._start

    def __iter__(self) -> Iterator[Entry]:
        """Iterate from the oldest."""
        return islice(self._entries, self._start, None)

    def __reversed__(self) -> Iterator[Entry]:
        """Iterate from the newest."""
        return islice(reversed(self._entries), len(self))

    @property
    def newest(self) -> Entry:
        """The entry added last; there must be one."""
        return self._entries[-1]

    @property
    def oldest(self) -> Entry:
        """The entry that will go next; there must be one."""
        return self._entries[self._start]

    def append(self, entry: Entry) -> None:
        """Add the newest entry."""
        self._entries.append(entry)

    def drop_oldest(self) -> None:
        """Forget the oldest entry."""
        self._start += 1
        if self._start >= _COMPACT_AT and self._start * 2 >= len(self._entries):
            del self._entries[: self._start]
            self._start = 0

    def holds(self, cursor: Cursor) -> bool:
        """Tell whether an entry has exactly this id."""
        at = bisect_left(self._entries, cursor, self._start, key=_ID)
        return at < len(self._entries) and self._entries[at].id == cursor

    def after(self, cursor: Cursor) -> Iterator[Entry]:
        """Iterate over the entries after a cursor."""
        return islice(self._entries, bisect_right(self._entries, cursor, self._start, key=_ID), None)


class Batch(NamedTuple):
    """What a reader gets: entries, the position up to which the log has been examined, and whether there is more."""

    entries: list[Entry]
    position: Cursor
    more: bool


class Window:
    """The unbroken run of entries after `base`, and for each scope the entries it holds."""

    def __init__(self, most_events: int, most_bytes: int) -> None:
        """Begin empty, at no position; bounded by a number of events and of stored bytes."""
        self.most_events = most_events
        self.most_bytes = most_bytes
        self.restart(ORIGIN)

    def restart(self, base: Cursor) -> None:
        """Forget everything; what comes next follows `base`."""
        self.base = base
        self.position = base
        self.bytes = 0
        self._entries = Track()
        self._scopes: dict[tuple[str, str], Track] = {}

    def __len__(self) -> int:
        """Count the entries held."""
        return len(self._entries)

    def extend(self, entries: Iterable[Entry]) -> None:
        """Add entries that follow `position` without a gap, and let the oldest go above the bounds."""
        for entry in entries:
            self._entries.append(entry)
            self.bytes += entry.size
            for key in _keys(entry):
                track = self._scopes.get(key)
                if track is None:
                    track = self._scopes[key] = Track()
                track.append(entry)
            self.position = entry.id
        while len(self._entries) > self.most_events or self.bytes > self.most_bytes:
            self._drop()

    def trim(self, floor: Cursor) -> None:
        """Let everything up to `floor` go: it is no longer history."""
        while len(self._entries) and self._entries.oldest.id <= floor:
            self._drop()

    def _drop(self) -> None:
        entry = self._entries.oldest
        self._entries.drop_oldest()
        self.base = entry.id
        self.bytes -= entry.size
        for key in _keys(entry):
            track = self._scopes[key]
            track.drop_oldest()
            if not track:
                del self._scopes[key]

    def holds(self, cursor: Cursor) -> bool:
        """Tell whether a cursor can be read on from here: it is the base or the id of an entry held."""
        return cursor in (self.position, self.base) or self._entries.holds(cursor)

    def read(self, interest: Interest, after: Cursor, limit: int) -> Batch:
        """Return up to `limit` visible entries after a cursor that the window `holds`."""
        found = list(islice(self._visible(interest, after), limit + 1))
        if len(found) <= limit:
            return Batch(found, self.position, more=False)
        return Batch(found[:limit], found[limit - 1].id, more=True)

    def has_after(self, keys: Iterable[tuple[str, str]], after: Cursor) -> bool:
        """Tell whether one of these scopes, each with its channel, has an entry after a cursor."""
        for key in keys:
            track = self._scopes.get(key)
            if track is not None and track.newest.id > after:
                return True
        return False

    def newest(self, interest: Interest) -> Cursor:
        """Return the id of the last visible entry; `base` when none is held."""
        last = self.base
        for track in self._tracks(interest):
            last = max(last, next((entry.id for entry in reversed(track) if interest.sees(entry)), last))
        return last

    def _visible(self, interest: Interest, after: Cursor) -> Iterator[Entry]:
        tracks = [track for track in self._tracks(interest) if track.newest.id > after]
        if not tracks:
            return iter(())
        runs = [track.after(after) for track in tracks]
        if len(runs) == 1 and not interest.prefixes:
            entries: Iterator[Entry] = runs[0]
        else:
            entries = _once(entry for entry in merge(*runs, key=_ID) if interest.sees(entry))
        return entries if interest.filter is None else filter(interest.passes, entries)

    def _tracks(self, interest: Interest) -> Iterator[Track]:
        names = (*interest.scopes, EVERY_TOPIC) if interest.prefixes else interest.scopes
        for name in names:
            track = self._scopes.get((interest.channel, name))
            if track:
                yield track


def _keys(entry: Entry) -> tuple[tuple[str, str], ...]:
    channel, scope = entry.channel, entry.scope
    if not scope:
        return ()
    if scope.startswith("topic:"):
        return (channel, scope), (channel, EVERY_TOPIC)
    return ((channel, scope),)


def _once(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Drop the second of two equal neighbours: a topic asked for by name and by pattern is one event."""
    last = None
    for entry in entries:
        if entry is not last:
            yield entry
        last = entry
