"""Attach a request to the channel: who asks, for what, from where, and on which terms.

The way of the three hot ``GET``s (PROTOCOL §4), for every transport and every lane. Synchronous: whatever has to be
waited for (the log, an unknown signing key) is waited for by the attachment, or before by the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from realtime.channel.reader import Reader, Start
from realtime.delivery.attachment import Attachment
from realtime.errors import Draining, GaplessError, LogUnavailable
from realtime.parameters import is_public, start, visible

if TYPE_CHECKING:
    from realtime.auth import Credentials
    from realtime.channel.follower import Follower
    from realtime.channel.reader import Replays
    from realtime.delivery.exchange import Exchange
    from realtime.delivery.hub import Hub
    from realtime.migration import Migration
    from realtime.plan import Planner
    from realtime.presence import Presence
    from realtime.request import Request
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

    def __init__(self, credentials: Credentials, planner: Planner, channel: Channel) -> None:
        """Attach to one channel whoever is known, as planned."""
        self._credentials = credentials
        self._planner = planner
        self._channel = channel

    def attach(self, transport: Transport, request: Request, exchange: Exchange) -> None:
        """Serve a request on an exchange, from here on until its end; refusals are written to it too."""
        try:
            attachment = self._attachment(transport, request, exchange)
        except GaplessError as error:
            write(exchange, transport.refuse(error, self._planner.refusal(transport, request)))
        else:
            attachment.start()
            if attachment.stays_open:  # it may have come with a ticket from before the policy changed
                self._channel.migration.consider(attachment)

    def _attachment(self, transport: Transport, request: Request, exchange: Exchange) -> Attachment:
        public = is_public(request)
        credential = self._credentials.anonymous() if public else self._credentials.authenticate(request)
        follower, replays, hub, presence, _ = self._channel
        if hub.is_closed:
            raise Draining("this gateway is going away: try again", headers={"Connection": "close"})
        if not follower.filled:
            raise LogUnavailable("this gateway has not read the log yet: try again")
        query = request.query
        seen = visible(credential.identity, query.get("scopes"), query.get("events"))
        begin = start(request, transport.resumes_by)
        if public and begin == Start():
            begin = Start(follower.window.newest(seen))
        plan = self._planner.plan(transport, request, credential, begin)
        if plan.terms.stays_open:
            presence.stayed(transport.moves_to, plan)
        else:
            presence.visited(transport.moves_to if transport.stays_open else transport.name, plan, begin.cursor)
        return Attachment(hub, Reader(follower, replays, seen, begin), transport, exchange, plan)


def write(exchange: Exchange, answer: Answer) -> None:
    """Write a whole answer."""
    exchange.begin(answer.status, (*answer.headers, (b"content-length", b"%d" % len(answer.body))))
    exchange.end(answer.body)
