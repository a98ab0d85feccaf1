"""Server-Sent Events: the WHATWG HTML standard, section 9.2.

A stock ``EventSource`` takes every status but 200 for final and can't read a body, so what others are told by a status
is told here within the stream's own means: events if there are any, a delay, an ``id:``, and the end (PROTOCOL §4).

Every block has data. Widely used clients dispatch a block that has none as an empty message, which is no JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from transports.transport import Answer, Delivery, Headers, Terms, Transport

if TYPE_CHECKING:
    from realtime.channel.event import Control, Entry

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
        """Begin with the delay before the client may come back: the first line of the first block."""
        return Answer(200, self.headers(terms), _retry(terms.retry_ms))

    def frame(self, entry: Entry) -> bytes:
        """Encode one event. Neither its id, its type nor its one line of JSON can hold a line break."""
        return b"id: %d-%d\nevent: %b\ndata: %b\n\n" % (*entry.id, entry.event.encode(), entry.envelope())

    def control(self, control: Control) -> bytes:
        """Encode a control event; one with a cursor moves the client's ``Last-Event-ID`` there."""
        lines = b"event: %b\ndata: %b\n\n" % (control.event.encode(), control.envelope())
        return lines if control.cursor is None else b"id: %d-%d\n%b" % (*control.cursor, lines)

    def answer(self, terms: Terms, delivery: Delivery) -> Answer:
        """SSE-polling: when to come back, what is new, and the end.

        The last frame is the engine's `heartbeat.sent`, which sets the last event id to the position.
        """
        return Answer(
            200, self.headers(terms), b"".join((_retry(terms.next_poll_ms), *delivery.controls, *delivery.frames))
        )

    def dismiss(self, terms: Terms, said: Control) -> bytes:  # noqa: ARG002 - part of the interface
        """Let an EventSource, which always comes back, come back tomorrow."""
        return _retry(_A_DAY_MS) + self.control(said)

    def defer(self, terms: Terms, said: Control) -> Answer:
        """Send an EventSource away for a while.

        An ``id:`` without a value lets one that has no position ask as it did before.
        """
        position = b"" if said.cursor else b"id:\n"
        return Answer(200, self.headers(terms), _retry(terms.retry_ms) + position + self.control(said))

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
    """Write the delay: a line of the block that comes next."""
    return b"retry: %d\n" % ms
