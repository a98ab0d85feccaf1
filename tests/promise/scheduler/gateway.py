"""The channel as one process of the service has it, from the product's own parts; moved by steps, not by tasks."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from realtime.channel.follower import Follower
from realtime.channel.log import Log
from realtime.channel.reader import Reader, Replays, Start
from realtime.channel.window import Window
from realtime.errors import ConfigError, LogUnavailable
from realtime.revisions import Revisions
from realtime.revocations import Revocations
from realtime.witnesses import Witnesses
from tests.promise.scheduler.line import Line
from tests.promise.scheduler.plane import Plane

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from redis.asyncio import Redis

    from realtime.channel.event import Cursor, Entry, Interest
    from realtime.channel.log import Limits
    from tests.promise.scheduler.server import Server

_CONNECTIONS = 2


@dataclass
class Parts:
    """The classes that a gateway is made of; a mutation puts others in their place."""

    log: type[Log] = Log
    window: type[Window] = Window
    follower: type[Follower] = Follower
    replays: type[Replays] = Replays
    reader: type[Reader] = Reader
    revisions: type[Revisions] = Revisions
    revocations: type[Revocations] = Revocations
    witnesses: type[Witnesses] = Witnesses
    leaves: bool = True
    """Whether a pool leaves a server that answers as the wrong one."""


@dataclass(frozen=True)
class Size:
    """How much a gateway keeps."""

    limits: Limits
    window_events: int
    window_bytes: int


@dataclass
class Heard:
    """What a follower told: the entries that it put into the window."""

    entries: list[Entry] = field(default_factory=list)

    def extended(self, entries: Sequence[Entry]) -> None:
        self.entries += entries

    def take(self) -> list[Entry]:
        """Return what was put there since this was asked last."""
        entries, self.entries = self.entries, []
        return entries

    async def settled(self) -> None:
        """Deliver nothing, so all is delivered."""

    def restarted(self, base: Cursor) -> None:
        """Know nothing of it: readers ask the window."""


class Gateway:
    """Pool, log, window, follower, replays; and a control plane."""

    def __init__(
        self, name: str, server: Server, size: Size, parts: Parts, data_dir: Path, *, is_operated: bool
    ) -> None:
        """Begin at a server; `is_operated`: with a control plane. Gateways share the data directory."""
        self.name = name
        self.size = size
        self.pool, self.following = Line(server, leaves=parts.leaves), Line(server, leaves=parts.leaves)
        self.redis = self.pool.client(_CONNECTIONS)
        self.heard = Heard()
        self.log = parts.log(self.redis, size.limits)
        window = parts.window(size.window_events, size.window_bytes)
        self.follower = parts.follower(self.log, window, lambda: self.following.client(1), self.heard)
        self.replays = parts.replays(self.follower)
        self._reader = parts.reader
        self._witnesses = parts.witnesses(data_dir, name, (self.log,))
        self.is_started = False
        """Whether the log was compared with what gateways before it saw."""
        self.plane = None
        if is_operated:
            self.plane = Plane(self.redis, self.following, parts.revisions, parts.revocations)
        self._connection: Redis | None = None

    def reader(self, interest: Interest, start: Start) -> Reader:
        """Make a client's reader."""
        return self._reader(self.follower, self.replays, interest, start)

    async def start(self) -> None:
        """Do as a process does before it serves; one that can't is started again, here with the next step."""
        if not self.is_started:
            with suppress(ConfigError):
                await self._witnesses.recall()
                self.is_started = True

    async def stop(self) -> None:
        """End in good order: what was seen of the log is written down."""
        await self._witnesses.keep()

    async def follow(self) -> bool:
        """Read on once, as the follower's own task does; tell whether there was something.

        Raises:
            LogUnavailable: there was no answer; the next step has a new connection.
        """
        if self._connection is None:
            self._connection = self.following.client(1)
        try:
            return await self.follower.read_on(self._connection, None)
        except LogUnavailable:
            await self._drop()
            raise

    async def touch(self) -> None:
        """Touch the log once, as the follower's other task does."""
        await self.follower.touch()

    def stands(self) -> str:
        """Tell where it stands."""
        return f"{self.name} at {self.following.connected.name}: {self.follower.window.position}"

    def lead(self, pool: Server, following: Server) -> None:
        """Point the two addresses at servers; what is connected stays where it is."""
        self.pool.server, self.following.server = pool, following

    async def cut(self) -> None:
        """Cut all connections."""
        await self.redis.connection_pool.disconnect()
        await self._drop()
        self.pool.connected, self.following.connected = self.pool.server, self.following.server

    async def close(self) -> None:
        await self.redis.aclose()
        await self._drop()

    async def _drop(self) -> None:
        if self.plane is not None:
            await self.plane.drop()
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(RedisError, OSError):
                await connection.aclose()
