"""Two real servers whose clock a test moves: the kernel as it is, but for where it reads the time and leaves expiries.

A copy of one server's data is laid onto the other, or back onto itself, key by key: what a lagging replica has when it
is promoted, and what a backup has when it is restored.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from redis import Redis

from realtime.connect import connect

if TYPE_CHECKING:
    from redis.asyncio import Redis as AsyncRedis

    from tests.support.redis import RedisServer

_CLOCK = "simulated clock"
_EXPIRY = "simulated expiry"
_REPLACED = (
    (
        "local time = redis.call('TIME')\n  return time[1] * 1000 + math.floor(time[2] / 1000)",
        f"return tonumber(redis.call('GET', '{_CLOCK}'))",
    ),
    ("redis.call('PEXPIREAT', stream, ", f"redis.call('HSET', '{_EXPIRY}', stream, "),
)


def library() -> str:
    """Return the kernel's text with its time taken from a key, and expiries written down instead of set."""
    text = files("realtime.channel").joinpath("log.lua").read_text()
    for old, new in _REPLACED:
        assert text.count(old) == 1, f"log.lua has changed here: {old}"
        text = text.replace(old, new)
    return text


@dataclass(frozen=True)
class Copy:
    """All of a log's data at one moment: by key, its dump and how many ms it has to live."""

    keys: dict[bytes, tuple[bytes, int]]


class SimulatedServer:
    """One server, reset for each example."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.now_ms = 0
        self._redis = Redis(port=server.port)
        self.client: AsyncRedis = connect(server.url, 5.0, 8)

    def reset(self, now_ms: int) -> None:
        """Empty everything, and set the clock."""
        self._redis.flushall()
        self._redis.function_load(library(), replace=True)
        self.set_clock(now_ms)

    def forget(self) -> None:
        """Leave nothing behind, no library either."""
        self._redis.flushall()
        self._redis.function_flush()

    def set_clock(self, now_ms: int) -> None:
        """Let the clock show this; what has expired by now goes."""
        self.now_ms = now_ms
        self._redis.set(_CLOCK, now_ms)
        expiries: Any = self._redis.hgetall(_EXPIRY)
        gone = [stream for stream, at in expiries.items() if int(at) < now_ms]
        if gone:
            self._redis.delete(*gone)
            self._redis.hdel(_EXPIRY, *gone)

    def flush(self) -> None:
        """Lose everything but the process."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.flushall()
            pipe.set(_CLOCK, self.now_ms)
            pipe.execute()

    def copy(self) -> Copy:
        """Take what a replica would have at this moment."""
        names: Any = self._redis.keys("*")
        keys = [name for name in names if name != _CLOCK.encode()]
        with self._redis.pipeline(transaction=True) as pipe:
            for key in keys:
                pipe.dump(key)
                pipe.pttl(key)
            answers = pipe.execute()
        dumps, lives = answers[::2], answers[1::2]
        return Copy({key: (dump, max(0, life)) for key, dump, life in zip(keys, dumps, lives, strict=True) if dump})

    def lay(self, copy: Copy) -> None:
        """Have the data of a copy, and nothing else; as a replica, that lets nothing expire by itself."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.flushall()
            pipe.set(_CLOCK, self.now_ms)
            for key, (dump, life) in copy.keys.items():
                pipe.restore(key, life, dump)
            pipe.execute()

    async def restart(self) -> None:
        """Crash, and start on the append-only file."""
        self.server.kill()
        await self.server.start()
        self._redis.close()
        await self.client.connection_pool.disconnect()

    async def close(self) -> None:
        self._redis.close()
        await self.client.aclose()
