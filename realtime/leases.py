"""Leases of streams: how many a user or an address has open, counted over all gateways, in Redis.

A crash releases what it held by itself (``leases.lua``). While Redis is away each worker counts its own, and what ends
meanwhile is released when it answers again: a lease that it went on to hold would be a stream that its user lacks.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter, deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog

from realtime.channel.library import Library
from realtime.channel.together import Together
from realtime.control import BASE, key
from realtime.errors import LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from realtime.channel.library import Command
    from realtime.fleet import Member

ALIVE_MS: Final = 5_000
"""How long a worker counts as alive after it last said so."""
_TOGETHER: Final = 500
_MOST_UNTOLD: Final = 100_000
_RETRY_S: Final = 0.5

_log = structlog.get_logger("gapless.limits")


class Lease(NamedTuple):
    """One stream of one holder, as long as it is open."""

    holder: str
    """Whose: a user's or an address's key."""
    stream: str
    token: str
    replaces: tuple[str, str] | None = None
    """The stream whose place it took, and the member that has it."""


class Leases:
    """What this worker holds."""

    def __init__(self, redis: Redis, member: Member) -> None:
        """Count for a worker."""
        self._library = Library(redis, "realtime", "leases.lua")
        self._member = f"{member.gateway}.{member.worker}"
        self._held: Counter[str] = Counter()
        self._released: deque[Lease] = deque(maxlen=_MOST_UNTOLD)
        """What Redis is still to be told of."""
        self._releasing: asyncio.Task[None] | None = None
        self._together: Together[Command, list[Any]] = Together(self._library.pipe, _fitting)
        """A crowd that comes back is few calls."""
        self._stopping = asyncio.Event()

    def renewal(self) -> Command:
        """Return the command that keeps all leases of this worker."""
        return ("SET", key(f"alive {self._member}"), "1", "PX", ALIVE_MS)

    def is_here(self, member: str) -> bool:
        """Tell whether a member is this worker."""
        return member == self._member

    async def take(self, holder: str, stream: str, most: int, *, replace: bool) -> Lease | None:
        """Take a lease; `None` when `most` others are open. With `replace`, the oldest of those goes instead."""
        token = secrets.token_urlsafe(9)
        take = _call("take", holder, BASE, self._member, stream, token, most, int(replace), ALIVE_MS)
        try:
            taken, *oldest = await self._together.ask(take)
        except LogUnavailable:
            return self._take_alone(holder, stream, token, most)
        if not taken:
            return None
        self._held[holder] += 1
        replaces = (oldest[0].decode(), oldest[1].decode()) if oldest else None
        return Lease(holder, stream, token, replaces)

    def _take_alone(self, holder: str, stream: str, token: str, most: int) -> Lease | None:
        if self._held[holder] >= most:
            return None
        self._held[holder] += 1
        return Lease(holder, stream, token)

    def release(self, lease: Lease) -> None:
        """Let a lease go; Redis is told a moment later, of many together."""
        self._held[lease.holder] -= 1
        if self._held[lease.holder] <= 0:
            del self._held[lease.holder]
        self._released.append(lease)
        if self._releasing is None:
            self._releasing = asyncio.get_running_loop().create_task(self._release())

    async def _release(self) -> None:
        await asyncio.sleep(0)
        try:
            while self._released:
                batch = [self._released.popleft() for _ in range(min(len(self._released), _TOGETHER))]
                try:
                    await self._tell(batch)
                except LogUnavailable as error:
                    self._released.extendleft(reversed(batch))
                    if self._stopping.is_set():  # they are given back with the worker's life
                        _log.info("leases not released", count=len(self._released), reason=error.detail)
                        return
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_RETRY_S):
                            await self._stopping.wait()
        finally:
            self._releasing = None

    async def stop(self) -> None:
        """Tell Redis of all that was let go, if it answers."""
        self._stopping.set()
        if self._releasing is not None:
            await self._releasing

    async def _tell(self, leases: Sequence[Lease]) -> None:
        commands = [_call("release", one.holder, one.stream, one.token) for one in leases]
        await self._library.pipe(commands, strict=False)  # one that Redis does not know of is released


def _fitting(commands: Sequence[Command]) -> int:
    return min(len(commands), _TOGETHER)


def _call(name: str, holder: str, *arguments: object) -> Command:
    return ("FCALL", f"gapless_leases_1_{name}", 1, key(f"streams {holder}"), *arguments)
