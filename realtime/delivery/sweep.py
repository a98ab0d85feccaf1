"""A sweep: one tick on its way to everyone it concerns, slice by slice.

Writing to thousands of sockets takes the kernel tens of milliseconds, and other work must not wait for that. So a sweep
stops after a slice and goes on in a later turn of the loop. Its horizon is fixed when it begins: whoever joins a group
meanwhile has read that far already; whoever leaves before its turn reads on by itself from where the sweep found it.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import structlog

from realtime.channel.event import BATCH_BYTES, ORIGIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from realtime.channel.event import Cursor, Entry
    from realtime.delivery.attachment import Attachment
    from realtime.delivery.group import Group
    from realtime.delivery.meter import Meter

Own = dict["Attachment", list["Entry"]]
"""Who sees entries of a tick that its group does not share, and which."""

SLICE = 512
"""Attachments. What a slice writes is sent when the turn of the loop ends: by the kernel, in some 5 µs for each."""
_SLICE_BYTES = 16 * 1024
"""What is written to one attachment counts as another one for each so many bytes."""

_ID = attrgetter("id")
_log = structlog.get_logger("gapless.delivery")


class Piece(NamedTuple):
    """What is written to an attachment at once: entries, joined for its transport, and the position behind them."""

    entries: Sequence[Entry]
    data: bytes
    position: Cursor


class Sweep:
    """One tick's delivery. `left` are those whose turn has not come: they stand at `since` still."""

    def __init__(  # noqa: PLR0913, PLR0917 - a tick, whom it concerns, and who counts
        self,
        entries: Sequence[Entry],
        since: Cursor,
        groups: Iterable[Group],
        own: Mapping[Group | None, Own],
        meter: Meter,
        now_ms: int,
    ) -> None:
        """Find everyone whom the entries concern; nothing is written before `slices` is run."""
        self.since = since
        self.left: set[Attachment] = set()
        parts = list(_parts(entries))
        turns = [_Turn(group, parts, own.get(group, {}), meter) for group in groups]
        self._turns = {turn.group: turn for turn in turns if turn.members}
        for turn in self._turns.values():
            self.left.update(turn.members)
            turn.begin(now_ms)

    def slices(self) -> Iterator[None]:
        """Deliver; yield whenever a slice is done and more is to come."""
        left, room = self.left, SLICE
        for turn in self._turns.values():
            if turn.at_once is not None:
                for begin in range(0, len(turn.even), SLICE):
                    if room <= 0:
                        yield
                        room = SLICE
                    room -= self._write(turn, turn.even[begin : begin + SLICE], turn.at_once)
            for attachment in turn.others:
                if room <= 0:
                    turn.tell()
                    yield
                    room = SLICE
                if attachment in left:  # else it has left its group meanwhile
                    room -= 1 + self._deliver(turn, attachment) // _SLICE_BYTES
            turn.tell()

    def _write(self, turn: _Turn, members: Sequence[Attachment], piece: Piece) -> int:
        """Write the same to many, and touch nothing of theirs but what is written to; return what room it took."""
        left, exchanges, data = self.left, turn.group.members, piece.data
        members = [one for one in members if one in left]  # else it has left its group meanwhile
        for attachment in members:
            exchange = exchanges[attachment]
            try:
                exchange.write(data)
                if not exchange.writable:
                    left.discard(attachment)
                    attachment.stall(piece.position)
            except Exception:  # noqa: BLE001 - a server's or ours, of one answer: the follower goes on for all others
                _log.exception("delivery failed", transport=turn.group.transport.name)
                attachment.closed()
        left.difference_update(members)
        turn.count(len(members), len(piece.entries), len(data))
        turn.tell()
        return len(members) * (1 + len(data) // _SLICE_BYTES)

    def _deliver(self, turn: _Turn, attachment: Attachment) -> int:
        """Write to one attachment; return how many bytes."""
        left, size = self.left, 0
        try:
            for entries, data, position in turn.pieces(attachment):
                attachment.deliver(entries, data, position)
                turn.events += len(entries)
                size += len(data)
                if attachment not in left:  # it takes nothing more, or has its answer
                    break
        except Exception:  # noqa: BLE001 - a server's or ours, of one answer: the follower goes on for all others
            _log.exception("delivery failed", transport=turn.group.transport.name)
            attachment.closed()
        turn.clients += 1
        turn.size += size
        if attachment in left:
            left.discard(attachment)
            if turn.at_once is not None:  # which its group has counted for it
                attachment.count(-len(turn.at_once.entries), -len(turn.at_once.data))
        return size

    def withdraw(self, attachment: Attachment, group: Group) -> None:
        """Leave out an attachment that leaves its group."""
        if attachment in self.left:
            self.left.discard(attachment)
            piece = self._turns[group].at_once
            if piece is not None:
                attachment.count(-len(piece.entries), -len(piece.data))


class _Turn:
    """One group's turn in a sweep: who is written to, and what."""

    def __init__(self, group: Group, parts: Sequence[Sequence[Entry]], own: Own, meter: Meter) -> None:
        self.group = group
        self._own = own
        self._meter = meter
        self._joined: dict[tuple[Entry, ...], bytes] = {}
        self._position = parts[-1][-1].id
        common = [(part[-1].id, [entry for entry in part if group.common.sees(entry)]) for part in parts]
        self._shared = [Piece(seen, group.join(seen, position), position) for position, seen in common]
        self._common = [piece for piece in self._shared if piece.entries]
        self.members = list(group.members if self._common else own)
        self.at_once: Piece | None = None
        """What is written to all who see no more than that, without asking any of them."""
        if group.is_even and len(self._common) == 1:
            self.at_once = self._common[0]
        self.even = [one for one in self.members if one not in own] if self.at_once else []
        self.others = list(own) if self.at_once else self.members
        self.clients = self.events = self.size = 0
        """Written since it was last told."""

    def begin(self, now_ms: int) -> None:
        """Let the group count what is written to all its members."""
        if self.at_once is not None:
            self.group.events += len(self.at_once.entries)
            self.group.size += len(self.at_once.data)
            self.group.stamp_ms = now_ms

    def count(self, clients: int, events: int, size: int) -> None:
        """Count what was written to so many clients alike."""
        self.clients += clients
        self.events += clients * events
        self.size += clients * size

    def pieces(self, attachment: Attachment) -> Sequence[Piece]:
        """Return what one member is written, in order."""
        own = self._own.get(attachment)
        return self._common if own is None else self._merged(own)

    def _merged(self, own: Sequence[Entry]) -> list[Piece]:
        """Put what all see and what one sees into one order; those who see the same share one buffer."""
        if len(self._shared) == 1:
            common, _, position = self._shared[0]
            seen = _merge(common, own)
            return [Piece(seen, self._join(seen, position), position)]
        pieces, begin = [], ORIGIN
        for common, shared, position in self._shared:
            theirs = [entry for entry in own if begin < entry.id <= position]
            begin = position
            seen = _merge(common, theirs) if theirs else common
            if seen:
                pieces.append(Piece(seen, self._join(seen, position) if theirs else shared, position))
        return pieces

    def _join(self, seen: Sequence[Entry], position: Cursor) -> bytes:
        entries = tuple(seen)
        joined = self._joined.get(entries)
        if joined is None:
            joined = self._joined[entries] = self.group.join(seen, position)
        return joined

    def tell(self) -> None:
        """Count what was written since the last time."""
        if self.clients:
            name = self.group.transport.name
            if self.group.transport.stays_open:  # other answers count themselves: they may be cut, or put off
                self._meter.delivered(name, self.events, self.size)
            self._meter.arrived(name, self._position.ms, self.clients)
            self.clients = self.events = self.size = 0


def _parts(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Cut a tick where a joined write would pass its bound."""
    begin, size = 0, 0
    for at, entry in enumerate(entries):
        size += entry.size
        if size > BATCH_BYTES and at > begin:
            yield entries[begin:at]
            begin, size = at, entry.size
    yield entries[begin:]


def _merge(common: Sequence[Entry], own: Sequence[Entry]) -> Sequence[Entry]:
    """Put two runs into one order; what is in both (a topic by name and by pattern) is one event."""
    if not common:
        return own
    return sorted({entry.id: entry for entry in (*common, *own)}.values(), key=_ID)
