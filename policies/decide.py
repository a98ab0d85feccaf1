"""Decide for one client: start from the operator's preference, let each step reorder or remove, keep the reasons.

Pure, and total: as long as a transport is both enabled and supported, the list that remains is not empty. A decision
is made for every request that attaches, so it only looks things up, and reasons become text when they are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from policies.steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from policies.policy import Overlay, Policy
    from policies.steps import Step

    Value = str | tuple[str, ...] | Mapping[str, str]


class Context(NamedTuple):
    """What is known of a client. `supported` of `None`: it did not say, and is taken to support everything."""

    supported: tuple[str, ...] | None = None
    failed: frozenset[str] = frozenset()
    sub: str | None = None
    client_id: str | None = None
    channel: str = "main"
    roles: frozenset[str] = frozenset()
    platform: str | None = None
    app_version: str | None = None
    network: str | None = None
    state: str | None = None
    sdk: str | None = None


class Reason(NamedTuple):
    """What one step did: shown to operators, never to clients. It is put into words when somebody asks."""

    step: str
    words: str
    values: tuple[Value, ...] = ()

    @property
    def text(self) -> str:
        """The reason as a sentence."""
        return self.words.format(*map(_spoken, self.values)) if self.values else self.words


def _spoken(value: Value) -> str:
    if isinstance(value, str):
        return value
    return ", ".join(value if isinstance(value, tuple) else (f"{key}: {one}" for key, one in value.items()))


_new = tuple.__new__
_NO_ARMS: Mapping[str, str] = MappingProxyType({})
_NO_PARAMETERS: Overlay = MappingProxyType({})


class Choice(NamedTuple):
    """The transports that remain, in order, and how they came to."""

    transports: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()
    ruled: bool = False
    """Whether a rule has decided: then no rollout applies."""
    arms: Mapping[str, str] = _NO_ARMS
    overlays: tuple[Overlay, ...] = ()
    """Parameters for this client; the first that sets one wins."""
    parameters: Overlay = _NO_PARAMETERS

    def with_(
        self,
        transports: tuple[str, ...] | list[str],
        step: str,
        words: str,
        *values: Value,
        parameters: Overlay | None = None,
    ) -> Choice:
        """Return the choice after one more step; `words` has a ``{}`` for each of the values."""
        # As `Choice(…)` and `Reason(…)` do it, without the call between: it is made seven times for a decision.
        reason = _new(Reason, (step, words, values))
        _, reasons, ruled, arms, overlays, before = self
        after = before if parameters is None else parameters
        return _new(Choice, (tuple(transports), (*reasons, reason), ruled, arms, overlays, after))

    def by_rule(self, parameters: Overlay) -> Choice:
        """Return the choice after a rule has decided, and set these parameters."""
        return _new(Choice, (self.transports, self.reasons, True, self.arms, (parameters,), self.parameters))

    def in_arms(self, arms: Mapping[str, str], overlays: tuple[Overlay, ...]) -> Choice:
        """Return the choice of a client that is in these arms, the first of which go before the others."""
        return _new(Choice, (self.transports, self.reasons, self.ruled, arms, overlays, self.parameters))


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

    @property
    def first(self) -> str | None:
        """The name of the transport to use, if any remains."""
        return self.transports[0].name if self.transports else None

    def offer(self, name: str) -> Offer | None:
        """Return the offer of a transport, if it is among those that remain."""
        return next((offer for offer in self.transports if offer.name == name), None)


def decide(policy: Policy, context: Context, steps: Sequence[Step] = STEPS) -> Decision:
    """Fold the steps over the empty choice."""
    choice = _NOTHING
    for step in steps:
        choice = step(choice, policy, context)
    parameters = choice.parameters
    offers = tuple([_new(Offer, (name, parameters.get(name, {}))) for name in choice.transports])
    return Decision(policy.revision, choice.arms, offers, choice.reasons)


_NOTHING = Choice()
