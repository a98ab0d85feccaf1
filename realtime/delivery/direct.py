"""The fast lane: an exchange straight on uvicorn's protocol, for the plain cases, without an ASGI cycle.

`Lane` is a subclass of uvicorn's ``HttpToolsProtocol``, given to it by its own ``http=`` option. It looks at each head.
A plain ``GET`` for a hot endpoint (HTTP/1.1, no body, kept alive, nothing waiting before it, every header field once)
is handed on with an exchange of its own; everything else takes uvicorn's way, to the ASGI application. Never wrong,
sometimes slower.

To uvicorn the exchange is the cycle of the connection: it asks it whether the answer is complete, queues what is
pipelined behind it, and tells it that the server shuts down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from realtime.request import Request, parse_query

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from realtime.delivery.exchange import Listener
    from transports.transport import Headers

_NO_BODY = frozenset({204, 304})
_CLOSE = (b"connection", b"close")


class Taker(Protocol):
    """Who takes plain requests."""

    @property
    def paths(self) -> Mapping[str, object]:
        """The hot endpoints that are got, by their paths."""

    def take(self, request: Request, exchange: DirectExchange, scope: Any) -> bool:  # noqa: ANN401 - an ASGI scope
        """Serve a request on an exchange from here on; `False`: it is not plain enough, and nothing was done."""


class Framing:
    """Chunks of the chunked coding (RFC 9112 §7.1), made once for all who are written the same bytes in a row."""

    __slots__ = ("_chunk", "_data")

    def __init__(self) -> None:
        """Begin with none."""
        self._data = b""
        self._chunk = b""

    def chunk(self, data: bytes) -> bytes:
        """Frame a part of a body."""
        if data is not self._data:
            self._data, self._chunk = data, b"%x\r\n%b\r\n" % (len(data), data)
        return self._chunk


class _Nobody:
    """Who waits for something to happen to the connection: to uvicorn, an event."""

    def set(self) -> None:
        """Wake nobody."""


class DirectExchange:
    """One answer on a connection of uvicorn's; in its eyes, the cycle of that connection."""

    message_event = _Nobody()

    __slots__ = (
        "_chunked",
        "_head",
        "_lane",
        "body",
        "counted",
        "disconnected",
        "keep_alive",
        "listener",
        "more_body",
        "response_complete",
        "writable",
    )

    def __init__(self, lane: Lane) -> None:
        """Answer on a connection."""
        self._lane = lane
        self._head = b""
        self._chunked = False
        self.counted: Callable[[int], None] | None = None
        """Is told the answer's status."""
        self.listener: Listener | None = None
        self.writable = True
        self.keep_alive = True
        self.response_complete = False
        self.disconnected = False
        self.body = bytearray()
        self.more_body = False

    # What the engine calls

    @property
    def unsent(self) -> int:
        """Bytes in the connection's write buffer."""
        return 0 if self.disconnected else self._lane.transport.get_write_buffer_size()

    def abort(self) -> None:
        """Drop the connection."""
        if not self.disconnected:
            self._lane.transport.abort()

    def begin(self, status: int, headers: Headers) -> None:
        """Prepare the head; it goes out with the first part of the body."""
        if self.counted is not None:
            self.counted(status)
        parts = [STATUS_LINE[status]]
        chunked = status not in _NO_BODY
        for name, value in (*self._lane.server_state.default_headers, *headers):
            if name == b"content-length":
                chunked = False
            elif (name, value) == _CLOSE:
                self.keep_alive = False
            parts += (name, b": ", value, b"\r\n")
        if chunked:
            parts.append(b"transfer-encoding: chunked\r\n")
        parts.append(b"\r\n")
        self._chunked = chunked
        self._head = b"".join(parts)

    def write(self, data: bytes) -> None:
        """Send a part of the body."""
        if self.disconnected:
            return
        if self._chunked:
            if not data:
                return
            data = self._lane.framing.chunk(data)
        if self._head:
            data, self._head = self._head + data, b""
        self._lane.transport.write(data)

    def end(self, data: bytes = b"") -> None:
        """Send the last part of the body."""
        if self._chunked:
            data = (b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)) if data else b"0\r\n\r\n"
        self.response_complete = True
        if self.disconnected:
            return
        if self._head or data:
            self._lane.transport.write(self._head + data)
            self._head = b""
        self._lane.answered(self)


class Lane(HttpToolsProtocol):
    """A connection whose plain requests are taken past ASGI."""

    taker: Taker
    framing: Framing

    def on_headers_complete(self) -> None:
        """Hand a plain request on; leave any other to uvicorn."""
        if not self._is_taken():
            super().on_headers_complete()

    def _is_taken(self) -> bool:
        parser = self.parser
        cycle: Any = self.cycle
        if parser.get_method() != b"GET" or parser.get_http_version() != "1.1" or not parser.should_keep_alive():
            return False
        if self.flow.write_paused or not (cycle is None or cycle.response_complete):
            return False  # who doesn't read its answers, or pipelines, waits its turn
        raw_path, _, query = self.url.partition(b"?")
        path = raw_path.decode("latin-1")
        if path not in self.taker.paths or b"#" in query or parser.should_upgrade():
            return False
        headers: dict[str, str] = {}
        for raw_name, raw_value in self.headers:
            name = raw_name.decode("latin-1")
            if name in headers or name in _UNUSUAL:
                return False
            headers[name] = raw_value.decode("latin-1")
        request = Request("GET", path, parse_query(query), headers, self.scheme or "http", self._peer())
        exchange = DirectExchange(self)  # a cycle, in all that uvicorn asks of one
        self.cycle = exchange  # type: ignore[assignment]
        if self.taker.take(request, exchange, self.scope):
            return True
        self.cycle = cycle
        return False

    def _peer(self) -> str:
        return self.client[0] if self.client else ""

    def answered(self, exchange: DirectExchange) -> None:
        """Go on after an answer: to what was pipelined, or to the next request."""
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the answer's owner that the client went away."""
        super().connection_lost(exc)
        exchange: object = self.cycle
        if isinstance(exchange, DirectExchange) and exchange.listener is not None:
            exchange.listener.closed()

    def pause_writing(self) -> None:
        """Leave the attachment alone until the connection has drained."""
        super().pause_writing()
        exchange: object = self.cycle
        if isinstance(exchange, DirectExchange):
            exchange.writable = False

    def resume_writing(self) -> None:
        """Let the attachment read on."""
        super().resume_writing()
        exchange: object = self.cycle
        if isinstance(exchange, DirectExchange) and not exchange.writable:
            exchange.writable = True
            if exchange.listener is not None and not exchange.response_complete:
                exchange.listener.drained()


_UNUSUAL = frozenset({"content-length", "transfer-encoding", "expect", "upgrade", "origin", "te", "trailer"})
"""A request with one of these is left to ASGI: it has a body, asks for more than an answer, or is of another site."""


def lane(taker: Taker) -> type[Lane]:
    """Make the protocol class of one service, for uvicorn's ``http=`` option."""
    return type("ServiceLane", (Lane,), {"taker": taker, "framing": Framing()})
