"""Short ways to say what is published and who looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realtime.channel.event import Cursor, Draft, Entry, interest, stored_envelope

if TYPE_CHECKING:
    from realtime.channel.log import Log

EVERYONE = interest("main", ["broadcast"])


def draft(data: object = 1, scope: str = "broadcast", *, channel: str = "main", key: str = "") -> Draft:
    """Make an event of a type of its own; `data` is told by its `str`."""
    return Draft(channel, scope, stored_envelope("test.happened", scope, str(data).encode()), key)


def entry(
    ms: int, scope: str = "broadcast", *, channel: str = "main", event: str = "test.happened", size: int = 0
) -> Entry:
    """Make an entry as a follower reads it; `size` bytes of data more."""
    return Entry(Cursor(ms, 0), channel, scope, stored_envelope(event, scope, b'"%b"' % (b"x" * size)))


def marker(ms: int, why: bytes = b"idle") -> Entry:
    """Make a marker as a follower reads it."""
    return Entry(Cursor(ms, 0), "", "", why)


async def publish(log: Log, *scopes: str, channel: str = "main") -> list[Cursor]:
    """Publish an event to each scope, in one batch; return the ids."""
    return [one.id for one in await log.append([draft(scope=scope, channel=channel) for scope in scopes])]


def other_epoch(cursor: Cursor) -> Cursor:
    """Return a position that differs in its epoch alone."""
    return cursor._replace(seq=cursor.seq ^ (1 << 40))
