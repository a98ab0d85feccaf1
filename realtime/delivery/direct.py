"""The fast lane: straight on uvicorn's protocol, for the plain cases, without an ASGI cycle.

`Lane` is a `Connection`, given to uvicorn by its own ``http=`` option. It looks at what comes before the parser does. A
plain ``GET`` for a hot endpoint, or ``POST`` that publishes (HTTP/1.1, kept alive, alone and whole in one small read,
every header field once), is answered at once where it is known, or handed on with an exchange of its own; everything
else takes `Connection`'s way, to the ASGI application. Never wrong, sometimes slower.

To uvicorn the exchange is the cycle of the connection: it asks it whether the answer is complete, queues what is
pipelined behind it, and tells it that the server shuts down.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from realtime.delivery.answers import WAIT
from realtime.delivery.connection import NO_FILE, Connection, Stage
from realtime.delivery.heading import Framing, Heading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from realtime.delivery.exchange import Listener
    from realtime.delivery.head import Head, Heads
    from realtime.delivery.heading import HeadLines
    from realtime.delivery.watch import Watch
    from realtime.request import Request
    from transports.transport import Answer, Headers

_BLANK: Final = b"\r\n"
"""The line that ends a head."""


class Client(Protocol):
    """Who is known by all but the cursor of a request."""

    def answer(self, cursor: bytes) -> Answer | None:
        """Answer at once; `WAIT`: it has to wait; `None`: that can't be done here, and nothing was."""

    def wait(self, cursor: bytes, exchange: DirectExchange) -> None:
        """Wait on an exchange, as `answer` wanted it."""


class Asked(NamedTuple):
    """What a connection was asked last, around the cursor, and by whom: it is usually asked the same again."""

    before: bytes
    between: bytes
    """What lies between the cursor and the tag that repeats it, if one does."""
    behind: bytes
    client: Client | None

    def cursor(self, data: bytes) -> bytes | None:
        """Return the cursor of a request that is the same in all else; `None`: it is not."""
        before, between, behind, _ = self
        if not (data.startswith(before) and data.endswith(behind)):
            return None
        cursor = data[len(before) : len(data) - len(behind)]
        if not between:
            return cursor
        once = cursor[: (len(cursor) - len(between)) // 2]
        return once if cursor == b"%b%b%b" % (once, between, once) else None


_NOTHING_ASKED: Final = Asked(b"", b"", b"", None)


class Taker(Protocol):
    """Who takes plain requests."""

    @property
    def paths(self) -> Mapping[str, object]:
        """The hot endpoints that are got, by their paths."""

    @property
    def heads(self) -> Heads:
        """What reads the heads of plain requests."""

    def client(self, key: bytes) -> Client | None:
        """Return who sends requests of one kind, if that is known."""

    @property
    def publishing(self) -> bytes:
        """How a request that publishes begins."""

    def fail(self, exchange: DirectExchange) -> None:
        """Answer a request that something of ours went wrong with, from within an exception's handler."""

    def publish(self, request: Request, body: bytes, exchange: DirectExchange) -> bool:
        """Serve a request that publishes; `False`: it is not plain enough, and nothing was done."""

    def take(self, request: Request, exchange: DirectExchange) -> bool:
        """Serve a request on an exchange from here on; `False`: it is not plain enough, and nothing was done."""


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
        "own",
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
        self.own: tuple[bytes, bytes] | None = None
        """A header field that no other answer has: heads are made once for all that have the same."""
        self.listener: Listener | None = None
        self.writable = True
        self.keep_alive = True
        self.response_complete = False
        self.disconnected = False
        self.body = bytearray()
        self.more_body = False

    def half_closed(self) -> None:
        """Know that the client sends no more; it may still read."""
        self.keep_alive = False
        if self.listener is not None:
            self.listener.left()

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
        self._head, self._chunked, keep_alive = self._lane.lines(status, headers)
        if self.own is not None:
            self._head = b"%b%b: %b\r\n\r\n" % (self._head[: -len(_BLANK)], *self.own)
        self.keep_alive &= keep_alive

    def answer(self, answer: Answer) -> None:
        """Send a whole answer; its bytes are made once for all who are given the same."""
        self.response_complete = True
        if not self.disconnected:
            self._lane.send(self._lane.whole(answer))
            self._lane.answered(self)

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
        self._lane.send(data)

    def end(self, data: bytes = b"") -> None:
        """Send the last part of the body."""
        if self._chunked:
            data = (b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)) if data else b"0\r\n\r\n"
        self.response_complete = True
        if self.disconnected:
            return
        if self._head or data:
            self._lane.send(self._head + data)
            self._head = b""
        self._lane.answered(self)


