"""Standing: what is the same from one request of a client to the next, which is all but its position.

Who asks, for what, and how the policy has it served: found out once, and kept for as long as it must come out the same.
A client that polls sends the same head again and again, with another cursor in it; the fast lane takes the cursor out,
and knows the rest by its bytes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from realtime.auth.recent import Recent

if TYPE_CHECKING:
    from realtime.auth import Credential
    from realtime.channel.event import Interest
    from realtime.delivery.plan import Plan
    from realtime.serving import Served
    from transports.transport import Transport

FOR_GOOD: Final = 1 << 62
"""Unix milliseconds that never come."""


class Standing(NamedTuple):
    """One client's, for requests of one kind."""

    transport: Transport
    credential: Credential
    seen: Interest
    """What it sees, narrowed as it asks."""
    served: Served
    session: str
    name: str
    """What its client is known as, between two requests."""
    limit: int
    """Events of one answer, at most."""
    hold_ms: int
    """How long its answer may wait, where it does not stay open."""
    is_public: bool
    gzip: bool
    is_conditional: bool
    """Whether it says that it has the answer to its very cursor, in each request of this kind."""
    until_ms: int
    """Until when all of this holds if nobody changes anything; unix milliseconds, 0: for this request only."""
    expires_ms: int
    """When its credential runs out, in unix milliseconds."""
    prefix: str
    """The path prefix of its requests, for the URLs of a decision that it is told."""

    @property
    def renews(self) -> bool:
        """Whether it comes with a ticket that an answer may renew."""
        return self.credential.via == "query" and not self.served.stays_open and not self.is_public


class Known:
    """What is known of a client: its standing, and the plan of its answers while nothing else is to be said."""

    __slots__ = ("client", "plan", "standing")

    def __init__(self, standing: Standing, plan: Plan) -> None:
        """Know this much."""
        self.standing = standing
        self.plan = plan
        self.client: object | None = None
        """What serves it on the spot, once it has come again: `realtime.known` makes it, and is all that looks."""


class Standings:
    """The standings of clients that came lately, by the bytes of their requests."""

    def __init__(self) -> None:
        """Begin with none."""
        self._known: Recent[Known] = Recent()
        self.age = 0
        """Goes up whenever everything is forgotten: what was found out in an earlier age holds no longer."""

    def get(self, key: bytes) -> Known | None:
        """Return what is known of a request, if it still holds."""
        found = self._known.get(key)
        return found if found is not None and time.time_ns() < found.standing.until_ms * 1_000_000 else None

    def keep(self, key: bytes, standing: Standing, plan: Plan) -> None:
        """Remember one, if the next request of its kind is served alike, but for what this one alone was told."""
        if key and standing.until_ms and not (standing.served.stays_open or standing.is_public):
            plain = plan._replace(terms=plan.terms._replace(given=None, unchanged=False), expires_in_ms=0, notices=())
            self._known.put(key, Known(standing, plain))

    def sweep(self) -> int:
        """Forget the clients that did not come since the last sweep; return how many."""
        return self._known.sweep()

    def forget(self) -> None:
        """Find everything out again: the policy, the settings or a credential's worth have changed."""
        self._known.clear()
        self.age += 1
