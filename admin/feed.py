"""The console's live feed: the control log, carried by our own engine to a stock ``EventSource``.

It says how every worker fares, and that something changed; what that is, the page asks for. What operators ask of the
fleet goes over the same log, and not to the page: it names clients.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from policies.decide import Context
from realtime.attach import write
from realtime.channel.event import interest, parse_filter
from realtime.channel.reader import Reader, Replays
from realtime.control import CHANNEL
from realtime.delivery.answers import refusal
from realtime.delivery.attachment import Attachment
from realtime.delivery.plan import Plan
from realtime.errors import Draining, GaplessError, LogUnavailable
from realtime.parameters import start
from transports.transport import Terms

if TYPE_CHECKING:
    from admin.session import Sessions
    from realtime.config import Settings
    from realtime.control import Control
    from realtime.delivery.exchange import Exchange
    from realtime.request import Request
    from transports.transport import Transport

FEED: Final = "/admin/events"
SEEN: Final = interest(CHANNEL, ("topic:*",), parse_filter("gateway.*,policy.revised,credential.revoked"))


class Feed:
    """Attaches signed-in operators to the control log."""

    def __init__(self, control: Control, sessions: Sessions, transport: Transport, settings: Settings) -> None:
        """Carry `control` over `transport`, which stays open."""
        self._control = control
        self._replays = Replays(control.follower)
        self._sessions = sessions
        self._transport = transport
        self._settings = settings.sse

    def attach(self, request: Request, exchange: Exchange) -> None:
        """Serve a request on an exchange, from here on until its end; refusals are written to it too."""
        try:
            attachment = self._attachment(request, exchange)
        except GaplessError as error:
            write(exchange, refusal(self._transport, error, Terms(retry_ms=self._retry_ms())))
        else:
            attachment.start()

    def _attachment(self, request: Request, exchange: Exchange) -> Attachment:
        session = self._sessions.open(request)
        hub, follower = self._control.hub, self._control.follower
        if hub.is_closed:
            raise Draining("this gateway is going away: try again", headers={"Connection": "close"})
        if not follower.filled:
            raise LogUnavailable("this gateway has not read the control log yet: try again")
        begin = start(request, self._transport)
        left_ms = max(1, session.expires_ms - self._sessions.now_ms())
        lifetime_ms = int(self._settings.lifetime * random.uniform(0.8, 1))
        plan = Plan(
            session=uuid4().hex,
            terms=Terms(retry_ms=self._retry_ms(), lifetime_ms=self._settings.lifetime),
            hold_ms=lifetime_ms,
            heartbeat_ms=self._settings.heartbeat,
            expires_in_ms=left_ms if left_ms < lifetime_ms else 0,
            context=Context(sub=session.identity.sub),
            jti=session.identity.jti,
        )
        return Attachment(hub, Reader(follower, self._replays, SEEN, begin), self._transport, exchange, plan)

    def _retry_ms(self) -> int:
        return int(self._settings.retry * random.uniform(0.5, 1.5))
