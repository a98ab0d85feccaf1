"""What an operator can ask and do. The API and the console are two ways to this desk, and neither knows more than it.

Every change names who made it and why, and is logged. Who may sit here is checked at the door (`admin.door`).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog

from policies.decide import decide
from policies.document import parse
from policies.edits import ramped, switched
from policies.policy import compiled
from realtime.auth import somebody
from realtime.connections import DISMISSED, LISTED, SEEN_AT
from realtime.context import described
from realtime.errors import NotFound
from realtime.revocation import Revocation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from policies.decide import Decision
    from policies.document import Document
    from realtime.auth import Identity
    from realtime.control import Control
    from realtime.fleet import Fleet, Sample
    from realtime.negotiate import Proposal
    from realtime.offers import Offers
    from realtime.revision import Revision
    from realtime.revisions import Revisions
    from realtime.revocation import Kind
    from realtime.revocations import Revocations

PREVIEWED: Final = "policy.previewed"
DRAINED: Final = "gateway.drain-requested"

_log = structlog.get_logger("gapless.admin")
_security = structlog.get_logger("gapless.security")


class Operator(NamedTuple):
    """Who sits at the desk."""

    name: str
    may_write: bool

    @classmethod
    def of(cls, identity: Identity) -> Operator:
        """Return what an identity is here: an admin, or a viewer."""
        return cls(identity.sub or "anonymous", "admin" in identity.roles)


class Preview(NamedTuple):
    """Whom a policy would move: connections, those moved, and from which transport to which."""

    connections: int
    moved: int
    moves: Mapping[str, Mapping[str, int]]
    unanswered: int = 0
    """Workers that did not answer in time, whose clients are not counted."""


class Gateway(NamedTuple):
    """One gateway: its workers together."""

    id: str
    workers: Sequence[Sample]

    @property
    def connections(self) -> Mapping[str, int]:
        """By transport."""
        return summed(worker.connections for worker in self.workers)

    @property
    def is_draining(self) -> bool:
        """Whether all of it drains."""
        return all(worker.draining for worker in self.workers)

    @property
    def is_ready(self) -> bool:
        """Whether all of it takes clients."""
        return all(worker.ready for worker in self.workers)


class Explanation(NamedTuple):
    """A decision, and each step that led to it."""

    decision: Decision
    wire: Mapping[str, object]

    @property
    def steps(self) -> list[dict[str, str]]:
        """The steps in order, each with its reason."""
        return [{"step": reason.step, "reason": reason.text} for reason in self.decision.reasons]


class Desk:
    """The questions and the changes."""

    def __init__(
        self, offers: Offers, revisions: Revisions, revocations: Revocations, fleet: Fleet, control: Control
    ) -> None:
        """Work on these parts of the service."""
        self.offers = offers
        self.revisions = revisions
        self.revocations = revocations
        self.fleet = fleet
        self._control = control

    async def heeded(self) -> None:
        """Wait until what is known here is as new as what its feed told last, if that can be had."""
        await asyncio.gather(self.revisions.news.heeded(), self.revocations.news.heeded())

    # The policy

    async def put(self, value: object, operator: Operator, reason: str, expected: int | None) -> Revision:
        """Replace the policy of revision `expected`, or whichever is in force.

        Raises:
            InvalidField: the document has a fault.
            PreconditionFailed: revision `expected` is in force no longer.
            LogUnavailable: Redis does not answer: perhaps it is in force.
        """
        document = parse(value)
        return self._said(await self.revisions.edit(lambda _: document, operator.name, reason, expected))

    async def switch(
        self, name: str, operator: Operator, reason: str, *, enabled: bool, expected: int | None = None
    ) -> Revision:
        """Switch a transport on or off, in revision `expected` or whichever; raises as `put` does, and NotFound."""

        def edited(document: Document) -> Document:
            return switched(document, name, enabled=enabled)

        return self._said(await self.revisions.edit(edited, operator.name, reason, expected))

    async def ramp(
        self, name: str, weights: Mapping[str, float], operator: Operator, reason: str, expected: int | None = None
    ) -> Revision:
        """Give a rollout's arms other weights, in percent, as `switch` does; raises as `put` does, and NotFound."""

        def edited(document: Document) -> Document:
            return ramped(document, name, weights)

        return self._said(await self.revisions.edit(edited, operator.name, reason, expected))

    async def restore(self, number: int, operator: Operator, reason: str, expected: int | None = None) -> Revision:
        """Put an earlier revision in force again, as a new one; raises as `put` does, and NotFound."""
        return self._said(await self.revisions.restore(number, operator.name, reason, expected))

    def switched(self, name: str, *, enabled: bool) -> Document:
        """Return the policy in force with a transport switched on or off, and put nothing in force.

        Raises:
            NotFound: the policy knows no such transport.
        """
        return switched(self.revisions.document, name, enabled=enabled)

    def ramped(self, name: str, weights: Mapping[str, float]) -> Document:
        """Return the policy in force with other weights of a rollout's arms, and put nothing in force.

        Raises:
            NotFound: there is no such rollout.
            InvalidField: there is no such arm, or the weights don't sum to 100.
        """
        return ramped(self.revisions.document, name, weights)

    async def preview(self, document: Document) -> Preview:
        """Count whom a policy would move, over all gateways, before it is put in force.

        Raises:
            InvalidField: it names what is not installed.
            LogUnavailable: Redis does not answer.
        """
        compiled(document, self.offers.catalogue)
        asked = max(1, len(self.fleet.samples()))
        answers = await self.fleet.ask(PREVIEWED, {"policy": document.dump()})
        moves: dict[str, Mapping[str, int]] = {}
        for answer in answers:
            for name, counts in answer["moves"].items():
                moves[name] = summed((moves.get(name, {}), counts))
        connections = sum(answer["connections"] for answer in answers)
        return Preview(connections, sum(answer["moved"] for answer in answers), moves, asked - len(answers))

    def explain(
        self, proposal: Proposal, sub: str | None, roles: Sequence[str], channel: str, prefix: str
    ) -> Explanation:
        """Decide for a client as negotiate would under a path prefix, and tell how."""
        supported = None if proposal.transports is None else tuple(dict.fromkeys(proposal.transports))
        client = proposal.client.model_dump(exclude_none=True)
        failed = {failure.transport for failure in proposal.failed}
        context = described(somebody(sub, channel=channel, roles=roles), client, supported, failed)
        decision = decide(self.offers.policy, context)
        return Explanation(decision, self.offers.wire(decision, prefix))

    def _said(self, revision: Revision) -> Revision:
        _log.info("policy changed", revision=revision.number, by=revision.by, reason=revision.reason)
        return revision

    # Clients

    async def connections(self, sub: str | None = None, session: str | None = None) -> list[dict[str, Any]]:
        """Describe who is connected, on all gateways: a subject's connections, a session's, or some of all.

        Raises:
            LogUnavailable: Redis does not answer.
        """
        answers = await self.fleet.ask(LISTED, {"sub": sub, "session": session})
        return _once(one for answer in answers for one in answer)

    async def dismiss(self, session: str, operator: Operator) -> int:
        """End a session's connections for good; return how many there were.

        Raises:
            NotFound: there is no such session.
            LogUnavailable: Redis does not answer: perhaps it is done.
        """
        count: int = sum(await self.fleet.ask(DISMISSED, {"session": session, "by": operator.name}))
        if not count:
            raise NotFound(f"no client is connected with the session {session[:64]!r}")
        _log.info("connection closed by admin", session=session, by=operator.name)
        return count

    async def revoke(self, kind: Kind, name: str, operator: Operator, reason: str, until: int | None) -> Revocation:
        """Refuse a subject or a token by its id, until a time (unix ms) or for good, and end what it has open.

        Raises:
            LogUnavailable: Redis does not answer: perhaps it is done.
        """
        now_ms = time.time_ns() // 1_000_000
        revocation = Revocation(kind, name, operator.name, now_ms, until, reason)
        await self.revocations.revoke(revocation)
        _security.warning("revoked", kind=kind, name=name, by=operator.name, until=until, reason=reason)
        return revocation

    async def lift(self, kind: Kind, name: str, operator: Operator) -> None:
        """Refuse somebody no longer.

        Raises:
            NotFound: they were not refused.
            LogUnavailable: Redis does not answer: perhaps it is done.
        """
        if not await self.revocations.lift(kind, name, operator.name):
            raise NotFound(f"the {kind} {name!r} is not revoked")
        _security.warning("revocation lifted", kind=kind, name=name, by=operator.name)

    # Gateways

    def gateways(self) -> list[Gateway]:
        """Return the gateways that are there, each with its workers."""
        workers: dict[str, list[Sample]] = {}
        for sample in self.fleet.samples():
            workers.setdefault(sample.gateway, []).append(sample)
        return [Gateway(name, tuple(found)) for name, found in workers.items()]

    async def drain(self, gateway: str, operator: Operator) -> None:
        """Have a gateway take nobody new, and send everybody away.

        Raises:
            NotFound: there is no such gateway.
            LogUnavailable: Redis does not answer: perhaps it drains.
        """
        if not self.fleet.knows(gateway):
            raise NotFound(f"there is no gateway {gateway!r}")
        await self._control.say(DRAINED, {"gateway": gateway, "by": operator.name})
        _log.info("gateway drained by admin", gateway=gateway, by=operator.name)


def _once(connections: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put what is open before visits, the latest first, and leave out visits of who has come again since, elsewhere."""
    found: list[dict[str, Any]] = []
    sessions = set()
    for one in sorted(connections, key=_latest_first):
        if SEEN_AT not in one or one["session"] not in sessions:
            found.append({name: value for name, value in one.items() if name != SEEN_AT})
        if one["session"]:
            sessions.add(one["session"])
    return found


def _latest_first(one: Mapping[str, Any]) -> float:
    return -float(one.get(SEEN_AT, math.inf))


def summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Add up counts by their names."""
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)
