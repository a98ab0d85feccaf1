"""A client on a bare socket, that does what no HTTP library would: it doesn't read, or it breaks off."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Self
from urllib.parse import urlencode, urlsplit

import httptools

from tests.conformance.wire import Envelope, reader
from tests.support.waiting import patience

if TYPE_CHECKING:
    from types import TracebackType

    from tests.conformance.house import Place
    from tests.conformance.ways import Way

_SMALL = 4096


class RawClient:
    """One connection with a small receive buffer, for requests of one way."""

    def __init__(self, place: Place, way: Way, channel: str) -> None:
        self.way = way
        self.envelopes: list[Envelope] = []
        self.answers = 0
        self._place = place
        self._token = place.token("42", channel=channel)
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL)
        self._socket.setblocking(False)
        self._parser = httptools.HttpResponseParser(self)
        self._wire = reader(way.media_type, "")

    @property
    def events(self) -> list[Envelope]:
        return [envelope for envelope in self.envelopes if "id" in envelope]

    async def __aenter__(self) -> Self:
        url = urlsplit(self._place.url)
        await asyncio.get_running_loop().sock_connect(self._socket, (url.hostname, url.port))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    async def ask(self, times: int = 1, **query: str) -> None:
        """Send a request, or several without waiting for the first one's answer, and read nothing."""
        fields = {"Host": "test", "Accept": self.way.media_type}
        if self.way.moved:
            supported = {"transports": [self.way.transport.moves_to]}
            headers = {"Authorization": f"Bearer {self._token}"}
            answer = await self._place.http.post("/api/v1/events/negotiate", json=supported, headers=headers)
            query["ticket"] = answer.json()["ticket"]
        else:
            fields["Authorization"] = f"Bearer {self._token}"
        lines = [f"GET {self.way.url}?{urlencode(query)} HTTP/1.1", *(f"{name}: {fields[name]}" for name in fields)]
        request = "\r\n".join([*lines, "", ""]).encode()
        await asyncio.get_running_loop().sock_sendall(self._socket, request * times)

    async def read(self, size: int = 65536) -> int:
        """Read once what is there; return how much it was, 0 at the end."""
        async with patience():
            data = await asyncio.get_running_loop().sock_recv(self._socket, size)
        if data:
            self._parser.feed_data(data)
        return len(data)

    async def read_until(self, count: int) -> None:
        """Read until so many events have come."""
        while len(self.events) < count:
            assert await self.read(), "the answer ended too early"

    def reset(self) -> None:
        """Break the connection off: the service gets a reset, whatever it was doing."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    # httptools calls these.

    def on_body(self, body: bytes) -> None:
        for heard in self._wire.feed(body):
            self.envelopes += heard.envelopes

    def on_message_complete(self) -> None:
        for heard in self._wire.end():
            self.envelopes += heard.envelopes
        self.answers += 1
        self._wire = reader(self.way.media_type, "")
