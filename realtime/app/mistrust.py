"""Tells the readers of both logs that entries may be missing, when nobody can know which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from realtime.app.engine import log_of
from realtime.connect import connect
from realtime.control import control_log

if TYPE_CHECKING:
    from realtime.config import Settings

_PATIENCE_S: Final = 10.0


async def mistrust(settings: Settings, redis_url: str) -> None:
    """Raise the floor of the channel's log and of the control log above all that they hold.

    Raises:
        LogUnavailable: Redis does not answer.
    """
    redis = connect(redis_url, _PATIENCE_S, 1)
    try:
        for log in (log_of(redis, settings), control_log(redis)):
            await log.mistrust()
    finally:
        await redis.aclose()
