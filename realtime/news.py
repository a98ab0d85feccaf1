"""State kept beside the control log: read at news of it, when some may have been missed, and every half minute."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from realtime.errors import LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from realtime.control import Control

_RETRY_S: Final = 0.5
_PATIENCE_S: Final = 1.0
_AGAIN_S: Final = 30.0
"""State is read that often without news: it may have been read from a server that was the wrong one for a moment."""

_log = structlog.get_logger("gapless.control")


class News:
    """Tells when to read."""

    def __init__(self, control: Control, event: str) -> None:
        """Hear of one kind of news."""
        self._event = event
        self._wanted = asyncio.Event()
        self._heeded = asyncio.Event()
        control.on_restart(self._want)
        control.on_record(event, lambda _id, _data: self._want())

    def _want(self) -> None:
        self._wanted.set()
        self._heeded.clear()

    async def heeded(self) -> None:
        """Wait until what was heard of is read: who hears of it elsewhere, and asks here, may be sooner.

        No longer than `_PATIENCE_S`: while Redis is away, what is known is all that there is.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                await self._heeded.wait()

    async def follow(self, read: Callable[[], Awaitable[None]]) -> None:
        """Read whenever there is news, and every half minute, until cancelled; what can't be read stays as it is."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN_S):
                    await self._wanted.wait()
            if not await self.look(read):
                await asyncio.sleep(_RETRY_S)

    async def look(self, read: Callable[[], Awaitable[None]]) -> bool:
        """Read once, whether there is news or not; tell whether all is read."""
        self._wanted.set()
        return await self.heed(read)

    async def heed(self, read: Callable[[], Awaitable[None]]) -> bool:
        """Read once, if there is news; tell whether all is read."""
        if not self._wanted.is_set():
            return True
        self._wanted.clear()
        try:
            await read()
        except LogUnavailable:
            self._wanted.set()
            return False
        except Exception:  # noqa: BLE001 - what this version can't read must not end the following
            _log.exception("state not read", news=self._event)
            return False
        if not self._wanted.is_set():
            self._heeded.set()
        return True
