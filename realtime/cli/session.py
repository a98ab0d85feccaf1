"""What a client agrees on with the service before it attaches: a ticket, a position, a transport (PROTOCOL §4)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from realtime.cli.remote import Trouble, check, decoded, translated

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx2

_PATH: Final = "/api/v1/events/negotiate"
_FRESH: Final = 0.8
"""The share of a ticket's life in which it is used: clocks run differently, and requests take time."""


class Offer(msgspec.Struct):
    """A transport that the service offers, with its parameters; the defaults are the protocol's."""

    name: str
    url: str
    heartbeat_ms: int = 15_000
    first_byte_timeout_ms: int = 5_000
    hold_ms: int = 25_000
    interval_ms: int = 5_000


class Decision(msgspec.Struct):
    """What the service offers, best first."""

    transports: list[Offer]


class Session(msgspec.Struct):
    """The answer of a negotiation, and until when its ticket is used (`time.monotonic`)."""

    ticket: str
    ticket_expires_in_ms: int
    cursor: str
    decision: Decision
    fresh_until: float = 0

    def renew(self, ticket: str) -> None:
        """Take a ticket; a later one lives about as long as the first."""
        self.ticket = ticket
        self.fresh_until = time.monotonic() + _FRESH * self.ticket_expires_in_ms / 1000

    @property
    def is_fresh(self) -> bool:
        """Whether the ticket may still be used."""
        return time.monotonic() < self.fresh_until

    @property
    def offer(self) -> Offer:
        """The transport to use."""
        return self.decision.transports[0]


def negotiate(http: httpx2.Client, token: str, transports: Sequence[str], cursor: str | None) -> Session:
    """Agree with the service on one of `transports`, and on a position; without a cursor, on the log's end.

    Raises:
        Trouble: it can't be reached, or can't offer any at the moment.
        Refused: it doesn't know the token, or has none of these transports.
    """
    body: dict[str, Any] = {"transports": transports, "client": {"platform": "cli", "sdk": "gapless-cli/1"}}
    if cursor is not None:
        body["cursor"] = cursor
    with translated():
        response = http.post(_PATH, json=body, headers={"Authorization": f"Bearer {token}"})
    check(response)
    session = decoded(response.content, Session)
    for offer in session.decision.transports:  # the client puts its own path before what is relative to it
        offer.url = offer.url.removeprefix(http.base_url.path)
    session.decision.transports = [offer for offer in session.decision.transports if offer.name in transports]
    if not session.decision.transports:
        raise Trouble(f"the service offers none of {', '.join(transports)} at the moment")
    session.renew(session.ticket)
    return session
