"""The plan of one attachment: all that was settled before it began."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from policies.decide import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from realtime.channel.event import Control
    from transports.transport import Terms


def _no_ticket() -> str | None:
    return None


NO_TICKET = _no_ticket
"""Renews nothing: for a client that came without a ticket."""


class Plan(NamedTuple):
    """How one attachment is to be served. Durations in ms; `0` means not at all."""

    session: str
    terms: Terms
    replaceable: bool = False
    """Whether a second waiting request of the session ends this one."""
    hold_ms: int = 0
    """How long the answer may wait, or stay open."""
    heartbeat_ms: int = 0
    min_interval_ms: int = 0
    """How far apart it is written to at least: saves a phone's radio."""
    limit: int = 500
    expires_in_ms: int = 0
    """Until the client must be told to renew its credential."""
    refusal: Terms | None = None
    """Given to the transport with a refusal when the client can't read a problem."""
    notices: Sequence[Control] = ()
    """What the next answer must say, whatever else it says."""
    renew: Callable[[], str | None] = NO_TICKET
    """Makes the new ticket that an answer carries, when one is due."""
    context: Context = Context()
    """What the policy decided on, for when it changes."""
    among: tuple[str, ...] | None = None
    """What it can do, where it did not say so itself."""
    first: str = ""
    """The transport that the client was told to use first."""
    jti: str | None = None
    """The token behind the client's credential, where it has a name."""
    gzip: bool = False
    """Whether its client takes an answer compressed."""
    prefix: str = ""
    """The path prefix of its request, for the URLs of a decision that it is told later."""
