"""Server-Sent Events: the WHATWG HTML standard, section 9.2.

A stock ``EventSource`` takes every status but 200 for final and can't read a body, so what others are told by a status
is told here within the stream's own means: events if there are any, a delay, an ``id:``, and the end (PROTOCOL §4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from transports.transport import Answer, Delivery, Headers, Terms, Transport, problem

if TYPE_CHECKING:
    from realtime.channel.event import Control, Cursor, Entry
    from realtime.errors import GaplessError

_COME_AGAIN = (429, *range(500, 600))
_A_DAY_MS = 86_400_000


class SSE(Transport):
    """One ``text/event-stream`` that stays open."""

    name = "sse"
    path = "stream"
    media_type = "text/event-stream; charset=utf-8"
    stays_open = True
    resumes_by = "last-event-id"
    moves_to = "polling"

    def open(self, terms: Terms) -> Answer:
        """Begin with the delay before the client may come back."""
        return Answer(200, self.headers(terms), _retry(terms.retry_ms))

    def frame(self, entry: Entry) -> bytes:
        """Encode one event. Neither its id, its type nor its one line of JSON can hold a line break."""
        return b"id: %d-%d\nevent: %b\ndata: %b\n\n" % (*entry.id, entry.event.encode(), entry.envelope())

    def control(self, control: Control) -> bytes:
        """Encode a control event; one with a cursor moves the client's ``Last-Event-ID`` there."""
        lines = b"event: %b\ndata: %b\n\n" % (control.event.encode(), control.envelope())
        return lines if control.cursor is None else _id(control.cursor) + lines

    def answer(self, terms: Terms, delivery: Delivery) -> Answer:
        """SSE-polling: what is new, when to come back, and the end.

        The position comes last, in a block without data: it dispatches nothing and still sets the last event id.
        """
        parts = (_retry(terms.next_poll_ms), *delivery.controls, *delivery.frames, _id(delivery.position), b"\n")
        return Answer(200, self.headers(terms), b"".join(parts))

    def dismiss(self, terms: Terms) -> bytes:  # noqa: ARG002 - part of the interface
        """Let an EventSource, which always comes back, come back tomorrow."""
        return _retry(_A_DAY_MS)

    def refuse(self, error: GaplessError, terms: Terms | None) -> Answer:
        """Send an EventSource away for a while when it may come back; let any other error be final.

        An ``id:`` without a value lets one that has no position ask as it did before.
        """
        if terms is None or error.status not in _COME_AGAIN:
            return problem(error)
        position = _id(terms.given) if terms.given else b"id:\n"
        close = ((b"connection", b"close"),) if "Connection" in error.headers else ()
        return Answer(200, (*self.headers(terms), *close), _retry(terms.retry_ms) + position + b"\n")

    def headers(self, terms: Terms) -> Headers:  # noqa: ARG002 - the same for everyone
        """Forbid caches and proxies to keep, change or hold back the stream."""
        return (
            (b"content-type", self.media_type.encode()),
            (b"cache-control", b"no-store, no-transform"),
            (b"x-accel-buffering", b"no"),
        )

    def takes_no_problem(self, accept: str) -> bool:
        """Recognise an EventSource: it accepts event streams and no problems."""
        accept = accept.lower()
        return "text/event-stream" in accept and "application/problem+json" not in accept


def _retry(ms: int) -> bytes:
    return b"retry: %d\n\n" % ms


def _id(cursor: Cursor) -> bytes:
    return b"id: %d-%d\n" % cursor
