"""One connection of a client, on a bare protocol."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Line(asyncio.Protocol):
    """One connection: whole answers by their length, and a stream block by block."""

    def __init__(self, heard: Callable[[bytes], None]) -> None:
        """Give the blocks of a stream to `heard`."""
        self.ended = asyncio.Event()
        self._heard = heard
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._streams = False
        self._buffer = b""
        self._text = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        """End; whoever waits for an answer is told."""
        self.ended.set()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("the server closed the connection"))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request; return the status and body of its answer, or the status of a stream that begins."""
        if self.ended.is_set():
            raise ConnectionResetError("the server closed the connection")
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)  # type: ignore[attr-defined]
        return await self._answer

    def close(self) -> None:
        """Leave at once."""
        self.transport.abort()  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        self._buffer += data
        if not self._streams:
            self._read_answer()
        if self._streams:
            self._read_chunks()

    def _read_answer(self) -> None:
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator or self._answer is None or self._answer.done():  # nobody waits for it any more
            return
        fields = head.lower()
        status = int(head[9:12])
        if b"transfer-encoding: chunked" in fields:
            self._streams, self._buffer = True, body
            self._answer.set_result((status, b""))
            return
        length = int(fields.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        if len(body) >= length:
            self._buffer = b""
            self._answer.set_result((status, body))

    def _read_chunks(self) -> None:
        while True:
            size, separator, rest = self._buffer.partition(b"\r\n")
            if not separator or len(rest) < int(size, 16) + 2:
                break
            self._text += rest[: int(size, 16)]
            self._buffer = rest[int(size, 16) + 2 :]
        *blocks, self._text = self._text.split(b"\n\n")
        for block in blocks:
            self._heard(block)
