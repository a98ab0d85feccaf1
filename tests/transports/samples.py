"""Values that encoders are given: entries of the log and control events, made without a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from realtime.channel.event import Control, Cursor, Entry, stored_envelope
from transports.transport import Delivery, Terms

if TYPE_CHECKING:
    from collections.abc import Sequence

MS = 1_795_317_600_123
TIME = "2026-11-22T03:20:00.123Z"


def cursor(number: int) -> Cursor:
    """Return the id of the entry of this number."""
    return Cursor(MS, 7 * 2**20 + number)


def entry(number: int = 1, data: object = None, *, event: str = "test.happened", scope: str = "broadcast") -> Entry:
    """Make an entry of the log; `data` is any JSON value."""
    return Entry(cursor(number), "main", scope, stored_envelope(event, scope, orjson.dumps(data)))


def control(event: str, position: Cursor | None = None, **data: object) -> Control:
    """Make a control event."""
    return Control(event, data, MS, position)


def truncated(position: Cursor) -> Control:
    """Make a ``history.truncated`` that leads to a position."""
    return control("history.truncated", position, requested="1-1", floor="2-2", cursor=str(position))


def terms(
    *,
    retry_ms: int = 1000,
    next_poll_ms: int = 5000,
    public: bool = False,
    given: Cursor | None = None,
    unchanged: bool = False,
) -> Terms:
    """Settle terms; what is not given is unimportant."""
    return Terms(retry_ms, next_poll_ms, public=public, given=given, unchanged=unchanged)


def delivery(
    *frames: bytes,
    position: Cursor,
    controls: Sequence[bytes] = (),
    more: bool = False,
    ticket: str | None = None,
) -> Delivery:
    """Make what one answer carries."""
    return Delivery(frames, controls, position, more, ticket)
