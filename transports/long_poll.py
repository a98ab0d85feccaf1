"""Long-poll: a request that is answered when there is something to say, or after its hold has passed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from transports.envelopes import Envelopes, body
from transports.transport import Answer

if TYPE_CHECKING:
    from transports.transport import Delivery, Parameters, Terms

_CACHING: Final = b"cache-control"
_NOT_KEPT: Final = (_CACHING, b"no-store")


class LongPoll(Envelopes):
    """One JSON answer, held until an event is visible."""

    name = "long-poll"
    path = "long-poll"

    def hold(self, parameters: Parameters) -> int:
        """Wait as long as the policy lets it."""
        return parameters["hold_ms"]

    def answer(self, terms: Terms, delivery: Delivery) -> Answer:
        """Answer with what came; empty when nothing did.

        No cache keeps an answer after which the same is asked again at once: it would be asked without end.
        """
        headers = self.headers(terms)
        if terms.repeats and delivery.position == terms.given:
            headers = tuple(_NOT_KEPT if name == _CACHING else (name, value) for name, value in headers)
        return Answer(200, headers, body(delivery))
