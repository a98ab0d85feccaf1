"""A connection of uvicorn's, with the rules of HTTP/1 that its protocol class leaves open, and with bounds.

* An offer to upgrade is ignored: the request is served as if it were not there (RFC 9110 §7.8, RFC 9112 §6.3). The
  parser treats such a head as the end of HTTP, so the head is read again without the offer.
* Trailer fields are counted and dropped (RFC 9110 §6.5.1).
* HTTP/1.0 gets plain bytes until the connection closes (RFC 9112 §6.1).
* A client that has closed its side of the connection is answered before ours is closed (RFC 9112 §9.6).
* A head has a bound in bytes and in fields, and a deadline; a body has a deadline and a least rate.

A request that can't be read is answered with a problem, after the requests before it.
"""

from __future__ import annotations

import asyncio
import re
import urllib.parse
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from realtime.delivery.heading import Heading
from realtime.errors import Draining, HeadTooLarge, MalformedRequest, RequestTimeout, TargetTooLong
from transports.transport import problem, with_length

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.delivery.watch import Watch
    from realtime.errors import GaplessError

NO_FILE: Final = -1
_LINGER_MS: Final = 1_000
"""How long a client may go on sending after it was refused: closed at once, it might not see why (RFC 9112 §9.6)."""
_AGAIN_MS: Final = 1_000
"""How often the rate of a body that comes slowly is looked at."""
_SECOND_MS: Final = 1_000
_FIELD_OVERHEAD: Final = len(b": \r\n")
_CLOSE: Final = (b"connection", b"close")
_AUTHORITY: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")


class Stage(Enum):
    """How far the parser is within a request."""

    BETWEEN = auto()
    HEAD = auto()
    BODY = auto()


class Cycle(RequestResponseCycle):
    """One request on the way through ASGI."""

    is_half_closed = False
    _leaving: Callable[[], None] | None = None

    async def run_asgi(self, app: Any) -> None:  # noqa: ANN401 - uvicorn's union of applications
        """Serve the request, unless its client left before its turn came."""
        if not self.disconnected:
            await super().run_asgi(app)

    async def send(self, message: Any) -> None:  # noqa: ANN401 - uvicorn's union of messages
        """Send as uvicorn does; to HTTP/1.0, which knows no chunks, plain bytes until the connection closes."""
        if self.scope["http_version"] != "1.1":
            if message["type"] == "http.response.start":
                self.chunked_encoding = False
            else:
                self.expected_content_length = len(message.get("body", b""))
        await super().send(message)

    def on_left(self, leaving: Callable[[], None]) -> None:
        """Have `leaving` called when the client sends no more, or at once if that is so already."""
        self._leaving = leaving
        if self.is_half_closed:
            leaving()

    def half_closed(self) -> None:
        """Know that the client sends no more; it may still read."""
        self.is_half_closed, self.keep_alive = True, False
        if self._leaving is not None:
            self._leaving()

    def cut(self) -> bool:
        """Know that the rest of the body is not read; tell whether the client is still to be told so.

        If its answer has begun, that was made without the body, and is finished. Else the application hears that the
        client has gone.
        """
        self.keep_alive, self.more_body = False, False
        self.disconnected = not self.response_started
        self.message_event.set()
        return self.disconnected


