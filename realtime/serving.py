"""How the policy has a request served: as the transport it asks for, in another one's manners, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from realtime.context import sealed
from realtime.errors import TransportNotOffered
from realtime.moves import reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from policies.decide import Context, Decision
    from realtime.auth import Credential
    from realtime.channel.event import Control
    from realtime.moves import Moves
    from realtime.offers import Offers
    from realtime.request import Request
    from transports.transport import Transport


class Served(NamedTuple):
    """How a client is served, and on what that was decided."""

    parameters: Mapping[str, int]
    stays_open: bool
    context: Context
    among: tuple[str, ...] | None
    """What it is taken to be able to do that said nothing of it: what it asks for, and SSE-polling."""
    first: str
    """The transport that it was told to use first, or is to use first by itself."""
    decision: Decision
    is_moved: bool = False
    """Whether it comes with a ticket that told it something else, and has not heeded what changed."""
    has_moved: bool = False
    """Whether it comes with such a ticket, and has."""
    is_settled: bool = False
    """Whether its next request is served alike, for as long as the policy stays as it is."""


class Serving:
    """Asks the policy for each request that attaches."""

    def __init__(self, offers: Offers, moves: Moves) -> None:
        """Serve by the policy in force; who is to move has a while for it."""
        self._offers = offers
        self._moves = moves

    def of(self, transport: Transport, request: Request, credential: Credential, *, streams: bool = True) -> Served:
        """Return how a request is served; without `streams`, as one whose user has as many open as may be.

        Raises:
            NoTransport: every transport that it could use is switched off.
            TransportNotOffered: the policy offers the client others.
        """
        context = sealed(credential)
        among = (transport.name, transport.moves_to) if context.supported is None else None
        decision = self._offers.decide(context)
        if not streams:
            decision = self._offers.without_streams(decision)
        if transport.moves_to and transport.takes_no_problem(request.header("accept")):
            return self._as_told(transport, context, among, decision)
        ticket = credential.ticket
        is_moved = self._moves.is_moved(ticket, transport.name, decision)
        told = ticket.first if ticket is not None and is_moved else first(decision, among)
        offer = decision.offer(transport.name)
        may_stay = not transport.stays_open and self._moves.is_graced(ticket)
        if self._moves.is_due(ticket, transport.name, decision) or (offer is None and not may_stay):
            message = f"the policy does not offer {transport.name} to this client: use one of the decision's transports"
            raise TransportNotOffered(message, decision=self._offers.wire(decision, request.prefix))
        parameters = offer.parameters if offer else self._offers.policy.parameters[transport.name]
        has_moved = self._moves.has_moved(ticket, transport.name, decision)
        is_settled = offer is not None and not is_moved and not has_moved
        return Served(parameters, transport.stays_open, context, among, told, decision, is_moved, has_moved, is_settled)

    def _as_told(
        self, transport: Transport, context: Context, among: tuple[str, ...] | None, decision: Decision
    ) -> Served:
        """Serve a client that can't go anywhere else, and can't be told to: as it is to be served first."""
        told = first(decision, among)
        name = transport.name if told == transport.name else transport.moves_to
        offer = decision.offer(name)
        parameters = offer.parameters if offer else self._offers.policy.parameters[name]
        return Served(parameters, told == transport.name, context, among, told, decision)

    def notices(self, served: Served, credential: Credential, session: str, prefix: str) -> tuple[Control, ...]:
        """Tell a client that comes with a ticket from before to move; one that was sent away, to stop.

        The URLs of a decision are under the path prefix of the client's request.
        """
        farewell = self._moves.farewell(session)
        if farewell is not None:
            return (farewell,)
        if not served.is_moved:
            return ()
        code = reason(credential.ticket, self._offers.policy.revision)
        notice = self._moves.notice(session, served.decision, code, prefix)
        return () if notice is None else (notice,)


def first(decision: Decision, among: tuple[str, ...] | None) -> str:
    """Return what a client is to use first, of what it can do; what stands in for others when none is offered.

    Of no offers at all, none: "".
    """
    if not decision.transports:
        return ""
    offers = (offer.name for offer in decision.transports if among is None or offer.name in among)
    return next(offers, among[-1] if among else "")
