"""What this gateway offers: the installed transports, the policy in force, and how a decision is told to clients."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from policies.decide import Offer, decide
from policies.policy import compiled
from realtime.auth.recent import Recent
from realtime.errors import ConfigError, InvalidField, NoTransport
from transports import installed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from policies.decide import Context, Decision
    from policies.policy import Catalogue, Policy
    from realtime.config import Settings
    from transports.transport import Transport

EVENTS = "/api/v1/events"

_POLLING = "polling"


class Offers:
    """The transports by name, and `decide` with the policy in force."""

    def __init__(self, settings: Settings) -> None:
        """Take both from the configuration; the policy may be replaced.

        Raises:
            ConfigError: a plug-in is not usable, or the policy names a transport that is not installed.
        """
        try:
            self.transports: Mapping[str, Transport] = installed(settings.transports.plugins)
        except ValueError as error:
            raise ConfigError(f"transports.plugins: {error}") from error
        self.catalogue: Catalogue = _catalogue(settings, self.transports)
        try:
            self.policy: Policy = compiled(settings.policy, self.catalogue)
        except InvalidField as error:
            raise ConfigError(error.detail) from error
        self.made_ms = 0
        """When the policy in force was made, in unix milliseconds."""
        self._decided: Recent[Decision] = Recent()
        self._changed: list[Callable[[], None]] = []

    def on_change(self, changed: Callable[[], None]) -> None:
        """Have somebody told whenever another policy is in force."""
        self._changed.append(changed)

    def adopt(self, policy: Policy, made_ms: int) -> None:
        """Put a policy in force."""
        self.policy, self.made_ms = policy, made_ms
        self._decided.clear()
        for changed in self._changed:
            changed()

    def recatalogue(self, settings: Settings) -> None:
        """Take on the transports' parameters of a configuration that was read anew."""
        self.catalogue = _catalogue(settings, self.transports)
        self.adopt(compiled(self.policy.document, self.catalogue, self.policy.revision, tolerant=True), self.made_ms)

    def sweep(self) -> int:
        """Forget the decisions that were not used since the last sweep; return how many."""
        return self._decided.sweep()

    def decide(self, context: Context) -> Decision:
        """Decide for one client.

        Raises:
            NoTransport: nothing that the client supports is offered.
        """
        decision = self._decided.get(context)
        if decision is None:
            decision = decide(self.policy, context)
            self._decided.put(context, decision)
        if not decision.transports:
            message = "no transport that the client supports is offered at the moment: come back later"
            raise NoTransport(message)
        return decision

    def without_streams(self, decision: Decision) -> Decision:
        """Return what remains of a decision without the transports that stay open; polling where nothing does.

        Raises:
            NoTransport: polling is switched off too.
        """
        offers = tuple(offer for offer in decision.transports if not self.transports[offer.name].stays_open)
        if not offers and _POLLING in self.policy.enabled:
            offers = (Offer(_POLLING, self.policy.parameters[_POLLING]),)
        if not offers:
            raise NoTransport("too many streams are open, and nothing else is offered: come back later")
        return replace(decision, transports=offers)

    def wire(self, decision: Decision, prefix: str = "") -> dict[str, object]:
        """Put a decision as clients read it (PROTOCOL §4, Negotiate), with URLs under a path prefix."""
        offers = [
            {"name": offer.name, "url": f"{prefix}{EVENTS}/{self.transports[offer.name].path}", **offer.parameters}
            for offer in decision.transports
        ]
        return {"revision": decision.revision, "arms": dict(decision.arms), "transports": offers}


def _catalogue(settings: Settings, transports: Mapping[str, Transport]) -> Catalogue:
    """Return the parameters that each installed transport takes, with the configuration's defaults."""
    known = {
        "sse": {"heartbeat_ms": settings.sse.heartbeat, "first_byte_timeout_ms": settings.sse.first_byte_timeout},
        "long-poll": {"hold_ms": settings.long_poll.hold},
        "polling": {"interval_ms": settings.polling.interval},
    }
    others = {
        name: {"heartbeat_ms": settings.sse.heartbeat} if one.stays_open else {} for name, one in transports.items()
    }
    return {name: known.get(name, others[name]) for name in transports}
