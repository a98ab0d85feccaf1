"""The load: clients on bare protocols, cheap enough not to be what is measured, strict enough to be believed."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_FRAME_ID = re.compile(rb"\nid: (\d+-\d+)\nevent: bench\.ticked\n")
_PATIENCE_S = 60.0


class StreamClient(asyncio.Protocol):
    """One SSE client: notes the id of every event, in order."""

    def __init__(self, request: bytes, established: Callable[[], None]) -> None:
        """Send a request; tell when the first event came."""
        self.ids: list[bytes] = []
        self.plain = 0
        self._request = request
        self._established = established
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        self.transport = transport
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Take what came; a frame may be cut anywhere."""
        text = self._tail + data
        if not self.ids and b"connection.established" in text:
            self._established()
        found = _FRAME_ID.findall(text)
        self.ids.extend(found)
        last = text.rfind(b"event: bench.ticked\n")
        self._tail = text[last + 10 :] if last >= 0 else text[-512:]


class RequestClient(asyncio.Protocol):
    """One keep-alive connection that sends a request, reads the answer by its length, and sends the next."""

    def __init__(self, request: Callable[[bytes], bytes | None]) -> None:
        """Ask `request` for what to send next; it is given the body of the last answer and may end by ``None``."""
        self.answers = 0
        self.bad: list[bytes] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._next = request
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self.transport = transport
        self._send(b"")

    def data_received(self, data: bytes) -> None:
        """Count a whole answer and go on."""
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        if len(body) < length:
            return
        self.answers += 1
        if not head.startswith(b"HTTP/1.1 20"):
            self.bad.append(head)
        self._buffer = b""
        self._send(body)

    def connection_lost(self, error: Exception | None) -> None:
        """End, with an error when the server was first."""
        if not self.done.done():
            self.done.set_exception(error or ConnectionResetError("the server closed the connection"))

    def _send(self, body: bytes) -> None:
        request = self._next(body)
        if request is not None:
            self.transport.write(request)  # type: ignore[attr-defined]
        elif not self.done.done():
            self.done.set_result(None)
            self.transport.close()


def get(path: str, token: str = "", accept: str = "*/*") -> bytes:
    """Write a request."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\nAccept: {accept}\r\n{authorization}\r\n".encode()


def post(path: str, body: bytes, token: str = "") -> bytes:
    """Write a request with a body."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\n{authorization}Content-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


async def open_streams(port: int, request: bytes, count: int) -> list[StreamClient]:
    """Open streams, and wait until each has had its first event."""
    ready = asyncio.Event()
    left = count

    def established() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            ready.set()

    loop = asyncio.get_running_loop()
    clients: list[StreamClient] = []
    for _ in range(count):
        _, client = await loop.create_connection(lambda: StreamClient(request, established), "127.0.0.1", port)
        clients.append(client)
    async with asyncio.timeout(_PATIENCE_S):
        await ready.wait()
    return clients


async def run_requests(port: int, requests: Sequence[Callable[[bytes], bytes | None]]) -> list[RequestClient]:
    """Run one client for each source of requests until all have ended."""
    loop = asyncio.get_running_loop()
    clients: list[RequestClient] = []
    for request in requests:
        _, client = await loop.create_connection(partial(RequestClient, request), "127.0.0.1", port)
        clients.append(client)
    async with asyncio.timeout(_PATIENCE_S):
        await asyncio.gather(*(client.done for client in clients))
    bad = [head for client in clients for head in client.bad]
    if bad:
        raise RuntimeError(f"{len(bad)} answers were refusals, the first: {bad[0]!r}")
    return clients
