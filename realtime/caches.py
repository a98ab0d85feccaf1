"""Forgets clients that have gone: what is remembered of each goes once it is not used.

Bound: what a worker remembers of clients is at most that of the last 16,384 (`realtime.auth.recent`), some 8 kB each.
After a crowd it goes within two minutes of its last request. The process gives little of it back to the system:
measured, 104 MB before a crowd of 8,000, 174 MB after it, 172 MB two and a half minutes later.
"""

from __future__ import annotations

import asyncio
import ctypes
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable

EVERY_S: Final = 60.0
_MANY: Final = 1_000
"""So many entries were a crowd's; for fewer the C library need not look through its heap."""

_log = structlog.get_logger("gapless.caches")


class Cache(Protocol):
    """What is remembered of clients that came lately."""

    def sweep(self) -> int:
        """Forget what was not used since the last sweep; return how many entries that were."""


class Caches:
    """The caches of one worker."""

    def __init__(self, caches: Iterable[Cache], every_s: float = EVERY_S) -> None:
        """Sweep these every so many seconds."""
        self._caches = tuple(caches)
        self._every_s = every_s

    async def run(self) -> NoReturn:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            if self.sweep() >= _MANY:
                await asyncio.to_thread(return_freed_memory)

    def sweep(self) -> int:
        """Forget what was not used since the last sweep; return how many entries that were."""
        dropped = sum(cache.sweep() for cache in self._caches)
        if dropped:
            _log.debug("caches swept", dropped=dropped)
        return dropped


def return_freed_memory() -> None:
    """Have the C library give freed pages back to the system, where it can (glibc: malloc_trim(3))."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
