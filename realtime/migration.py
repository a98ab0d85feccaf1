"""Migration: when the policy changes, look at everyone attached, and move those whose decision it changes.

An SDK is told and moves by itself; what it has open ends when its time is over. A stock ``EventSource`` can't move: it
is cut at a random moment within that time, comes back to its URL, and is served there as the policy has it. What is
polled is told with its next answer (`realtime.plan`). All in slices: ten thousand decisions are not one turn of the
event loop.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from policies.decide import decide
from realtime.errors import NoTransport
from realtime.moves import NO_TRANSPORT, POLICY_CHANGED
from realtime.serving import first

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.decide import Context, Decision
    from policies.policy import Policy
    from realtime.delivery.attachment import Attachment
    from realtime.delivery.hub import Hub
    from realtime.delivery.plan import Plan
    from realtime.moves import Moves
    from realtime.offers import Offers
    from realtime.presence import Presence

_SLICE: Final = 100
_GRACE: Final = 0.1
"""By which part of its time an SDK that has not moved by itself may be late."""
_NOTHING: Final = "none"
"""What a client has that no transport is left for, as the preview puts it."""


class Migration:
    """Moves what is attached to this worker."""

    def __init__(self, offers: Offers, moves: Moves, hub: Hub, presence: Presence) -> None:
        """Look at the attachments of `hub` whenever the policy of `offers` changes."""
        self._offers = offers
        self._moves = moves
        self._hub = hub
        self._presence = presence
        self._wanted = asyncio.Event()
        offers.on_change(self._wanted.set)

    async def run(self) -> None:
        """Migrate after every change, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            for number, attachment in enumerate(self._hub.attachments):
                if number % _SLICE == _SLICE - 1:
                    await asyncio.sleep(0)
                self.consider(attachment)

    def consider(self, attachment: Attachment) -> None:
        """Move an attachment if its decision is another one now; else take on the parameters of the policy."""
        if attachment.plan.terms.public or attachment.is_over or self._hub.is_closed:
            return
        plan = attachment.plan
        decision = self._decision(plan.context)
        offer = decision.offer(attachment.transport.name) if decision else None
        if decision is None or offer is None or first(decision, plan.among) != plan.first:
            self._move(attachment, decision)
        elif attachment.stays_open:
            attachment.pace(offer.parameters.get("heartbeat_ms", 0), offer.parameters.get("min_interval_ms", 0))

    def _decision(self, context: Context) -> Decision | None:
        try:
            return self._offers.decide(context)
        except NoTransport:
            return None

    def _move(self, attachment: Attachment, decision: Decision | None) -> None:
        code = POLICY_CHANGED if decision else NO_TRANSPORT
        told, prefix = self._now(attachment.plan), attachment.plan.prefix
        attachment.plan = attachment.plan._replace(first=told)
        if not attachment.stays_open:
            notice = self._moves.notice(attachment.plan.session, decision, code, prefix)
            if notice is not None:
                attachment.tell(notice)
        elif told == attachment.transport.name:
            attachment.stay(self._moves.said(decision, code, self._moves.within_ms, prefix))
        else:
            within_ms = self._moves.within_ms
            part = random.uniform(0, 1) if attachment.plan.refusal else 1 + random.uniform(0, _GRACE)
            moment_ms = self._hub.wheel.now_ms() + int(within_ms * part)
            attachment.leave(self._moves.said(decision, code, within_ms, prefix), moment_ms)

    async def preview(self, policy: Policy) -> dict[str, Any]:
        """Count whom a policy would move: connections, those moved, and from which transport to which."""
        moves: dict[str, Counter[str]] = {}
        connections = 0
        for plan in list(self._plans()):
            connections += 1
            if connections % _SLICE == 0:
                await asyncio.sleep(0)
            then = first(decide(policy, plan.context), plan.among)
            if then not in {plan.first, self._now(plan)}:
                moves.setdefault(plan.first or _NOTHING, Counter())[then or _NOTHING] += 1
        moved = sum(sum(counts.values()) for counts in moves.values())
        return {"connections": connections, "moved": moved, "moves": {name: dict(moves[name]) for name in moves}}

    def _now(self, plan: Plan) -> str:
        """Return what is decided for a client now: who is served otherwise for want of room is not moved by it."""
        decision = self._decision(plan.context)
        return first(decision, plan.among) if decision else ""

    def _plans(self) -> Iterator[Plan]:
        for attachment in self._hub.attachments:
            if not attachment.plan.terms.public:
                yield attachment.plan
        for visit in self._presence.visits(self._hub.attachments):
            yield visit.plan
