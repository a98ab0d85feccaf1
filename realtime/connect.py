"""Connections to Redis or Valkey, and whether the server is one that the log can live in."""

from __future__ import annotations

from typing import Any

from hiredis import pack_command
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from realtime.errors import ConfigError

LEAST_VERSION = 7
"""Of Redis or Valkey: the first with functions, which the log is made of."""


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
    pool.connection_class = type("Connection", (_Packing, pool.connection_class), {})
    client = Redis.from_pool(pool)
    for command in ("XREAD", "XREVRANGE"):
        client.set_response_callback(command, _as_it_came)
    return client


class _Packing:
    """Writes commands by hiredis, as answers are read: redis-py's own way takes several times as long."""

    def pack_command(self, *args: Any) -> list[bytes]:  # noqa: ANN401 - what redis-py packs
        """Write a command as Redis reads it (RESP). A name of two words is two arguments."""
        return [pack_command((*str(args[0]).split(), *args[1:]))]


def _as_it_came(response: Any, **_: Any) -> Any:  # noqa: ANN401 - as redis-py has it
    """Leave an answer alone: the follower reads thousands of entries a second, and knows what it looks for."""
    return response


async def check(redis: Redis) -> None:
    """See to it that the server is new enough and never evicts (the log's rule 10).

    Raises:
        ConfigError: it is too old, would evict history, or does not answer.
    """
    try:
        server: dict[str, Any] = await redis.info("server")
        memory: dict[str, Any] = await redis.info("memory")
    except (RedisError, OSError, TimeoutError) as error:
        message = f"redis.url: the server does not answer ({type(error).__name__}): is it running, at that address?"
        raise ConfigError(message) from error
    version = str(server.get("valkey_version") or server["redis_version"])
    if int(version.split(".", 1)[0]) < LEAST_VERSION:
        message = f"redis.url: the server's version is {version}: at least {LEAST_VERSION} is needed, for functions"
        raise ConfigError(message)
    policy = memory["maxmemory_policy"]
    if policy != "noeviction":
        message = (
            f"redis.url: the server's maxmemory-policy is {policy}, which would eat history in silence: "
            "set it to noeviction; history.max_bytes bounds the log"
        )
        raise ConfigError(message)
