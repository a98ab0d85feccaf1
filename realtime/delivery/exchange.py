"""One HTTP answer being written: the seam between the engine and a server.

An exchange never blocks and keeps no more than what was handed to it: the engine asks `writable` first and leaves an
attachment alone until `Listener.drained`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from transports.transport import Answer, Headers


class Listener(Protocol):
    """Who is told what becomes of an exchange."""

    def drained(self) -> None:
        """Hear that it is writable again."""

    def left(self) -> None:
        """Hear that the client sends no more: it is answered with what there is, if it still reads."""

    def closed(self) -> None:
        """Hear that the client went away."""


class Exchange(Protocol):
    """An answer: `begin` once, `write` any number of times, `end` once."""

    listener: Listener | None
    counted: Callable[[int], None] | None
    """Is told the answer's status, by `begin`."""

    @property
    def writable(self) -> bool:
        """Whether the connection takes more: its write buffer is below the high-water mark."""

    @property
    def unsent(self) -> int:
        """Bytes that were handed over and the connection has not taken; 0 where the server does not tell."""

    def begin(self, status: int, headers: Headers) -> None:
        """Send the status line and the header fields."""

    def write(self, data: bytes) -> None:
        """Send a part of the body."""

    def end(self, data: bytes = b"") -> None:
        """Send the last part of the body, which may be empty."""

    def answer(self, answer: Answer) -> None:
        """Send a whole answer, which says how long it is, and has been counted by whoever made it for many."""

    def abort(self) -> None:
        """Drop the connection with what it has not taken, as far as the server lets us."""
