"""Long-poll: a request that is answered when there is something to say, or after its hold has passed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transports.envelopes import Envelopes, body
from transports.transport import Answer

if TYPE_CHECKING:
    from transports.transport import Delivery, Parameters, Terms


class LongPoll(Envelopes):
    """One JSON answer, held until an event is visible."""

    name = "long-poll"
    path = "long-poll"

    def hold(self, parameters: Parameters) -> int:
        """Wait as long as the policy lets it."""
        return parameters["hold_ms"]

    def answer(self, terms: Terms, delivery: Delivery) -> Answer:
        """Answer with what came; empty when nothing did."""
        return Answer(200, self.headers(terms), body(delivery))
