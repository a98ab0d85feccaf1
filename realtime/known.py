"""Clients that are known, served on the spot: their polls at once, their long-polls by the plan of the last one.

Only what is plain: the cursor is in the window or at its end, and there is nothing to say but events. Whatever else a
client is to be told (a gap, a move, the end of its token), and whoever is not known, is served by `attach`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from realtime.channel.reader import Reader, Start
from realtime.crowd import Crowds
from realtime.delivery.answers import WAIT
from realtime.delivery.attachment import Attachment
from realtime.delivery.group import share
from realtime.offers import EVENTS
from realtime.plan import EARLY_MS, renewed_from
from realtime.standing import FOR_GOOD

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.attach import Channel
    from realtime.channel.event import Control, Cursor
    from realtime.delivery.exchange import Exchange
    from realtime.limits import Limits
    from realtime.metrics import Metrics
    from realtime.plan import Planner
    from realtime.standing import Known, Standings
    from transports.transport import Answer

_NS: Final = 1_000_000


class Parts(NamedTuple):
    """What all known clients are served by: what `attach` asks, that is the same for one who is known."""

    standings: Standings
    planner: Planner
    limits: Limits
    channel: Channel
    farewell: Callable[[str], Control | None]
    """Knows what a session is told that was sent away."""
    metrics: Metrics


class KnownClients:
    """Finds them, by the bytes of their requests."""

    def __init__(self, parts: Parts) -> None:
        """Serve those whose standing is known."""
        self._parts = parts
        follower, _, hub, _, _ = parts.channel
        self._crowds = Crowds(follower.window, hub, parts.metrics)

    def client(self, key: bytes) -> KnownClient | None:
        """Return the client that a request is of, whatever its cursor, if it is known."""
        known = self._parts.standings.get(key)
        if known is None:
            return None
        if known.client is None:
            known.client = KnownClient(self._parts, known, self._crowds)
        return known.client


class KnownClient:
    """One client, for requests of one kind."""

    __slots__ = (
        "_age",
        "_counted",
        "_crowd",
        "_ends_ns",
        "_known",
        "_own",
        "_pace",
        "_parts",
        "_plain_until_ms",
        "_session",
        "_until_ns",
        "_waits",
    )

    def __init__(self, parts: Parts, known: Known, crowds: Crowds) -> None:
        """Serve it as is known of it, for as long as that holds."""
        standing = known.standing
        self._parts = parts
        self._known = known
        self._crowd = crowds.of(standing)
        self._pace = parts.planner.pace(standing.served.parameters)
        self._own = share(standing.seen)[1]
        self._session = standing.session
        self._waits = standing.hold_ms > 0
        self._age = parts.standings.age
        self._until_ns = standing.until_ms * _NS
        identity, ticket = standing.credential.identity, standing.credential.ticket
        ends_ms = (identity.expires_ms or FOR_GOOD) if standing.hold_ms else standing.expires_ms
        self._ends_ns = ends_ms * _NS
        self._plain_until_ms = FOR_GOOD
        if ticket is not None and standing.renews:
            self._plain_until_ms = renewed_from(ticket, standing.served.parameters.get("hold_ms", 0))
        self._counted = parts.metrics.answers("GET", f"{EVENTS}/{standing.transport.path}")

    def answer(self, cursor: bytes) -> Answer | None:
        """Answer at a cursor; `WAIT`: it is to wait first; `None`: it can't be served here, and nothing was done."""
        channel = self._parts.channel
        since = self._crowd.since(cursor) if channel.is_current else None
        if since is None:
            return None
        plan, standing = self._known.plan, self._known.standing
        if standing.hold_ms:
            next_poll_ms, wait_ms = plan.terms.next_poll_ms, standing.hold_ms + EARLY_MS
        else:
            next_poll_ms = self._pace.draw()
            wait_ms = 2 * next_poll_ms
        has_own = not since.is_tail and channel.follower.window.has_after(self._own, since.after)
        own = self._crowd.read(standing.seen, since.after) if has_own else ()
        if own is None or not self._is_back(since.after, next_poll_ms, wait_ms):
            return None
        if standing.hold_ms and not (own or since.entries):
            return WAIT
        return self._crowd.given(own, next_poll_ms) if has_own else self._crowd.answer(since, next_poll_ms)

    def _is_back(self, after: Cursor, next_poll_ms: int, wait_ms: int) -> bool:
        """Note that it came as before, if it need not be told that something ends, and may wait if it is to."""
        parts, now_ns = self._parts, time.time_ns()
        if self._age != parts.standings.age or now_ns >= self._until_ns or now_ns + wait_ms * _NS > self._ends_ns:
            return False
        if self._waits and (self._known.plan.min_interval_ms or parts.limits.is_full):
            return False
        if self._session and parts.farewell(self._session):
            return False
        return parts.channel.presence.again(self._known.standing.name, after, next_poll_ms)

    def wait(self, exchange: Exchange) -> None:
        """Wait at the tail; where it waited last, if it was answered there."""
        exchange.counted = self._counted
        standing, plan = self._known.standing, self._known.plan
        if isinstance(exchange.listener, Attachment):
            if exchange.listener.again(plan):
                return
            exchange.listener.closed()
        follower, replays, hub, _, _ = self._parts.channel
        reader = Reader(follower, replays, standing.seen, Start(follower.window.position))
        Attachment(hub, reader, standing.transport, exchange, plan, plain_until_ms=self._plain_until_ms).start()
