"""A real Valkey whose clock, process and data are set by steps."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from redis import Redis

from tests.promise.scheduler.kernel import ASKED, CLOCK, EXPIRY, RUN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.redis import RedisServer

Raw = tuple[bytes, dict[bytes, bytes]]
"""An entry of a stream."""

_OURS: Final = {CLOCK.encode(), RUN.encode()}
_NOBODY: Final = 1
"""A port on which no server listens: who replicates from there keeps its data and refuses writes."""


@dataclass(frozen=True)
class Copy:
    """A server's data at one moment: the dump of each key."""

    keys: dict[bytes, bytes]


class Server:
    """One server process, emptied between histories."""

    def __init__(self, name: str, running: RedisServer) -> None:
        """Use a server that runs."""
        self.name = name
        self.port = running.port
        self.now_ms = 0
        self._redis = Redis(port=running.port)
        self._library = ""
        self._processes = 0
        self._loads = 0
        self._ails: list[tuple[object, ...]] = []

    def reset(self, library: str, now_ms: int, seed: str) -> None:
        """Empty it, and begin as another process."""
        self._library, self._seed, self._processes, self.now_ms = library, seed, 0, now_ms
        self._loads = 0
        self._cure()
        self._ails = []
        self._redis.flushall()
        self.begin_process()

    def begin_process(self) -> None:
        """Have another run id, and a library that remembers nothing."""
        self._processes += 1
        name = f"{self._seed} {self.name} {self._processes}"
        run = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
        with self._able(), self._redis.pipeline(transaction=False) as pipe:
            pipe.mset({CLOCK: self.now_ms, RUN: run})
            pipe.function_load(self._load(), replace=True)
            pipe.execute()

    def reload(self) -> None:
        """Have a library that remembers nothing, in the same process: a replica that was synchronised in full."""
        with self._able():
            self._redis.function_load(self._load(), replace=True)

    def _load(self) -> str:
        self._loads += 1
        return self._library.replace(ASKED, f"{ASKED} + {self._loads * 37}")

    def set_clock(self, now_ms: int) -> None:
        """Let the clock show this; what has expired by now goes."""
        self.now_ms = now_ms
        with self._able(), self._redis.pipeline(transaction=False) as pipe:
            pipe.set(CLOCK, now_ms)
            pipe.hgetall(EXPIRY)
            _, expiries = pipe.execute()
        gone = [key for key, at in expiries.items() if int(at) < now_ms]
        if gone:
            with self._able(), self._redis.pipeline(transaction=False) as pipe:
                pipe.delete(*gone)
                pipe.hdel(EXPIRY, *gone)
                pipe.execute()

    def flush(self) -> None:
        """Lose all data, but not the process."""
        self.lay(Copy({}))

    def copy(self) -> Copy:
        """Take the data, as a replica or a backup has them."""
        found: Any = self._redis.keys("*")
        keys = sorted(set(found) - _OURS)
        with self._redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.dump(key)
            dumps = pipe.execute()
        return Copy(dict(zip(keys, dumps, strict=True)))

    def lay(self, copy: Copy) -> None:
        """Have the data of a copy, and nothing else."""
        found: Any = self._redis.keys("*")
        old = set(found) - _OURS
        with self._able(), self._redis.pipeline(transaction=False) as pipe:
            if old:
                pipe.delete(*sorted(old))
            for key, dump in copy.keys.items():
                pipe.restore(key, 0, dump)
            pipe.execute()

    def read(self, stream: str, after: str) -> tuple[list[Raw], bytes | None]:
        """Read the entries of a stream after an id, and the id of the oldest."""
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.xrange(stream, f"({after}", "+")
            pipe.xrange(stream, "-", "+", 1)
            raws, oldest = pipe.execute()
        return raws, oldest[0][0] if oldest else None

    # What makes it answer with errors

    def fill(self) -> None:
        """Be out of memory: commands that need more are refused with OOM. One that evicts would not refuse them."""
        if not self.evicts:
            self._ail("CONFIG", "SET", "maxmemory", 1)

    def demote(self) -> None:
        """Be a replica: writes are refused with READONLY; connections and data stay."""
        self._ail("REPLICAOF", "127.0.0.1", _NOBODY)

    def evict(self) -> None:
        """Be a server that would evict history, from its process's begin on; it has enough memory, and never does."""
        self.heal()
        self._ail("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        self.begin_process()

    @property
    def evicts(self) -> bool:
        return any("maxmemory-policy" in command for command in self._ails)

    def poison(self, key: str) -> None:
        """Hold a text where the kernel expects a stream."""
        with self._able():
            self._redis.set(key, "poison")

    def heal(self) -> None:
        """Take all commands again."""
        if self._ails:
            self._cure()
            self._ails = []

    def _ail(self, *command: object) -> None:
        if command not in self._ails:
            self._ails.append(command)
            self._run(command)

    def _run(self, command: tuple[object, ...]) -> None:
        self._redis.execute_command(*command)  # type: ignore[no-untyped-call]

    def _cure(self) -> None:
        self._redis.config_set("maxmemory", 0)
        self._redis.config_set("maxmemory-policy", "noeviction")
        self._redis.replicaof("NO", "ONE")

    @contextmanager
    def _able(self) -> Iterator[None]:
        """Be well while a step changes what is under test."""
        if self._ails:
            self._cure()
        yield
        for command in self._ails:
            self._run(command)

    def close(self) -> None:
        self._redis.close()
