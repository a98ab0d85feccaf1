"""Groups: attachments of one transport, filter and pattern list, with one buffer for what all of them see."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from realtime.channel.event import BROADCAST, Interest
from realtime.delivery.answers import encode
from realtime.delivery.state import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realtime.channel.event import Cursor, Entry
    from realtime.delivery.attachment import Attachment
    from realtime.delivery.crowd import Crowd
    from realtime.delivery.exchange import Exchange
    from transports.transport import Transport

_COMMON = frozenset({BROADCAST})


class Key(NamedTuple):
    """What members of a group have in common."""

    transport: str
    common: Interest
    is_even: bool
    crowd: Crowd | None


class Group:
    """Attachments that share a transport, and what all of them see."""

    __slots__ = ("common", "crowd", "events", "is_even", "key", "members", "size", "stamp_ms", "transport")

    def __init__(self, transport: Transport, key: Key) -> None:
        """Begin without members; those of an even group are written to at once, each as soon as there is something.

        Those of a crowd are answered alike, and will wait again.
        """
        self.key = key
        self.transport = transport
        _, self.common, self.is_even, self.crowd = key
        self.members: dict[Attachment, Exchange] = {}
        self.stamp_ms = 0
        """When all members were last written to at once, by the wheel's clock."""
        self.events = self.size = 0
        """What all members were written at once: whoever comes and goes counts what came between."""

    def here(self) -> list[Attachment]:
        """Return the members that are attached: all but those who are away."""
        if self.crowd is None:
            return list(self.members)
        return [one for one in self.members if one.state is not State.AWAY]

    def join(self, entries: Sequence[Entry], position: Cursor) -> bytes:
        """Make one write of entries; answers that do not stay open are made one by one instead."""
        if not self.transport.stays_open or not entries:
            return b""
        return self.transport.join([encode(self.transport, entry) for entry in entries], position)


@lru_cache(maxsize=4096)  # it stays when its clients have gone
def share(interest: Interest) -> tuple[Interest, tuple[tuple[str, str], ...]]:
    """Split an interest into what its group sees alike, and the exact scopes that are found from the events."""
    own = tuple((interest.channel, scope) for scope in interest.scopes if scope != BROADCAST)
    return replace(interest, scopes=interest.scopes & _COMMON), own
