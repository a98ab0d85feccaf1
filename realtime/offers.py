"""What this gateway offers: the installed transports, the policy in force, and how a decision is told to clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.decide import Policy, decide
from policies.steps import STEPS
from realtime.errors import ConfigError, NoTransport
from transports import installed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from policies.decide import Context, Decision
    from realtime.config import Settings
    from transports.transport import Transport

EVENTS = "/api/v1/events"
_MOST_DECIDED = 4096


class Offers:
    """The transports by name, and `decide` with the policy in force."""

    def __init__(self, settings: Settings) -> None:
        """Take both from the configuration.

        Raises:
            ConfigError: a plug-in is not usable, or the preference names a transport that is not installed.
        """
        try:
            self.transports: Mapping[str, Transport] = installed(settings.transports.plugins)
        except ValueError as error:
            message = f"transports.plugins: {error}"
            raise ConfigError(message) from error
        self.policy = _policy(settings, self.transports)
        self._decided: dict[Context, Decision] = {}

    def decide(self, context: Context) -> Decision:
        """Decide for one client.

        Raises:
            NoTransport: nothing that the client supports is offered.
        """
        decision = self._decided.get(context)
        if decision is None:
            if len(self._decided) >= _MOST_DECIDED:
                self._decided.clear()
            decision = self._decided[context] = decide(self.policy, context, STEPS)
        if not decision.transports:
            message = "no transport that the client supports is offered at the moment: come back later"
            raise NoTransport(message)
        return decision

    def wire(self, decision: Decision) -> dict[str, object]:
        """Put a decision as clients read it (PROTOCOL §4, Negotiate)."""
        offers = [
            {"name": offer.name, "url": f"{EVENTS}/{self.transports[offer.name].path}", **offer.parameters}
            for offer in decision.transports
        ]
        return {"revision": decision.revision, "arms": dict(decision.arms), "transports": offers}


def _policy(settings: Settings, transports: Mapping[str, Transport]) -> Policy:
    preference = tuple(settings.policy.preference)
    for name in preference:
        if name not in transports:
            message = f"policy.preference: no transport {name!r} is installed; there are {', '.join(transports)}"
            raise ConfigError(message)
    parameters: dict[str, dict[str, int]] = {
        name: {"heartbeat_ms": settings.sse.heartbeat} for name, one in transports.items() if one.stays_open
    }
    parameters["sse"]["first_byte_timeout_ms"] = settings.sse.first_byte_timeout
    parameters["long-poll"] = {"hold_ms": settings.long_poll.hold}
    parameters["polling"] = {"interval_ms": settings.polling.interval}
    return Policy(preference, parameters)
