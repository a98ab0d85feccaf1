"""Answers that do not stay open, made once for all who are told the same.

A crowd that waits for one event, or polls after it, gets one answer: encoded, compressed and given its length once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from realtime.compression import packed
from realtime.delivery.controls import control
from transports.transport import Answer, Delivery, Terms, problem, with_length

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realtime.channel.event import Cursor, Entry
    from realtime.errors import GaplessError
    from transports.transport import Transport

_MOST: Final = 256
_LARGEST: Final = 64 * 1024
OK: Final = 200
NOT_MODIFIED: Final = 304
_TOO_MANY: Final = 429
_SERVERS: Final = 500
"""From here on, the server is at fault (RFC 9110 §15.6)."""

WAIT: Final = Answer(0, ())
"""No answer: a client's request is to wait for one."""


class Answers:
    """The latest ones."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        """Begin with none."""
        self._made: dict[tuple[object, ...], Answer] = {}

    def plain(  # noqa: PLR0913 - all that tells two answers apart
        self,
        transport: Transport,
        entries: Sequence[Entry],
        position: Cursor,
        *,
        more: bool = False,
        next_poll_ms: int = 0,
        gzip: bool = False,
        given: Cursor | None = None,
    ) -> Answer:
        """Return an answer that holds events and a position, and nothing that is one client's.

        `given` is the cursor of clients that have the answer to it.
        """
        alike = (transport.name, position, given, more, next_poll_ms, gzip, *[entry.id for entry in entries])
        answer = self._made.get(alike)
        if answer is None:
            unchanged = given is not None
            terms = Terms(retry_ms=0, next_poll_ms=next_poll_ms, stays_open=False, given=given, unchanged=unchanged)
            frames = [encode(transport, entry) for entry in entries]
            answer = whole(transport, terms, Delivery(frames, (), position, more), gzip=gzip)
            if len(self._made) >= _MOST:
                self._made.clear()
            if len(answer.body) <= _LARGEST:
                self._made[alike] = answer
        return answer


def whole(transport: Transport, terms: Terms, delivery: Delivery, *, gzip: bool) -> Answer:
    """Make a whole answer, compressed where it pays and tells nobody anything, with its length."""
    answer = transport.answer(terms, delivery)
    if delivery.ticket is None:  # a secret beside what others may have chosen is not compressed
        answer = packed(answer, takes_gzip=gzip)
    return answer if answer.status == NOT_MODIFIED else with_length(answer)


def refusal(transport: Transport, error: GaplessError, terms: Terms | None) -> Answer:
    """Say no: by a problem, or, with `terms`, to a client that can't read one (PROTOCOL §4, SSE).

    Such a client takes every status but 200 for final. It is sent away for a while where it may come back.
    """
    if terms is None or not (error.status == _TOO_MANY or error.status >= _SERVERS):
        return problem(error)
    said = control("connection.deferred", terms.given, code=error.code, retry_ms=terms.retry_ms)
    status, headers, body = transport.defer(terms, said)
    close = ((b"connection", b"close"),) if "Connection" in error.headers else ()
    return Answer(status, (*headers, *close), body)


def encode(transport: Transport, entry: Entry) -> bytes:
    """Encode an entry for a transport, once for all who receive it."""
    frame = entry.frames.get(transport.name)
    if frame is None:
        frame = entry.frames[transport.name] = transport.frame(entry)
    return frame
