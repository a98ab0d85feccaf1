"""Groups: attachments of one transport, filter and pattern list, with one buffer for what all of them see."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from realtime.channel.event import BROADCAST, Interest
from realtime.delivery.answers import encode
from realtime.delivery.state import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realtime.channel.event import Cursor, Entry
    from realtime.delivery.answers import Answers
    from realtime.delivery.attachment import Attachment
    from realtime.delivery.exchange import Exchange
    from transports.transport import Answer, Transport

_COMMON = frozenset({BROADCAST})

ASKED: Final = "asked"
"""Each attachment is asked what to write, and when."""
EVEN: Final = "even"
"""All are written to as soon as there is something, as long as their connection takes it."""


class Alike(NamedTuple):
    """All are answered as soon as there is something, with one answer, and will wait again."""

    limit: int
    """Events of one answer, at most."""
    next_poll_ms: int
    gzip: bool

    def answer(self, answers: Answers, transport: Transport, entries: Sequence[Entry], position: Cursor) -> Answer:
        """Return the answer that holds these entries and no more than that."""
        return answers.plain(transport, entries, position, next_poll_ms=self.next_poll_ms, gzip=self.gzip)


Manner = str | Alike
"""How those in a group are written to: `ASKED`, `EVEN` or `Alike`."""


class Group:
    """Attachments that share a transport, and what all of them see."""

    __slots__ = ("common", "events", "manner", "members", "size", "stamp_ms", "transport")

    def __init__(self, transport: Transport, common: Interest, manner: Manner) -> None:
        """Begin without members, written to in a manner."""
        self.transport = transport
        self.common = common
        self.manner = manner
        self.members: dict[Attachment, Exchange] = {}
        self.stamp_ms = 0
        """When all members were last written to at once, by the wheel's clock."""
        self.events = self.size = 0
        """What all members were written at once: whoever comes and goes counts what came between."""

    def here(self) -> list[Attachment]:
        """Return the members that wait to be written to: all but those who are away."""
        if isinstance(self.manner, Alike):
            return [one for one in self.members if one.state is not State.AWAY]
        return list(self.members)

    def join(self, entries: Sequence[Entry], position: Cursor) -> bytes:
        """Make one write of entries; answers that do not stay open are made one by one instead."""
        if not self.transport.stays_open or not entries:
            return b""
        return self.transport.join([encode(self.transport, entry) for entry in entries], position)


@lru_cache(maxsize=65536)
def share(interest: Interest) -> tuple[Interest, tuple[tuple[str, str], ...]]:
    """Split an interest into what its group sees alike, and the exact scopes that are found from the events."""
    own = tuple((interest.channel, scope) for scope in interest.scopes if scope != BROADCAST)
    return replace(interest, scopes=interest.scopes & _COMMON), own
