"""A reverse proxy that holds streams back, as some do: the header passes, the body waits for its end."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_HOST = "127.0.0.1"
_CHUNK = 65_536
_STREAM = b"/events/stream"
_HEAD_ENDS = b"\r\n\r\n"


class Buffering:
    """Passes on what isn't a stream; of a stream the header and so many events, then nothing until it ends."""

    def __init__(self, target_port: int, passes: int) -> None:
        self._target_port = target_port
        self._passes = passes
        self._tasks: set[asyncio.Task[None]] = set()
        self.held = asyncio.Event()
        """Set once something was held back."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until either side ends."""
        from_server, to_server = await asyncio.open_connection(_HOST, self._target_port)
        streams = asyncio.Event()
        ways = (self._requests(reader, to_server, streams), self._replies(from_server, writer, streams))
        tasks = {asyncio.create_task(way) for way in ways}
        self._tasks |= tasks
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._tasks -= tasks
            writer.transport.abort()
            to_server.transport.abort()

    def cut(self) -> None:
        """End what is open."""
        for task in self._tasks:
            task.cancel()

    async def _requests(
        self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, streams: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if _STREAM in data.partition(b"\r\n")[0]:
                    streams.set()
                server.write(data)
                await server.drain()

    async def _replies(
        self, reader: asyncio.StreamReader, client: asyncio.StreamWriter, streams: asyncio.Event
    ) -> None:
        seen = kept = b""
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                passing = data
                if streams.is_set():
                    seen += data
                    end = self._end(seen)
                    passing = data[: max(0, end - len(seen) + len(data))]
                    kept += data[len(passing) :]
                if kept:
                    self.held.set()
                client.write(passing)
                await client.drain()
            client.write(kept)
            await client.drain()

    def _end(self, seen: bytes) -> int:
        """Return where in an answer that which passes ends."""
        at = seen.find(_HEAD_ENDS) + len(_HEAD_ENDS)
        for _ in range(self._passes):
            begins = seen.find(b"event:", at)
            ends = seen.find(b"\n\n", begins) if begins >= 0 else -1
            if ends < 0:
                return len(seen)
            at = ends + 2 + len(b"\r\n")  # of the chunk
        return at


@asynccontextmanager
async def buffering(target_port: int, passes: int = 0) -> AsyncIterator[tuple[str, Buffering]]:
    """Run one in front of a port of this machine; yield its address, and it."""
    one = Buffering(target_port, passes)
    server = await asyncio.start_server(one.serve, _HOST, 0)
    try:
        yield f"http://{_HOST}:{server.sockets[0].getsockname()[1]}", one
    finally:
        server.close()
        one.cut()
        await server.wait_closed()
