"""Clients that are known, served on the spot: their polls at once, their long-polls by the plan of the last one.

Only what is plain: the cursor is in the window or at its end, and there is nothing to say but events. Whatever else a
client is to be told (a gap, a move, the end of its token), and whoever is not known, is served by `attach`.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakValueDictionary

from realtime.channel.reader import Reader, Start
from realtime.delivery.answers import NOT_MODIFIED, OK, WAIT
from realtime.delivery.attachment import Attachment
from realtime.delivery.crowd import Crowd, Kind
from realtime.delivery.group import share
from realtime.delivery.owed import CATCH_UP_MS
from realtime.offers import EVENTS
from realtime.plan import EARLY_MS, renewed_from
from realtime.standing import FOR_GOOD

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.attach import Channel
    from realtime.channel.event import Control, Cursor
    from realtime.channel.follower import Follower
    from realtime.delivery.exchange import Exchange
    from realtime.delivery.hub import Hub
    from realtime.limits import Limits
    from realtime.metrics import Metrics
    from realtime.plan import Planner
    from realtime.standing import Known, Standing, Standings
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
        self._crowds = Crowds(parts.planner, follower, hub, parts.metrics)

    def client(self, key: bytes) -> KnownClient | None:
        """Return the client that a request is of, whatever its cursor, if it is known."""
        known = self._parts.standings.get(key)
        if known is None or (known.standing.hold_ms and known.plan.min_interval_ms):  # to be left alone for a while
            return None
        client = known.client
        if not isinstance(client, KnownClient):
            client = known.client = KnownClient(self._parts, known, self._crowds)
        return client


class Crowds:
    """The crowds of one worker."""

    def __init__(self, planner: Planner, follower: Follower, hub: Hub, metrics: Metrics) -> None:
        """Begin with none."""
        self._planner = planner
        self._follower = follower
        self._hub = hub
        self._metrics = metrics
        self._crowds: WeakValueDictionary[Kind, Crowd] = WeakValueDictionary()

    def of(self, standing: Standing) -> Crowd:
        """Return the crowd that a client is one of."""
        transport, (common, _) = standing.transport, share(standing.seen)
        pace = self._planner.pace(standing.served.parameters)
        interval_ms = 0 if standing.hold_ms else pace.interval_ms
        kind = Kind(transport, common, standing.limit, standing.gzip, standing.is_conditional, interval_ms)
        crowd = self._crowds.get(kind)
        if crowd is None:
            route = f"{EVENTS}/{transport.path}"
            polled, unchanged = (self._metrics.polled(transport.name, route, status) for status in (OK, NOT_MODIFIED))
            crowd = self._crowds[kind] = Crowd(kind, self._follower, self._hub, pace, polled, unchanged)
        return crowd


class KnownClient:
    """One client, for requests of one kind."""

    __slots__ = (
        "_age",
        "_counted",
        "_crowd",
        "_ends_ns",
        "_fresh_ms",
        "_limits",
        "_name",
        "_next_poll_ms",
        "_own",
        "_parts",
        "_plain_until_ms",
        "_plan",
        "_presence",
        "_seen",
        "_session",
        "_standings",
        "_until_ns",
        "_wait_ms",
    )

    def __init__(self, parts: Parts, known: Known, crowds: Crowds) -> None:
        """Serve it as is known of it, for as long as that holds."""
        standing, plan = known.standing, known.plan
        self._parts, self._plan = parts, plan  # not `known`, which has us: a cycle would wait for the collector
        self._standings, self._limits, self._presence = parts.standings, parts.limits, parts.channel.presence
        self._crowd = crowds.of(standing)
        self._own = share(standing.seen)[1]
        self._seen, self._name, self._session = standing.seen, standing.name, standing.session
        self._age = parts.standings.age
        self._next_poll_ms = plan.terms.next_poll_ms if standing.hold_ms else 0
        self._wait_ms = standing.hold_ms + EARLY_MS if standing.hold_ms else 0
        identity, ticket = standing.credential.identity, standing.credential.ticket
        ends_ms = (identity.expires_ms or FOR_GOOD) if standing.hold_ms else standing.expires_ms
        self._ends_ns, self._until_ns = ends_ms * _NS, standing.until_ms * _NS
        self._fresh_ms = parts.planner.fresh_ms if standing.is_conditional else FOR_GOOD
        """How old a cursor may be that is told to be kept, in ms."""
        self._plain_until_ms = FOR_GOOD
        if ticket is not None and standing.renews:
            self._plain_until_ms = renewed_from(ticket, standing.served.parameters.get("hold_ms", 0))
        self._counted = partial(parts.metrics.answered, "GET", f"{EVENTS}/{standing.transport.path}")

    def answer(self, cursor: bytes) -> Answer | None:
        """Answer at a cursor; `WAIT`: it is to wait first; `None`: it can't be served here, and nothing was done."""
        crowd = self._crowd
        since = crowd.since(cursor)
        if since is None:
            return None
        own = () if since.is_tail else crowd.own(self._own, self._seen, since.after)
        next_poll_ms = crowd.next_poll()
        if own is None or not self._is_back(since.after, next_poll_ms):
            return None
        if (self._wait_ms and not (own or since.entries)) or crowd.is_behind:
            return WAIT
        crowd.polled.resumes += 1
        return crowd.answer(since, own, next_poll_ms)

    def _is_back(self, after: Cursor, next_poll_ms: int) -> bool:
        """Note that it came as before, if it need not be told that something ends, and may wait if it is to."""
        now_ns, wait_ms = time.time_ns(), self._wait_ms or 2 * next_poll_ms + CATCH_UP_MS
        if now_ns > (after.ms + self._fresh_ms) * _NS:
            return False
        if self._age != self._standings.age or now_ns >= self._until_ns or now_ns + wait_ms * _NS > self._ends_ns:
            return False
        if self._wait_ms and self._limits.is_full:
            return False
        if self._session and self._parts.farewell(self._session):
            return False
        return self._presence.again(self._name, after, next_poll_ms or self._next_poll_ms)

    def wait(self, cursor: bytes, exchange: Exchange) -> None:
        """Wait for what comes after a cursor, in the place where it waited last, if it was answered there."""
        exchange.counted = self._counted
        crowd = self._crowd
        crowd.polled.resumes += 1
        attachment = self._place(exchange)
        since = crowd.since(cursor) if crowd.is_behind else None
        if since is not None and not (since.is_tail and self._wait_ms):
            self._parts.channel.hub.owe(attachment, since.after)

    def _place(self, exchange: Exchange) -> Attachment:
        """Have it wait at the tail."""
        last, plan = exchange.listener, self._plan
        if isinstance(last, Attachment) and last.again(plan):
            return last
        if last is not None:
            last.closed()
        follower, replays, hub, _, _ = self._parts.channel
        reader = Reader(follower, replays, self._seen, Start(follower.window.position))
        crowd, until_ms = self._crowd, self._plain_until_ms
        found = Attachment(hub, reader, crowd.kind.transport, exchange, plan, crowd=crowd, plain_until_ms=until_ms)
        found.wait()
        return found
