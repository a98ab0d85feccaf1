"""Plan an attachment: how long it may wait or stay open, how often it is heard, when its credential runs out."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

from realtime.channel.event import LARGEST
from realtime.channel.reader import Start
from realtime.compression import takes_gzip
from realtime.delivery.controls import control
from realtime.delivery.plan import NO_TICKET, Plan
from realtime.errors import GaplessError
from realtime.parameters import has_position, is_public, start, whole_number
from realtime.presence import known_as
from realtime.standing import FOR_GOOD, Standing
from transports.transport import Terms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from realtime.auth import Credential, Credentials, Identity, Ticket
    from realtime.channel.event import Control, Cursor, Interest
    from realtime.channel.follower import Follower
    from realtime.config import Live
    from realtime.load import Load, Pace
    from realtime.request import Request
    from realtime.serving import Served, Serving
    from transports.transport import Transport

_LIMIT = 500
_MOST_EVENTS = 1_000
_LONGEST_MS = LARGEST - 1
EARLY_MS = 60_000
"""Who is told that a credential runs out is told so long before it, at most."""
_NOTHING: tuple[Control, ...] = ()
_FROM_NOW = Start()
_MUCH_LATER = 5
"""Who is sent away because the service can't serve comes back this many times later than after a lost stream."""


class Planner:
    """Makes plans out of requests, the policy and the settings."""

    def __init__(self, live: Live, serving: Serving, credentials: Credentials, follower: Follower, load: Load) -> None:
        """Plan by these."""
        self._live = live
        self._serving = serving
        self._credentials = credentials
        self._follower = follower
        self._load = load

    def standing(
        self, transport: Transport, request: Request, credential: Credential, seen: Interest, *, streams: bool = True
    ) -> Standing:
        """Find out how requests of this kind are served; without `streams`, no answer stays open.

        Raises:
            MalformedParameter: a parameter is not of its grammar.
            NoTransport: nothing that the client supports is served.
            TransportNotOffered: the policy offers others.
        """
        served = self._serving.of(transport, request, credential, streams=streams)
        limit, session = request.query.get("limit"), _session(credential)
        return Standing(
            transport=transport,
            credential=credential,
            seen=seen,
            served=served,
            session=session,
            name=known_as(session, transport.name, credential.identity.sub),
            limit=_LIMIT if limit is None else whole_number("limit", limit, 1, _MOST_EVENTS),
            hold_ms=_hold(transport, request, served),
            is_public=not transport.stays_open and is_public(request),
            gzip=takes_gzip(request.header("accept-encoding")),
            is_conditional=bool(request.key) and "if-none-match" in request.headers,
            until_ms=_until(credential, served),
            expires_ms=_expires(credential),
            prefix=request.prefix,
        )

    def plan(self, standing: Standing, request: Request, begin: Start) -> Plan:
        """Plan the answer to a request that wants to begin at a position."""
        transport, credential, served = standing.transport, standing.credential, standing.served
        parameters = served.parameters
        terms = self._terms(standing, request, begin)
        hold_ms = standing.hold_ms
        if terms.stays_open:
            hold_ms = int(terms.lifetime_ms * random.uniform(0.8, 1))
        wait_ms = parameters.get("hold_ms", terms.next_poll_ms)
        session = standing.session or (uuid4().hex if terms.stays_open else "")
        expires_in_ms, notices = 0, _NOTHING
        if not terms.public and (terms.stays_open or begin != _FROM_NOW):
            expires_in_ms, notices = self._to_tell(standing, session, hold_ms, wait_ms)
        return Plan(
            session=session,
            terms=terms,
            replaceable=standing.renews and hold_ms > 0,
            hold_ms=hold_ms,
            heartbeat_ms=parameters.get("heartbeat_ms", 0),
            min_interval_ms=parameters.get("min_interval_ms", 0),
            limit=standing.limit,
            expires_in_ms=expires_in_ms,
            refusal=self.refusal(transport, request),
            notices=notices,
            renew=partial(self._renew, credential, wait_ms, served) if standing.renews else NO_TICKET,
            context=served.context,
            among=served.among,
            first=served.first,
            jti=credential.identity.jti,
            gzip=standing.gzip,
            prefix=standing.prefix,
        )

    def _to_tell(self, standing: Standing, session: str, hold_ms: int, wait_ms: int) -> tuple[int, tuple[Control, ...]]:
        """Return in what time a client is told that its credential runs out, and what it is told at once.

        Who asks for the tail only comes back at once, and is told then.
        """
        identity, served = standing.credential.identity, standing.served
        notices: tuple[Control, ...] = ()
        if not served.stays_open:
            notices = self._serving.notices(served, standing.credential, session, standing.prefix)
        if identity.expires_ms is None:
            return 0, notices
        if hold_ms:
            return _expires_in(identity), notices
        return 0, notices + _notices(identity, wait_ms)

    def next_poll(self, parameters: Mapping[str, int], *, public: bool = False) -> int:
        """Return when who polls is to come again, in ms: the same for all who share an answer."""
        return self._interval(parameters) if public else self.pace(parameters).draw()

    def pace(self, parameters: Mapping[str, int]) -> Pace:
        """Return how far apart who polls is to come."""
        return self._load.pace(self._interval(parameters))

    def _interval(self, parameters: Mapping[str, int]) -> int:
        return parameters.get("interval_ms", self._live.settings.polling.interval)

    def refusal(self, transport: Transport, request: Request) -> Terms | None:
        """Settle how to refuse a client that can't read problems: it comes back where it is.

        Never further: one that wants all history has no position yet, and what can't be resumed still has to be said.
        """
        if not transport.takes_no_problem(request.header("accept")):
            return None
        try:
            begin = start(request, transport)
        except GaplessError:
            begin = Start()
        from_now = begin == Start() and self._follower.filled
        given = self._follower.tail if from_now else begin.cursor
        return Terms(retry_ms=_jittered(self._live.settings.sse.retry * _MUCH_LATER, 0.5), given=given)

    @property
    def fresh_ms(self) -> int:
        """How old a cursor may be that a client keeps, being told that there is nothing new (PROTOCOL §4)."""
        return self._live.settings.history.retention // 2

    def _terms(self, standing: Standing, request: Request, begin: Start) -> Terms:
        settings = self._live.settings
        public = standing.is_public
        return Terms(
            retry_ms=_jittered(settings.sse.retry, 0.5),
            next_poll_ms=self.next_poll(standing.served.parameters, public=public),
            lifetime_ms=settings.sse.lifetime,
            stays_open=standing.served.stays_open,
            public=public,
            given=begin.cursor,
            repeats=public and begin.requested == str(begin.cursor),
            unchanged=begin.cursor is not None and self._holds(request, begin.cursor),
        )

    def _holds(self, request: Request, cursor: Cursor) -> bool:
        """Tell whether the client has the answer to this very cursor, and the cursor is young enough to keep."""
        tags = request.headers.get("if-none-match")
        if not tags or f'"{cursor}"' not in [tag.strip().removeprefix("W/") for tag in tags.split(",")]:
            return False
        return _now_ms() - cursor.ms < self.fresh_ms

    def _renew(self, credential: Credential, wait_ms: int, served: Served) -> str | None:
        """Make a new ticket when that is due.

        And for who has moved: a ticket that tells where it was before could not tell when it has to move again.
        """
        ticket = credential.ticket
        if ticket is None:
            return None
        if served.has_moved:
            ticket = replace(ticket, first=served.first, revision=served.decision.revision)
        elif _now_ms() <= renewed_from(ticket, wait_ms):
            return None
        new = self._credentials.renew(ticket, max(self._live.settings.auth.ticket_ttl, 2 * wait_ms))
        return new.text if served.has_moved or new.expires_ms > ticket.expires_ms else None


