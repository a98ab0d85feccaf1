"""Control events, as they are made: of this moment."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from realtime.channel.event import Control

if TYPE_CHECKING:
    from realtime.channel.event import Cursor
    from realtime.channel.reader import Truncation


def control(event: str, position: Cursor | None = None, **data: object) -> Control:
    """Make a control event of this moment."""
    return Control(event, data, time.time_ns() // 1_000_000, position)


def heartbeat(position: Cursor) -> Control:
    """Say that the line is alive, and up to where the log has been examined."""
    return control("heartbeat.sent", position, cursor=str(position))


def truncated(truncation: Truncation) -> Control:
    """Say that a cursor can't be resumed, and where it goes on."""
    requested, floor, cursor, _ = truncation
    return control("history.truncated", cursor, requested=requested, floor=str(floor), cursor=str(cursor))
