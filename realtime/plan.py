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
from realtime.delivery.attachment import NO_TICKET, Plan, control
from realtime.errors import GaplessError
from realtime.parameters import is_public, start, whole_number
from transports.transport import Terms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from realtime.auth import Credential, Credentials, Identity
    from realtime.channel.event import Control, Cursor
    from realtime.channel.follower import Follower
    from realtime.config import Live
    from realtime.load import Load
    from realtime.request import Request
    from realtime.serving import Served, Serving
    from transports.transport import Transport

_LIMIT = 500
_MOST_EVENTS = 1_000
_LONGEST_MS = LARGEST - 1
_EARLY_MS = 60_000
_NOTHING: tuple[Control, ...] = ()
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

    def plan(
        self, transport: Transport, request: Request, credential: Credential, begin: Start, *, streams: bool = True
    ) -> Plan:
        """Plan the answer to a request that wants to begin at a position; without `streams`, none stays open.

        Raises:
            MalformedParameter: a parameter is not of its grammar.
            NoTransport: nothing that the client supports is served.
            TransportNotOffered: the policy offers others.
        """
        served = self._serving.of(transport, request, credential, streams=streams)
        parameters = served.parameters
        terms = self._terms(transport, request, begin, parameters, stays_open=served.stays_open)
        hold_ms = self._hold(transport, request, terms, parameters)
        wait_ms = parameters.get("hold_ms", terms.next_poll_ms)
        by_ticket = credential.via == "query"
        once = by_ticket and not terms.stays_open
        limit = request.query.get("limit")
        plan = Plan(
            session=_session(credential, by_ticket=by_ticket, stays_open=served.stays_open),
            terms=terms,
            replaceable=once,
            hold_ms=hold_ms,
            heartbeat_ms=parameters.get("heartbeat_ms", 0),
            min_interval_ms=parameters.get("min_interval_ms", 0),
            limit=_LIMIT if limit is None else whole_number("limit", limit, 1, _MOST_EVENTS),
            refusal=self.refusal(transport, request),
            renew=self._renewal(credential, wait_ms, served) if once and not terms.public else NO_TICKET,
            context=served.context,
            among=served.among,
            first=served.first,
            jti=credential.identity.jti,
            gzip=takes_gzip(request.header("accept-encoding")),
        )
        if terms.public or (begin == Start() and not terms.stays_open):
            return plan  # who asks for the tail only comes back at once, and is told then
        expires_in_ms = 0
        notices = () if served.stays_open else self._serving.notices(served, credential, plan.session)
        if credential.identity.expires_ms is not None:
            if hold_ms:
                expires_in_ms = _expires_in(credential.identity)
            else:
                notices += _notices(credential.identity, wait_ms)
        return plan._replace(expires_in_ms=expires_in_ms, notices=notices)

    def refusal(self, transport: Transport, request: Request) -> Terms | None:
        """Settle how to refuse a client that can't read problems: it comes back where it is.

        Never further: one that wants all history has no position yet, and what can't be resumed still has to be said.
        """
        if not transport.takes_no_problem(request.header("accept")):
            return None
        try:
            begin = start(request, transport.resumes_by)
        except GaplessError:
            begin = Start()
        from_now = begin == Start() and self._follower.filled
        given = self._follower.tail if from_now else begin.cursor
        return Terms(retry_ms=_jittered(self._live.settings.sse.retry * _MUCH_LATER, 0.5), given=given)

    def _terms(
        self,
        transport: Transport,
        request: Request,
        begin: Start,
        parameters: Mapping[str, int],
        *,
        stays_open: bool,
    ) -> Terms:
        settings = self._live.settings
        public = not transport.stays_open and is_public(request)
        interval_ms = parameters.get("interval_ms", settings.polling.interval)
        return Terms(
            retry_ms=_jittered(settings.sse.retry, 0.5),
            next_poll_ms=interval_ms if public else _jittered(self._load.stretched(interval_ms), 0.1),
            lifetime_ms=settings.sse.lifetime,
            stays_open=stays_open,
            public=public,
            given=begin.cursor,
            unchanged=begin.cursor is not None and self._holds(request, begin.cursor),
        )

    def _holds(self, request: Request, cursor: Cursor) -> bool:
        """Tell whether the client has the answer to this very cursor, and the cursor is young enough to keep."""
        tags = request.headers.get("if-none-match")
        if not tags or f'"{cursor}"' not in [tag.strip().removeprefix("W/") for tag in tags.split(",")]:
            return False
        return _now_ms() - cursor.ms < self._live.settings.history.retention / 2

    def _hold(self, transport: Transport, request: Request, terms: Terms, parameters: Mapping[str, int]) -> int:
        asked = request.query.get("hold_ms")
        longest_ms = _LONGEST_MS if asked is None else whole_number("hold_ms", asked, 0, _LONGEST_MS)
        if terms.stays_open:
            return int(terms.lifetime_ms * random.uniform(0.8, 1))
        if transport.stays_open or "cursor" not in request.query:
            return 0
        return min(transport.hold(parameters), longest_ms)

    def _renewal(self, credential: Credential, wait_ms: int, served: Served) -> Callable[[], str | None]:
        return partial(self._renew, credential, wait_ms, served)

    def _renew(self, credential: Credential, wait_ms: int, served: Served) -> str | None:
        """Make a new ticket when less than max(half its life, twice the next wait) of the old one is left.

        And for who has moved: a ticket that tells where it was before could not tell when it has to move again.
        """
        ticket = credential.ticket
        if ticket is None:
            return None
        if served.has_moved:
            ticket = replace(ticket, first=served.first, revision=served.decision.revision)
        else:
            left_ms, life_ms = ticket.expires_ms - _now_ms(), ticket.expires_ms - ticket.issued_ms
            if left_ms >= max(life_ms / 2, 2 * wait_ms):
                return None
        new = self._credentials.renew(ticket, max(self._live.settings.auth.ticket_ttl, 2 * wait_ms))
        return new.text if served.has_moved or new.expires_ms > ticket.expires_ms else None


def _session(credential: Credential, *, by_ticket: bool, stays_open: bool) -> str:
    """Return the ticket's session; who comes without one gets one where it is shown.

    A cookie's session is shared by all tabs of a browser, and is not one client's.
    """
    if by_ticket and credential.ticket is not None:
        return credential.ticket.session
    return uuid4().hex if stays_open else ""


def _expires_in(identity: Identity) -> int:
    """Return when to tell that the credential runs out: early, by a random part of its rest, so not all at once."""
    left_ms = max((identity.expires_ms or 0) - _now_ms(), 1)
    early_ms = random.uniform(0, min(_EARLY_MS, left_ms / 10))
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
