"""What the tests of the rules share: a log on a server whose clock they move, and looks at what it holds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from realtime.channel.event import ORIGIN, Cursor
from realtime.channel.log import Log
from tests.channel.model import ROOMY

if TYPE_CHECKING:
    from realtime.channel.event import Interest
    from realtime.channel.log import Link
    from tests.channel.simulated import SimulatedServer

META = "{gapless:0}:meta"


def log_of(server: SimulatedServer, **limits: int) -> Log:
    return Log(server.client, replace(ROOMY, **limits))


async def links(log: Log) -> list[Link]:
    return (await log.backwards(None, 1_000))[::-1]


async def good(log: Log, cursor: Cursor, seen: Interest | None = None) -> bool:
    return (await log.check(cursor, seen)).good


async def bodies(log: Log) -> list[bytes]:
    return [entry.stored for entry, _ in await links(log) if entry.is_marker]


async def boundaries(server: SimulatedServer) -> list[str]:
    names: Any = await server.client.hkeys(META)
    return [name.decode() for name in names if b":" in name]


async def replayed(log: Log, seen: Interest, after: Cursor = ORIGIN) -> list[Cursor]:
    ((tail, _), *_) = await log.backwards(None, 1)
    return [entry.id for entry in (await log.replay(seen, after, tail.id, 1_000)).entries]