class Connection(HttpToolsProtocol):
    """One connection, its requests in order."""

    watch: Watch
    heading: Heading

    _file = NO_FILE
    """The socket's."""
    _stage = Stage.BETWEEN
    _began_ms = 0
    """When the head or body that is incomplete began, by the wheel's clock; 0: in this read."""
    _due_ms = 0
    """Until when the connection may leave us waiting; 0: nothing is owed to us."""
    _head_bytes = 0
    _fields = 0
    _body_bytes = 0
    _unparsed = 0
    """Bytes since the parser last told of something: what it keeps to itself has a bound too."""
    _fault: GaplessError | None = None
    """Why the parser was stopped."""
    _refusal: GaplessError | None = None
    """Why nothing more is read here."""

    # What uvicorn and the event loop call

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Expect a first request."""
        super().connection_made(transport)
        if self.scheme == "http":
            self._file = transport.get_extra_info("socket").fileno()
        self._expect(self.watch.now_ms() + self.watch.bounds.head_ms)

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._settle()
        self.watch.wheel.disarm(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read requests, as far as they have come."""
        if self._refusal is not None:
            return
        if self.watch.pressure.factor > 1 and self._has_left():
            return
        self._unparsed += len(data)
        self._parse(data)
        if self._unparsed > self.watch.bounds.head_bytes and self._refusal is None:
            self.refuse(self._too_large())
        if self._refusal is None:
            self._wait_on()

    def eof_received(self) -> bool:  # type: ignore[override] # uvicorn's always closes
        """Answer what was asked whole, then close; a client that closed both sides looks the same from here."""
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete or self._stage is not Stage.BETWEEN or self._refusal is not None:
            return False
        cycle.half_closed()
        return not self.transport.is_closing()

    def shutdown(self) -> None:
        """Finish at the end of the service; a request whose body has not come whole is sent elsewhere."""
        cycle: Any = self.cycle
        if self._stage is Stage.BODY and not cycle.response_started:
            self.refuse(Draining("this gateway is going away: try again"))
        else:
            super().shutdown()

    def on_response_complete(self) -> None:
        """Go on to the next request; after the last that could be read, say why the next could not."""
        if self._refusal is not None and not self.pipeline:
            if not self.transport.is_closing():
                self._say(self._refusal)
            return
        super().on_response_complete()
        self._began_ms = 0  # while reading was paused, nothing could come
        self._wait_on()

    # Reading

    def _has_left(self) -> bool:
        """Drop the connection of a client that has left: what it asked for would be made for nobody.

        One that has only closed its own side looks the same, and is dropped too while others wait.
        """
        if self._file == NO_FILE or not self.watch.has_left(self._file):
            return False
        self.transport.abort()
        return True

    def _parse(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                data = self._without_offer() + data[offer.args[0] :]
            except httptools.HttpParserError:
                self.refuse(self._fault or MalformedRequest("the request is not HTTP/1.1 that can be read"))
                return
            else:
                return

    def _without_offer(self) -> bytes:
        """Write the head that was just read once more, without its offer to upgrade, for a parser that knows none."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        fields = b"".join(b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade")
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, fields)

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._stage, self._began_ms = Stage.HEAD, 0
        self._head_bytes = self._fields = self._unparsed = 0

    def on_url(self, url: bytes) -> None:
        """Take a part of the request's target.

        Raises:
            TargetTooLong: it alone is larger than a head may be.
        """
        super().on_url(url)
        self._unparsed = 0
        if len(self.url) > self.watch.bounds.head_bytes:
            raise self._stopped(TargetTooLong(f"the target has over {self.watch.bounds.head_bytes} bytes"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header field; a trailer field is counted alone.

        Raises:
            HeadTooLarge: there are too many, or they are too large.
        """
        self._unparsed = 0
        self._fields += 1
        self._head_bytes += len(name) + len(value) + _FIELD_OVERHEAD
        if self._fields > self.watch.bounds.head_fields or self._size > self.watch.bounds.head_bytes:
            raise self._stopped(self._too_large())
        if self._stage is Stage.HEAD:
            super().on_header(name, value)

    @property
    def _size(self) -> int:
        return len(self.url) + self._head_bytes

    def on_headers_complete(self) -> None:
        """Begin to serve the request.

        Raises:
            MalformedRequest: it asks for a tunnel.
        """
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise self._stopped(MalformedRequest("tunnels are not served"))
            return  # the head comes again, without the offer
        self._aim()
        self._stage, self._began_ms = Stage.BODY, 0
        self._body_bytes = self._unparsed = 0
        self._begin_cycle()

    def _aim(self) -> None:
        """Read the request line into the scope (RFC 9112 §3.2)."""
        scope: Any = self.scope
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = self.parser.get_http_version()
        target = httptools.parse_url(self.url)
        raw_path = target.path or b"/"
        path = raw_path.decode("ascii")
        scope["path"] = self.root_path + (urllib.parse.unquote(path) if "%" in path else path)
        scope["raw_path"] = self.root_path.encode("ascii") + raw_path
        scope["query_string"] = target.query or b""
        absolute = _AUTHORITY.match(self.url)
        if absolute is not None:  # counts in the place of Host (RFC 9112 §3.2.2)
            self.headers[:] = [(name, absolute[1] if name == b"host" else value) for name, value in self.headers]

    def _begin_cycle(self) -> None:
        earlier: Any = self.cycle
        scope: Any = self.scope
        self.cycle = cycle = Cycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=scope["http_version"] == "1.1" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        scope["extensions"] = {LEFT: {"hear": cycle.on_left}}
        if earlier is None or earlier.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def on_chunk_header(self) -> None:
        """Know that the body goes on."""
        self._unparsed = 0

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._unparsed = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request, unless it is only its head that was read, and is read again."""
        if self.parser.should_upgrade():
            return
        self._stage = Stage.BETWEEN
        self._unparsed = 0
        super().on_message_complete()

    # Deadlines

    def _wait_on(self) -> None:
        """Give what is incomplete after this read its time."""
        if self._stage is Stage.BETWEEN:
            if self.cycle is not None:
                self._settle()
        elif not self._began_ms and not self.transport.is_closing():
            self._began_ms, bounds = self.watch.now_ms(), self.watch.bounds
            self._expect(self._began_ms + (bounds.head_ms if self._stage is Stage.HEAD else bounds.body_ms))

    def _expect(self, due_ms: int) -> None:
        self.watch.size += not self._due_ms
        self._due_ms = due_ms
        self.watch.wheel.arm(self, due_ms)

    def _settle(self) -> None:
        """Wait for nothing any longer; the wheel is not told, which costs less than to find out when it comes."""
        self.watch.size -= bool(self._due_ms)
        self._due_ms = 0

    def due(self, now_ms: int) -> None:
        """Look whether what was to come has come."""
        if not self._due_ms or self.transport.is_closing():
            return
        if self._due_ms > now_ms:
            self.watch.wheel.arm(self, self._due_ms)
        elif self.flow.read_paused:  # it is we who don't read: an earlier request is being served
            self._began_ms = 0
            self._wait_on()
        elif self._refusal is not None or self._stage is Stage.BETWEEN:
            self.transport.close()
        elif self._stage is Stage.BODY and self._is_fast_enough(now_ms):
            self._expect(now_ms + _AGAIN_MS)
        else:
            self.refuse(RequestTimeout("the request did not come whole in time"))

    def _is_fast_enough(self, now_ms: int) -> bool:
        """Tell whether a body that takes long comes at the least rate, and is still wanted."""
        least = self.watch.bounds.body_rate * (now_ms - self._began_ms) / _SECOND_MS
        return self._body_bytes >= least and not self.cycle.response_complete

    # Refusing

    def refuse(self, error: GaplessError) -> None:
        """Read nothing more here; say why, after the answers that are under way, and close."""
        self._settle()
        self._refusal = error
        cycle: Any = self.cycle
        if self._stage is not Stage.BODY:
            if cycle is None or cycle.response_complete:
                self._say(error)
        elif self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
        elif cycle.response_complete:
            self.transport.close()
        elif cycle.cut():
            self._say(error)

    def _say(self, error: GaplessError) -> None:
        answer = with_length(problem(error))
        answer = answer._replace(headers=(*(one for one in answer.headers if one[0] != _CLOSE[0]), _CLOSE))
        self.transport.write(self.heading.lines(self.server_state.default_headers, *answer[:2]).data + answer.body)
        self.transport.write_eof()
        self.flow.resume_reading()
        self._expect(self.watch.now_ms() + _LINGER_MS)

    def _too_large(self) -> HeadTooLarge:
        bounds = self.watch.bounds
        return HeadTooLarge(f"a head may have {bounds.head_bytes} bytes, and {bounds.head_fields} fields")

    def _stopped(self, error: GaplessError) -> GaplessError:
        """Remember why the parser is stopped: it keeps the exception to itself."""
        self._fault = error
        return error


LEFT: Final = "gapless.left"
"""The ASGI extension by which an application hears that its client sends no more: ``hear`` takes a function."""


def connection(watch: Watch) -> type[Connection]:
    """Make the protocol class of one service, for uvicorn's ``http=`` option."""
    return type("ServiceConnection", (Connection,), {"watch": watch, "heading": Heading()})