def _session(credential: Credential) -> str:
    """Return the ticket's session; who comes without one gets one where it is shown, for each stream another.

    A cookie's session is shared by all tabs of a browser, and is not one client's.
    """
    if credential.via == "query" and credential.ticket is not None:
        return credential.ticket.session
    return ""


def _hold(transport: Transport, request: Request, served: Served) -> int:
    """Return how long an answer that does not stay open may wait."""
    asked = request.query.get("hold_ms")
    longest_ms = _LONGEST_MS if asked is None else whole_number("hold_ms", asked, 0, _LONGEST_MS)
    if transport.stays_open or not has_position(request):
        return 0
    return min(transport.hold(served.parameters), longest_ms)


def _until(credential: Credential, served: Served) -> int:
    """Return until when a client is served alike: until it gets another ticket, or may use again what failed it."""
    if not served.is_settled:
        return 0
    ticket, expires_ms = credential.ticket, _expires(credential)
    if ticket is None:
        return expires_ms
    half_ms = (ticket.expires_ms - ticket.issued_ms) // 2
    return min([expires_ms - half_ms, *(until_ms for until_ms in ticket.failed.values() if until_ms > _now_ms())])


def _expires(credential: Credential) -> int:
    """Return when a credential runs out."""
    ends = (credential.identity.expires_ms, credential.ticket.expires_ms if credential.ticket else None)
    return min([FOR_GOOD, *(end for end in ends if end is not None)])


def renewed_from(ticket: Ticket, wait_ms: int) -> int:
    """Return from when on, in unix milliseconds, an answer carries a new ticket, where the next wait is so long.

    When less than max(half its life, twice the next wait) of the old one is left (PROTOCOL §3).
    """
    return ticket.expires_ms - max((ticket.expires_ms - ticket.issued_ms) // 2, 2 * wait_ms)


def _expires_in(identity: Identity) -> int:
    """Return when to tell that the credential runs out: early, by a random part of its rest, so not all at once."""
    left_ms = max((identity.expires_ms or 0) - _now_ms(), 1)
    early_ms = random.uniform(0, min(EARLY_MS, left_ms / 10))
    return max(int(left_ms - early_ms), 1)


def _notices(identity: Identity, wait_ms: int) -> tuple[Control, ...]:
    """Say that the credential runs out when the client would come back too late to be told."""
    if (identity.expires_ms or 0) - _now_ms() > 2 * wait_ms:
        return ()
    return (control("ticket.expired"),)


def _jittered(ms: int, part: float) -> int:
    return int(ms * random.uniform(1 - part, 1 + part))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
