"""Polling: a request that is answered at once, and says when to come again. Conditional as RFC 9110 §13 has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transports.envelopes import Envelopes, body
from transports.transport import Answer

if TYPE_CHECKING:
    from transports.transport import Delivery, Terms


class Polling(Envelopes):
    """One JSON answer at once."""

    name = "polling"
    path = "poll"

    def answer(self, terms: Terms, delivery: Delivery) -> Answer:
        """Answer with what came; with 304 when nothing did and the client's copy says the same."""
        if terms.unchanged and terms.given is not None and delivery.is_empty:
            seconds = -(-terms.next_poll_ms // 1000)
            headers = (*self.headers(terms), (b"etag", b'W/"%d-%d"' % terms.given), (b"retry-after", b"%d" % seconds))
            return Answer(304, headers)
        headers = (*self.headers(terms), (b"etag", b'W/"%d-%d"' % delivery.position))
        return Answer(200, headers, body(delivery, terms.next_poll_ms))
