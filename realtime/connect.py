"""Connections to Redis or Valkey, and whether the server is one that the log can live in.

An address may lead to another server tomorrow: after a failover. A connection that is still with the old one isn't cut
by that. What the old one answers shows it (`WRONG_SERVER`); then the whole pool connects anew.
"""

from __future__ import annotations

import asyncio
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from hiredis import pack_command
from redis._parsers import _AsyncHiredisParser  # redis-py's own, of 8.1: the version is pinned in pyproject.toml
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as TooSlow

from realtime.channel.durability import MEMORY
from realtime.channel.log import NO_EVICTION
from realtime.channel.refusals import why
from realtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from redis.asyncio.connection import AbstractConnection

    from realtime.channel.durability import Durability
else:
    AbstractConnection = object

WRONG_SERVER: Final = frozenset(
    {
        "READONLY",  # a replica, perhaps demoted
        "MASTERDOWN",  # a replica that has lost its primary
        "NOREPLICAS",  # a primary that has lost its replicas: perhaps one of them has been promoted
        "UNBLOCKED",  # a read was waiting when the server became a replica
        "LOADING",  # it reads its data, or another server's, and another may serve meanwhile
        "MOVED",  # in a cluster: another node serves the keys
        "CLUSTERDOWN",  # in a cluster: a node that was cut off from the others
    }
)
"""The codes of errors that say: this server is not, or no longer, the one to ask.

Not among them are `OOM`, `MISCONF`, `BUSY`, `NOPERM`: they come from the right server.
"""
LEAST_VERSION = 7
"""Of Redis or Valkey: the first with functions, which the log is made of."""
_TRIES = 5


def connect(url: str, timeout_s: float, connections: int) -> Redis:
    """Make a client whose own retries are off: they would repeat an append whose reply was lost.

    Who finds all connections taken waits for one, as long as for an answer.
    """
    pool = _Pool.from_url(
        url,
        parser_class=_Replies,
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


class _Pool(BlockingConnectionPool):
    """Leaves a server with all connections at once: each would have to fail once otherwise."""

    def make_connection(self) -> Any:  # noqa: ANN401 - a class that is made for the address
        """Make a connection that knows whom to tell that the server is the wrong one."""
        connection: Any = super().make_connection()  # type: ignore[no-untyped-call]
        connection.leave = self._leave
        return connection

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        """Connect anew what the server was left with; what is in use then comes here with its next use."""
        if connection.should_reconnect():  # type: ignore[no-untyped-call]
            await connection.disconnect(nowait=True)
        await super().ensure_connection(connection)

    def _leave(self) -> None:
        for connection in chain(self._available_connections, self._in_use_connections):
            connection.mark_for_reconnect()  # type: ignore[no-untyped-call]


class _Replies(_AsyncHiredisParser):
    """Reads replies. hiredis calls it for each error, wherever in a reply that is: also in that to ``EXEC``."""

    _leave: Callable[[], None]

    def on_connect(self, connection: Any) -> None:  # noqa: ANN401 - one of ours
        """Begin to read."""
        self._leave = connection.leave
        super().on_connect(connection)  # type: ignore[no-untyped-call]

    def parse_error(self, response: str) -> Exception:  # type: ignore[override] # a method: which server said it matters
        """Make an error; leave the server, if that is what the error calls for."""
        if response.split(" ", 1)[0] in WRONG_SERVER:
            self._leave()
        error: Exception = super().parse_error(response)  # type: ignore[no-untyped-call]
        return error


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
        raise ConfigError(f"redis.url: {why(error)}") from error
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
