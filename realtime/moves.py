"""Moves of clients to another transport: what they are told, once, and until when they may stay."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from realtime.auth.recent import Recent
from realtime.delivery.controls import control
from realtime.metrics import NONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from policies.decide import Decision
    from realtime.auth import Ticket
    from realtime.channel.event import Control
    from realtime.metrics import Metrics
    from realtime.offers import Offers

POLICY_CHANGED: Final = "policy-changed"
FALLBACK_ENDED: Final = "fallback-ended"
NO_TRANSPORT: Final = "no-transport"


class Moves:
    """Tells clients that their decision has changed, once a session, decision and worker."""

    def __init__(self, offers: Offers, farewell: Callable[[str], Control | None], metrics: Metrics) -> None:
        """Tell by the policy in force; `farewell` knows what a session is told that was sent away for good."""
        self._offers = offers
        self.farewell = farewell
        self._metrics = metrics
        self._told: Recent[bool] = Recent()

    @property
    def within_ms(self) -> int:
        """Over how long a move is spread."""
        return self._offers.policy.move_within_ms

    def is_moved(self, ticket: Ticket | None, transport: str, decision: Decision) -> bool:
        """Tell whether a client's ticket was made for another first transport than the one to use now, and use it."""
        return ticket is not None and ticket.first not in {"", decision.first} and transport != decision.first

    def has_moved(self, ticket: Ticket | None, transport: str, decision: Decision) -> bool:
        """Tell whether a client with such a ticket uses the one to use now."""
        return ticket is not None and ticket.first not in {"", decision.first} and transport == decision.first

    def is_graced(self, ticket: Ticket | None) -> bool:
        """Tell whether a client whose ticket is older than the policy may stay where it is for a while."""
        if ticket is None or not ticket.first or ticket.revision >= self._offers.policy.revision:
            return False
        return self._left_ms() > 0

    def _left_ms(self) -> int:
        """Return how long who is to move by this policy may stay."""
        passed_ms = time.time_ns() // 1_000_000 - self._offers.made_ms
        return min(max(0, self.within_ms - passed_ms), self.within_ms)

    def is_due(self, ticket: Ticket | None, transport: str, decision: Decision) -> bool:
        """Tell whether a client had its time to leave where it was sent. A fallback's end moves nobody by force."""
        if ticket is None or not self.is_moved(ticket, transport, decision) or transport != ticket.first:
            return False
        return ticket.revision < self._offers.policy.revision and not self.is_graced(ticket)

    def notice(self, session: str, decision: Decision | None, code: str, prefix: str) -> Control | None:
        """Make the control event that tells a session to move; `None` when it was told the same already.

        Who polls hears of a change when it comes next, and has what is left of the time then. The decision's URLs are
        under the path prefix of the client's request.
        """
        mark = f"{session} {self._offers.policy.revision} {decision and decision.first}"
        if session and self._told.get(mark):
            return None
        self._told.put(mark, found=True)
        return self.said(decision, code, self.within_ms if code == FALLBACK_ENDED else self._left_ms(), prefix)

    def said(self, decision: Decision | None, code: str, within_ms: int, prefix: str) -> Control:
        """Make the control event that tells to move, and count it."""
        self._metrics.moves.labels((decision and decision.first) or NONE).inc()
        wire = {"revision": self._offers.policy.revision, "arms": {}, "transports": []}
        if decision is not None:
            wire = self._offers.wire(decision, prefix)
        return control("transport.changed", decision=wire, within_ms=within_ms, code=code)


def reason(ticket: Ticket | None, revision: int) -> str:
    """Give the code of a move: another policy, or the end of the time for which a failed transport is avoided."""
    return FALLBACK_ENDED if ticket is not None and ticket.revision >= revision else POLICY_CHANGED