class Lane(Connection):
    """A connection whose plain requests are taken past the parser and ASGI."""

    taker: Taker
    framing: Framing
    heads: Heads

    _heard_s = 0.0
    """When a request was last answered here, by the loop's clock."""
    _asked: Asked = _NOTHING_ASKED
    _exchange: DirectExchange | None = None
    """The last answer that was handed on; what is pipelined behind it is the cycle already."""

    def send(self, data: bytes) -> None:
        """Send at once what the kernel takes, which is usually everything; the transport keeps the rest, in order.

        To queue it with the transport, which then sends it, costs as much again as the kernel takes.
        """
        transport = self.transport
        if self._file == NO_FILE or transport.get_write_buffer_size() or transport.is_closing():
            transport.write(data)
            return
        try:
            sent = os.write(self._file, data)
        except BlockingIOError:
            sent = 0
        except OSError:  # the client has gone: to be heard of by `connection_lost`
            transport.abort()
            return
        if sent < len(data):
            transport.write(data[sent:])

    def data_received(self, data: bytes) -> None:
        """Take a plain request; leave anything else to uvicorn."""
        cycle: Any = self.cycle
        within = self._stage is not Stage.BETWEEN or self._refusal is not None
        if within or not (cycle is None or cycle.response_complete) or self.flow.write_paused:
            super().data_received(data)  # who doesn't read its answers, or pipelines, waits its turn
            return
        if self.watch.pressure.factor > 1 and self._has_left():
            return
        if self._due_ms:
            self._takes_first(data)
        elif not self._takes(data):
            super().data_received(data)

    def _takes_first(self, data: bytes) -> None:
        """Take the first request, which the connection owes no longer; if it is not whole, it owes it as before."""
        due_ms = self._due_ms
        self._settle()
        if not self._takes(data):
            self._expect(due_ms)
            super().data_received(data)

    def _takes(self, data: bytes) -> bool:
        """Take a request, if it is a plain one."""
        asked = self._asked
        cursor = None if asked.client is None else asked.cursor(data)
        if cursor is not None and asked.client is not None:
            if self._serves(asked.client, cursor):
                return True
        elif data.startswith(self.taker.publishing):
            return self._publishes(data)
        head = self.heads.split(data)
        return head is not None and (self._knows(head) or self._hands_on(head))

    def _knows(self, head: Head) -> bool:
        """Serve who is known, and expect the same again."""
        client = self.taker.client(head.key) if head.cursor else None
        if client is None:
            return False
        self._asked = Asked(head.before, head.between, head.behind, client)
        return self._serves(client, head.cursor)

    def _serves(self, client: Client, cursor: bytes) -> bool:
        answer = client.answer(cursor)
        if answer is None:
            return False
        if answer is WAIT:
            self._waits(client, cursor)
        else:
            self.send(self.whole(answer))
            self._idle()
        return True

    def _waits(self, client: Client, cursor: bytes) -> None:
        """Have a client wait; where it waited last, if nothing else was asked meanwhile."""
        cycle: Any = self.cycle
        exchange = self._exchange
        if exchange is None or exchange is not cycle:
            exchange = self._exchanged()
        exchange.response_complete = False
        try:
            client.wait(cursor, exchange)
        except Exception:  # noqa: BLE001 - as for any other request
            self.taker.fail(exchange)

    def whole(self, answer: Answer) -> bytes:
        """Write a whole answer."""
        return self.heading.whole(self.server_state.default_headers, answer)

    def lines(self, status: int, headers: Headers) -> HeadLines:
        """Write the head of an answer."""
        return self.heading.lines(self.server_state.default_headers, status, headers)

    def _hands_on(self, head: Head) -> bool:
        request = self.heads.read(head, self.scheme or "http", self._peer())
        if request is None or request.path not in self.taker.paths:
            return False
        cycle, exchange = self.cycle, self._exchanged()
        if self.taker.take(request, exchange):
            return True
        self.cycle, self._exchange = cycle, None
        return False

    def _publishes(self, data: bytes) -> bool:
        posted = self.heads.posted(data, self.scheme or "http", self._peer())
        if posted is None:
            return False
        cycle, exchange = self.cycle, self._exchanged()
        if self.taker.publish(*posted, exchange):
            return True
        self.cycle, self._exchange = cycle, None
        return False

    def _peer(self) -> str:
        return self.client[0] if self.client else ""

    def _exchanged(self) -> DirectExchange:
        """Make an exchange: a cycle, in all that uvicorn asks of one. Who has a place on the last one loses it."""
        if self._exchange is not None and self._exchange.listener is not None:
            self._exchange.listener.closed()
        self.cycle = self._exchange = exchange = DirectExchange(self)  # type: ignore[assignment]
        return exchange

    def answered(self, exchange: DirectExchange) -> None:
        """Go on after an answer: to what was pipelined, or to the next request."""
        if not exchange.keep_alive:
            self.transport.close()
        if self.pipeline or self._refusal is not None or self.transport.is_closing():
            self.on_response_complete()
        else:
            self._idle()

    def _idle(self) -> None:
        """Wait for the next request; one timer for many of them, for it looks when it is due whether one came."""
        self.server_state.total_requests += 1
        self._heard_s = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection on which nothing was asked for long; one that is being answered waits anew after that."""
        self.timeout_keep_alive_task = None
        if self._exchange is not None and not self._exchange.response_complete:
            return
        left_s = self._heard_s + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left_s, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the answer's owner that the client went away."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._asked = _NOTHING_ASKED  # what is in a cycle with its transport waits for the collector
        exchange = self._exchange
        if exchange is not None:
            exchange.disconnected = True
            if exchange.listener is not None:
                exchange.listener.closed()

    def pause_writing(self) -> None:
        """Leave the attachment alone until the connection has drained."""
        super().pause_writing()
        if self._exchange is not None:
            self._exchange.writable = False

    def resume_writing(self) -> None:
        """Let the attachment read on."""
        super().resume_writing()
        exchange = self._exchange
        if exchange is not None and not exchange.writable:
            exchange.writable = True
            if exchange.listener is not None and not exchange.response_complete:
                exchange.listener.drained()


def lane(taker: Taker, watch: Watch) -> type[Lane]:
    """Make the protocol class of one service, for uvicorn's ``http=`` option."""
    shared = {"taker": taker, "watch": watch, "framing": Framing(), "heads": taker.heads, "heading": Heading()}
    return type("ServiceLane", (Lane,), shared)
