"""Connections to Redis or Valkey, and whether the server is one that the log can live in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hiredis import pack_command
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as TooSlow

from realtime.channel.durability import MEMORY
from realtime.channel.log import NO_EVICTION
from realtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis.asyncio.connection import AbstractConnection

    from realtime.channel.durability import Durability
else:
    AbstractConnection = object

LEAST_VERSION = 7
"""Of Redis or Valkey: the first with functions, which the log is made of."""
_TRIES = 5


def connect(url: str, timeout_s: float, connections: int) -> Redis:
    """Make a client whose own retries are off: they would repeat an append whose reply was lost.

    Who finds all connections taken waits for one, as long as for an answer.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        max_connections=connections,
        protocol=2,
    )
    pool.connection_class = type("Connection", (_Sending, pool.connection_class), {})
    client = _Client.from_pool(pool)
    for command in ("XREAD", "XREVRANGE"):
        client.set_response_callback(command, _as_it_came)
    return client


class _Client(Redis):
    """Runs a command without what redis-py does around each: retries, which are off, and telemetry of its own."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as redis-py has it
        """Run one command on a connection of the pool; one that fails or is cancelled leaves no answer there."""
        pool: Any = self.connection_pool
        connection = await pool.get_connection()
        try:
            await connection.send_command(*args)
            return await self.parse_response(connection, args[0], **options)
        finally:
            await pool.release(connection)


class _Sending(AbstractConnection):
    """How a connection writes: mixed into redis-py's classes, of which each knows what it is connected by."""

    def pack_command(self, *args: Any) -> list[bytes]:  # noqa: ANN401 - what redis-py packs
        """Write a command as Redis reads it (RESP), by hiredis: redis-py's own way takes several times as long.

        A name of two words is two arguments.
        """
        return [pack_command((*str(args[0]).split(), *args[1:]))]

    async def send_packed_command(
        self,
        command: Iterable[bytes],  # type: ignore[override] # only what `pack_command` made comes here
        check_health: bool = True,  # noqa: FBT001, FBT002 - redis-py's
    ) -> None:
        """Send as redis-py does, but for its ``asyncio.wait_for``.

        Until Python 3.12 that swallows a cancellation which comes just as the sending ends: a follower went on for
        ever, and a request whose client had gone waited for its body. It also costs a task for each command.

        Raises:
            ConnectionLost: Redis has gone, or takes nothing for as long as it may take to answer.
        """
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health:
            await self.check_health()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(self.socket_timeout):
                await self._send_packed_command(command)
        except OSError as error:
            await self.disconnect(nowait=True)
            raise ConnectionLost(f"while writing: {type(error).__name__}: {error}") from error
        except BaseException:  # what was sent in part, or is answered to nobody, is of no use to the next
            await self.disconnect(nowait=True)
            raise


def _as_it_came(response: Any, **_: Any) -> Any:  # noqa: ANN401 - as redis-py has it
    """Leave an answer alone: the follower reads thousands of entries a second, and knows what it looks for."""
    return response


async def check(redis: Redis, durability: Durability = MEMORY) -> None:
    """See to it that the server is new enough, never evicts (the log's rule 10), and can be as durable as is wanted.

    Raises:
        ConfigError: it is too old, would evict history, can't be as durable, or does not answer.
    """
    try:
        server, memory = await _told(redis)
    except (RedisError, OSError, TimeoutError) as error:
        message = f"redis.url: the server does not answer ({type(error).__name__}): is it running, at that address?"
        raise ConfigError(message) from error
    version = str(server.get("valkey_version") or server["redis_version"])
    if int(version.split(".", 1)[0]) < LEAST_VERSION:
        message = f"redis.url: the server's version is {version}: at least {LEAST_VERSION} is needed, for functions"
        raise ConfigError(message)
    policy = memory["maxmemory_policy"]
    if policy != NO_EVICTION:
        message = (
            f"redis.url: the server's maxmemory-policy is {policy}, which would eat history in silence: "
            f"set it to {NO_EVICTION}; history.max_bytes bounds the log"
        )
        raise ConfigError(message)
    await _check_durability(redis, durability, version)


async def _check_durability(redis: Redis, durability: Durability, version: str) -> None:
    if durability.probe is None:
        return
    command = durability.probe[0]
    try:
        await redis.execute_command(*durability.probe)  # type: ignore[no-untyped-call]
    except ResponseError as error:
        reason = f"it has no {command}, which came with Redis 7.2" if "unknown command" in str(error) else str(error)
        message = f"history.durability: the server (version {version}) can't do that: {reason}"
        raise ConfigError(message) from error
    except (RedisError, OSError, TimeoutError) as error:
        message = f"history.durability: the server does not answer {command} ({type(error).__name__})"
        raise ConfigError(message) from error


async def _told(redis: Redis, tries: int = _TRIES) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a server tells of itself. One that is slow is asked again: when all starts at once, everything is."""
    try:
        return await redis.info("server"), await redis.info("memory")
    except TooSlow:
        if tries == 1:
            raise
    return await _told(redis, tries - 1)
