"""The hub: the follower's ticks, to the attachments that an event concerns.

An attachment at its tail has no cursor of its own: its cursor is the hub's position, so a tick costs nothing for those
whom it does not concern. What many see alike is encoded once and joined once: attachments of one transport, filter and
pattern list form a group with a common buffer of what its members share (broadcasts, and what their patterns match).
Who sees more than that is found from the events, through an index of scopes, never by asking each attachment.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING

import structlog

from realtime.channel.event import BROADCAST, ORIGIN, Cursor, Entry, Interest
from realtime.channel.reader import BATCH_BYTES
from realtime.delivery.attachment import encode
from realtime.delivery.meter import Meter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from realtime.delivery.attachment import Attachment
    from realtime.delivery.wheel import Wheel
    from transports.transport import Transport

_ID = attrgetter("id")
_COMMON = frozenset({BROADCAST})
_log = structlog.get_logger("gapless.delivery")


@dataclass(slots=True)
class Group:
    """Attachments that share a transport, and what all of them see."""

    transport: Transport
    common: Interest
    members: set[Attachment] = field(default_factory=set)
    events: int = 0
    """What was written to all members, for streams: whoever comes and goes counts what came between."""
    size: int = 0

    def join(self, entries: Sequence[Entry], position: Cursor) -> bytes:
        """Make one write of entries; answers that do not stay open are made one by one instead."""
        if not self.transport.stays_open or not entries:
            return b""
        return self.transport.join([encode(self.transport, entry) for entry in entries], position)


class Hub:
    """Who is attached, and who of them is at the tail."""

    def __init__(self, wheel: Wheel, meter: Meter | None = None) -> None:
        """Begin with nobody; what is delivered is counted by `meter`."""
        self.wheel = wheel
        self.meter = meter or Meter()
        self.position: Cursor = ORIGIN
        self.attachments: set[Attachment] = set()
        self._groups: dict[tuple[str, Interest], Group] = {}
        self._scopes: dict[tuple[str, str], set[Attachment]] = {}
        self._waiting: dict[str, Attachment] = {}
        self.is_closed = False

    # The follower calls these.

    def extended(self, entries: Sequence[Entry]) -> None:
        """Deliver the entries of one tick, in one write for each attachment, or several when they are large."""
        begun = time.perf_counter()
        for part in _parts(entries):
            own = self._own(part)
            for group in list(self._groups.values()):
                self._sweep(group, [entry for entry in part if group.common.sees(entry)], own, part[-1].id)
            self.position = part[-1].id
        self.meter.ticked(time.perf_counter() - begun)

    def _sweep(
        self,
        group: Group,
        common: list[Entry],
        own: Mapping[Attachment, Sequence[Entry]],
        position: Cursor,
    ) -> None:
        """Deliver to one group what all of it sees, and to some of its members what only they see."""
        shared = group.join(common, position)
        joined: dict[tuple[Cursor, ...], bytes] = {}
        members = list(group.members) if common else [one for one in own if one in group.members]
        events, size = len(common) * len(members), len(shared) * len(members)
        if group.transport.stays_open:
            group.events += len(common)
            group.size += len(shared)
        for attachment in members:
            seen, data = common, shared
            if attachment in own:
                seen = _merge(common, own[attachment])
                ids = _ids(seen)
                if ids not in joined:
                    joined[ids] = group.join(seen, position)
                data = joined[ids]
                events += len(seen) - len(common)
                size += len(data) - len(shared)
                if group.transport.stays_open:
                    attachment.count(len(seen) - len(common), len(data) - len(shared))
            try:
                attachment.deliver(seen, data, position)
            except Exception:  # noqa: BLE001 - a server's or ours, of one answer: the follower goes on for all others
                _log.exception("delivery failed", transport=group.transport.name)
                attachment.closed()
        if events and group.transport.stays_open:  # other answers count themselves: they may be cut, or put off
            self.meter.delivered(group.transport.name, events, size)
        if events:
            self.meter.arrived(group.transport.name, position.ms, len(members))

    def restarted(self, base: Cursor) -> None:
        """Let everyone at the tail read on by themselves: the window began anew at `base`."""
        live = [attachment for group in self._groups.values() for attachment in group.members]
        for attachment in live:
            attachment.restart()
        self.position = base

    # Attachments call these.

    def adopt(self, attachment: Attachment) -> None:
        """Take over an attachment that is at the tail."""
        common, own = _share(attachment.reader.interest)
        key = (attachment.transport.name, common)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(attachment.transport, common)
        group.members.add(attachment)
        attachment.count(-group.events, -group.size)
        for scope in own:
            self._scopes.setdefault(scope, set()).add(attachment)
        if attachment.plan.replaceable:
            earlier = self._waiting.get(attachment.plan.session)
            self._waiting[attachment.plan.session] = attachment
            if earlier is not None:
                earlier.close("superseded")

    def release(self, attachment: Attachment) -> None:
        """Give an attachment back to itself."""
        common, own = _share(attachment.reader.interest)
        key = (attachment.transport.name, common)
        group = self._groups[key]
        group.members.discard(attachment)
        attachment.count(group.events, group.size)
        if not group.members:
            del self._groups[key]
        for scope in own:
            held = self._scopes[scope]
            held.discard(attachment)
            if not held:
                del self._scopes[scope]
        if self._waiting.get(attachment.plan.session) is attachment:
            del self._waiting[attachment.plan.session]

    def close(self) -> None:
        """End every answer, and begin none any more; the clients come back with their cursors."""
        self.is_closed = True
        for attachment in list(self.attachments):
            attachment.close("gateway-closed")

    def _own(self, entries: Iterable[Entry]) -> dict[Attachment, list[Entry]]:
        """Find who sees entries of a tick by an exact scope."""
        found: dict[Attachment, list[Entry]] = {}
        for entry in entries:
            for attachment in self._scopes.get((entry.channel, entry.scope), ()):
                if attachment.reader.interest.passes(entry):
                    found.setdefault(attachment, []).append(entry)
        return found


@lru_cache(maxsize=65536)
def _share(interest: Interest) -> tuple[Interest, tuple[tuple[str, str], ...]]:
    """Split an interest into what its group sees alike, and the exact scopes that are found from the events."""
    own = tuple((interest.channel, scope) for scope in interest.scopes if scope != BROADCAST)
    return replace(interest, scopes=interest.scopes & _COMMON), own


def _parts(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Cut a tick where a joined write would pass its bound."""
    begin, size = 0, 0
    for at, entry in enumerate(entries):
        size += entry.size
        if size > BATCH_BYTES and at > begin:
            yield entries[begin:at]
            begin, size = at, entry.size
    yield entries[begin:]


def _merge(common: Sequence[Entry], own: Sequence[Entry]) -> list[Entry]:
    """Put two runs into one order; what is in both (a topic by name and by pattern) is one event."""
    return sorted({entry.id: entry for entry in (*common, *own)}.values(), key=_ID)


def _ids(entries: Sequence[Entry]) -> tuple[Cursor, ...]:
    """Name a run of entries: those who see the same ones in a tick share one buffer."""
    return tuple([entry.id for entry in entries])
