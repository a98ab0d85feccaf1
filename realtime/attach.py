"""Attach a request to the channel: who asks, for what, from where, and on which terms.

The way of the three hot ``GET``s (PROTOCOL §4), for every transport and every lane. Synchronous but for a stream that
is counted: whatever else has to be waited for (the log, an unknown signing key) is waited for by the attachment, or
before by the caller.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from realtime import security
from realtime.channel.reader import Reader, Start
from realtime.delivery.answers import refusal
from realtime.delivery.attachment import Attachment
from realtime.errors import Draining, GaplessError, LogUnavailable
from realtime.parameters import is_public, start, visible
from transports.transport import with_length

if TYPE_CHECKING:
    from realtime.auth import Credentials
    from realtime.channel.follower import Follower
    from realtime.channel.reader import Replays
    from realtime.delivery.exchange import Exchange
    from realtime.delivery.hub import Hub
    from realtime.limits import Limits
    from realtime.migration import Migration
    from realtime.plan import Planner
    from realtime.presence import Presence
    from realtime.request import Request
    from realtime.standing import Standing, Standings
    from transports.transport import Answer, Transport


class Channel(NamedTuple):
    """The parts of the service that an attachment hangs on."""

    follower: Follower
    replays: Replays
    hub: Hub
    presence: Presence
    migration: Migration


class Attacher:
    """Makes attachments out of requests."""

    def __init__(
        self, standings: Standings, credentials: Credentials, planner: Planner, limits: Limits, channel: Channel
    ) -> None:
        """Attach to one channel whoever is known, as planned, within limits."""
        self._standings = standings
        self._credentials = credentials
        self._planner = planner
        self._limits = limits
        self._channel = channel
        self._admitting: set[asyncio.Task[None]] = set()

    def attach(self, transport: Transport, request: Request, exchange: Exchange) -> None:
        """Serve a request on an exchange, from here on until its end; refusals are written to it too."""
        try:
            standing = self._standing(transport, request)
            attachment = self._attachment(standing, request, exchange)
            holders = self._limits.holders(standing.credential, request) if attachment.stays_open else []
        except GaplessError as error:
            self._refuse(transport, request, exchange, error)
            return
        if holders:
            task = asyncio.get_running_loop().create_task(self._admit(standing, request, attachment, holders))
            self._admitting.add(task)
            task.add_done_callback(self._admitting.discard)
        else:
            self._start(attachment)

    async def _admit(
        self, standing: Standing, request: Request, attachment: Attachment, holders: list[tuple[str, int]]
    ) -> None:
        """Start a stream if its user and address may have one more, else serve its client without one."""
        transport, exchange = standing.transport, attachment.exchange
        try:
            if not await self._limits.admit(attachment, holders) and not attachment.is_over:
                credential, seen = standing.credential, standing.seen
                standing = self._planner.standing(transport, request, credential, seen, streams=False)
                attachment = self._attachment(standing, request, exchange)
        except GaplessError as error:
            if not attachment.is_over:
                self._refuse(transport, request, exchange, error)
        else:
            self._start(attachment)

    def _start(self, attachment: Attachment) -> None:
        if attachment.is_over:  # its client went away meanwhile
            return
        attachment.start()
        if attachment.stays_open:  # it may have come with a ticket from before the policy changed
            self._channel.migration.consider(attachment)

    def _refuse(self, transport: Transport, request: Request, exchange: Exchange, error: GaplessError) -> None:
        security.note(error, transport.name)
        self._channel.hub.meter.attached(transport.name, error.code)
        write(exchange, refusal(transport, error, self._planner.refusal(transport, request)))

    def _standing(self, transport: Transport, request: Request) -> Standing:
        """Find out who asks, for what, and how that is served."""
        known = self._standings.get(request.key)
        if known is not None:
            return known.standing
        public = is_public(request)
        credential = self._credentials.anonymous() if public else self._credentials.authenticate(request)
        self._check_open()
        seen = visible(credential.identity, request.query.get("scopes"), request.query.get("events"))
        start(request, transport)  # what is malformed is said before what is not offered
        return self._planner.standing(transport, request, credential, seen)

    def _check_open(self) -> None:
        if self._channel.hub.is_closed:
            raise Draining("this gateway is going away: try again", headers={"Connection": "close"})
        if not self._channel.follower.filled:
            raise LogUnavailable("this gateway has not read the log yet: try again")

    def _attachment(self, standing: Standing, request: Request, exchange: Exchange) -> Attachment:
        follower, replays, hub, presence, _ = self._channel
        transport, seen = standing.transport, standing.seen
        self._check_open()
        begin = start(request, transport)
        if begin == Start() and is_public(request):
            begin = Start(follower.window.newest(seen))
        plan = self._planner.plan(standing, request, begin)
        self._standings.keep(request.key, standing, plan)
        if plan.hold_ms:
            self._limits.check_capacity()
        if plan.terms.stays_open:
            presence.stayed(transport.moves_to, plan)
        else:
            presence.visited(transport.moves_to if transport.stays_open else transport.name, plan, begin.cursor)
        return Attachment(hub, Reader(follower, replays, seen, begin), transport, exchange, plan)


def write(exchange: Exchange, answer: Answer) -> None:
    """Write a whole answer."""
    answer = with_length(answer)
    exchange.begin(answer.status, answer.headers)
    exchange.end(answer.body)
