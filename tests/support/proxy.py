"""A TCP proxy between a client and a server that loses, cuts, delays, alters and holds back what passes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.waiting import interlude

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_HOST = "127.0.0.1"
_CHUNK = 65_536


@dataclass(eq=False)
class _Line:
    """One client's connection, and ours to the server for it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    losing: bool = False

    def cut(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()


class Proxy:
    """Passes bytes both ways, until told otherwise."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        """Where new connections go."""
        self.port = 0
        self.delay_s = 0.0
        """How long each piece of an answer takes."""
        self.alters: Callable[[bytes], bytes] | None = None
        """What it makes of each piece of an answer, as if the server were another one."""
        self.refuses = False
        """Whether new connections are cut at once."""
        self.lost = asyncio.Event()
        """Set when the last reply to be lost was lost."""
        self.counts = b""
        """Which requests are counted: those that contain this."""
        self.counted = 0
        """How many of them came."""
        self._command = b""
        self._to_lose = 0
        self._passing = asyncio.Event()
        self._passing.set()
        self._lines: set[_Line] = set()

    @property
    def redis_url(self) -> str:
        return f"redis://{_HOST}:{self.port}/0"

    def lose_reply(self, command: bytes = b"", times: int = 1) -> None:
        """Let the next requests that contain `command` arrive; their replies are lost, each with its connection."""
        self._command, self._to_lose = command, times
        self.lost.clear()

    def cut(self) -> None:
        """Cut every connection as a reset does."""
        for line in list(self._lines):
            line.cut()

    def hold(self) -> None:
        """Pass nothing, either way, as a network that swallows packets."""
        self._passing.clear()

    def release(self) -> None:
        """Pass on what was held back, and what comes."""
        self._passing.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until either side ends."""
        if self.refuses:
            writer.transport.abort()
            return
        try:
            from_server, to_server = await asyncio.open_connection(_HOST, self.target_port)
        except OSError:
            writer.transport.abort()
            return
        line = _Line(writer, to_server)
        self._lines.add(line)
        ways = [self._requests(reader, line), self._replies(from_server, line)]
        tasks = [asyncio.create_task(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._lines.discard(line)
            line.cut()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _requests(self, reader: asyncio.StreamReader, line: _Line) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._passing.wait()
                if self.counts:
                    self.counted += data.count(self.counts)
                if self._to_lose and self._command in data:
                    self._to_lose -= 1
                    line.losing = True
                line.server.write(data)
                await line.server.drain()

    async def _replies(self, reader: asyncio.StreamReader, line: _Line) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if line.losing:
                    if not self._to_lose:
                        self.lost.set()
                    return
                await self._delayed()
                line.client.write(data if self.alters is None else self.alters(data))
                await line.client.drain()

    async def _delayed(self) -> None:
        await interlude(self.delay_s)
        await self._passing.wait()


@asynccontextmanager
async def proxy(target_port: int) -> AsyncIterator[Proxy]:
    """Run a proxy in front of a port of this machine until the block ends."""
    one = Proxy(target_port)
    server = await asyncio.start_server(one.serve, _HOST, 0)
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()
        one.release()
        one.cut()
        await server.wait_closed()
