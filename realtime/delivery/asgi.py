"""An exchange over any ASGI server (ASGI 3.0, HTTP).

A write must not cost a task: ``send`` is called and its coroutine is stepped once, on the spot. Servers that have room
finish it in that step. One that waits for its peer does not; then the rest of it runs in a task, the exchange is not
writable meanwhile, and what is sent then (an end, at most) follows in order.
"""

from __future__ import annotations

import asyncio
from functools import partial
from types import coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator, MutableMapping

    from realtime.delivery.exchange import Listener
    from transports.transport import Answer, Headers

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Coroutine[Any, Any, None]]

_LINGER_S = 2.0


class ASGIExchange:
    """One answer of an ASGI application."""

    __slots__ = ("_aborted", "_ended", "_gone", "_rest", "_send", "_waiting", "_watch", "begun", "counted", "listener")

    def __init__(self, send: Send, counted: Callable[[int], None] | None = None) -> None:
        """Write through an ASGI ``send``; `counted` is told the answer's status."""
        self.counted = counted
        self.listener: Listener | None = None
        self._send = send
        self._rest: asyncio.Task[None] | None = None
        self._waiting: list[Message] = []
        self._gone = False
        self._aborted = False
        self._ended = False
        self._watch: asyncio.Task[None] | None = None
        self.begun = False

    @property
    def writable(self) -> bool:
        """Whether the server took everything so far."""
        return self._rest is None

    @property
    def unsent(self) -> int:
        """Nothing that ASGI tells of."""
        return 0

    def abort(self) -> None:
        """Wait for the client no longer: the server closes what is not complete."""
        self._gone = self._aborted = True
        for task in (self._rest, self._watch):
            if task is not None:
                task.cancel()

    def begin(self, status: int, headers: Headers) -> None:
        """Send the status and the header fields."""
        if self.counted is not None:
            self.counted(status)
        self._begin(status, headers)

    def _begin(self, status: int, headers: Headers) -> None:
        self.begun = True
        self._put({"type": "http.response.start", "status": status, "headers": list(headers)})

    def write(self, data: bytes) -> None:
        """Send a part of the body."""
        self._put({"type": "http.response.body", "body": data, "more_body": True})

    def end(self, data: bytes = b"") -> None:
        """Send the last part of the body."""
        self._ended = True
        self._put({"type": "http.response.body", "body": data, "more_body": False})

    def answer(self, answer: Answer) -> None:
        """Send a whole answer."""
        self._begin(answer.status, answer.headers)
        self.end(answer.body)

    def left(self) -> None:
        """Hear that the client sends no more, where the server tells."""
        if self.listener is not None:
            self.listener.left()

    async def wait(self, receive: Receive) -> None:
        """Wait until the answer is complete or the client has gone; the listener is told, even if we are cancelled."""
        self._watch = asyncio.current_task()
        try:
            complete = self._ended and self._rest is None
            while not complete and (await receive())["type"] != "http.disconnect":
                pass
        except asyncio.CancelledError:
            if not self._aborted or self._watch is None or self._watch.uncancel():
                raise
        finally:
            self._gone = True
            if self.listener is not None:
                self.listener.closed()
        if self._rest is not None:
            await asyncio.gather(self._rest, return_exceptions=True)

    def _put(self, message: Message) -> None:
        if self._gone:
            return
        if self._rest is not None:
            self._waiting.append(message)
            return
        sending = self._send(message)
        try:
            yielded = sending.send(None)
        except StopIteration:
            return
        except OSError:
            self._gone = True
            return
        self._rest = asyncio.get_running_loop().create_task(self._finish(sending, yielded))

    async def _finish(self, sending: Coroutine[Any, Any, None], yielded: object) -> None:
        try:
            await _resume(sending, yielded)
            while self._waiting:
                await self._send(self._waiting.pop(0))
        except OSError:
            self._gone = True
        self._rest = None
        if self.listener is not None and not self._gone:
            self.listener.drained()


def lingering(receive: Receive, send: Send) -> tuple[Receive, Send]:
    """Hold the end of an answer back until its request was read to its end, for `_LINGER_S` at most.

    A server that closes a connection with bytes unread resets it, and the client may never see what it was refused for
    (RFC 9112 §9.6). Whoever answers goes on reading meanwhile: `ASGIExchange.wait` does, and so does the framework.
    """
    read: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def heard() -> Message:
        message = await receive()
        if not message.get("more_body", False) and not read.done():
            read.set_result(None)
        return message

    async def said(message: Message) -> None:
        goes_on = message["type"] == "http.response.start" or message.get("more_body", False)
        if not goes_on and not read.done():
            await asyncio.wait((read,), timeout=_LINGER_S)
        await send(message)

    return heard, said


@coroutine
def _resume(sending: Coroutine[Any, Any, None], yielded: object) -> Generator[Any, Any, None]:
    """Await the rest of a coroutine that was stepped once and yielded what it waits for."""
    while True:
        try:
            yield yielded
        except BaseException as error:  # noqa: BLE001 - passed on to whom it is for
            step = partial(sending.throw, error)
        else:
            step = partial(sending.send, None)
        try:
            yielded = step()
        except StopIteration:
            return
