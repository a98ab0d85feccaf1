"""Decide for one client: start from the operator's preference, let each step reorder or remove, keep the reasons.

Pure, and total: as long as a transport is both offered and supported, the list that remains is not empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Step = Callable[["Choice", "Policy", "Context"], "Choice"]


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator wants: transports in order of preference, and the parameters of each, in ms."""

    preference: tuple[str, ...]
    parameters: Mapping[str, Mapping[str, int]]
    revision: int = 0


class Context(NamedTuple):
    """What is known of a client. `supported` of `None`: it did not say."""

    supported: tuple[str, ...] | None = None
    failed: frozenset[str] = frozenset()
    arms: tuple[tuple[str, str], ...] = ()
    """The rollouts it is in, and the arm of each."""


class Reason(NamedTuple):
    """What one step did, in a sentence: shown to operators, never to clients."""

    step: str
    text: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The transports that remain, in order, and how they came to."""

    transports: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()

    def with_(self, transports: Sequence[str], step: str, text: str) -> Choice:
        """Return the choice after one more step."""
        return Choice(tuple(transports), (*self.reasons, Reason(step, text)))


class Offer(NamedTuple):
    """One transport of a decision, with its parameters."""

    name: str
    parameters: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a client may use, in order; the rollout arms it is in; and why."""

    revision: int
    arms: Mapping[str, str]
    transports: tuple[Offer, ...]
    reasons: tuple[Reason, ...]

    def offer(self, name: str) -> Offer | None:
        """Return the offer of a transport, if it is among those that remain."""
        return next((offer for offer in self.transports if offer.name == name), None)


def decide(policy: Policy, context: Context, steps: Sequence[Step]) -> Decision:
    """Fold the steps over the empty choice."""
    choice = Choice()
    for step in steps:
        choice = step(choice, policy, context)
    offers = tuple(Offer(name, policy.parameters.get(name, {})) for name in choice.transports)
    return Decision(policy.revision, dict(context.arms), offers, choice.reasons)
