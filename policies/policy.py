"""The policy in force: a document, made ready for one gateway's transports, so that a decision only looks things up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from json import dumps
from typing import TYPE_CHECKING, NamedTuple

from policies.buckets import Layout, bucket, layout, salted
from policies.conditions import conditions
from policies.document import Document, Parameters, hundredths
from realtime.errors import InvalidField
from realtime.wording import hint, nearest

if TYPE_CHECKING:
    from policies.conditions import Condition
    from policies.document import Arm, Rollout, Rule

Catalogue = Mapping[str, Mapping[str, int]]
"""The installed transports, in that order, and the parameters that each takes with their defaults, in ms."""
Overlay = Mapping[str, Mapping[str, int]]
"""Parameters by transport that replace what held before."""


class CompiledRule(NamedTuple):
    """A rule, ready to be asked."""

    name: str
    conditions: tuple[Condition, ...]
    preference: tuple[str, ...] | None
    parameters: Overlay


class CompiledArm(NamedTuple):
    """An arm, ready to be given."""

    name: str
    preference: tuple[str, ...] | None
    parameters: Overlay


class CompiledRollout(NamedTuple):
    """A rollout, ready to be asked."""

    name: str
    conditions: tuple[Condition, ...]
    key: bytes
    layout: Layout
    arms: Mapping[str, CompiledArm]

    def arm(self, who: bytes) -> CompiledArm:
        """Return the arm that a client is in."""
        return self.arms[self.layout.arm(bucket(self.key, who))]


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator wants, in the terms of one gateway. Two are the same when document and revision are."""

    document: Document
    revision: int
    installed: tuple[str, ...]
    preference: tuple[str, ...]
    enabled: frozenset[str]
    parameters: Overlay
    """Of every installed transport: its defaults, and over them what the document sets for everyone."""
    rules: tuple[CompiledRule, ...] = field(compare=False, repr=False)
    rollouts: tuple[CompiledRollout, ...] = field(compare=False, repr=False)
    move_within_ms: int
    fallback_retry_after_ms: int
    retry_base_ms: int
    retry_max_ms: int


def compiled(document: Document, catalogue: Catalogue, revision: int = 0, *, tolerant: bool = False) -> Policy:
    """Make a document ready for these transports.

    With `tolerant`, what isn't known here is left out: another gateway may have a plug-in that this one lacks.

    Raises:
        InvalidField: the document names a transport that isn't installed, or a parameter that it doesn't take.
    """
    names = _Names(catalogue, tolerant)
    over = {
        name: names.parameters(f"policy.transports.{name}", name, switch)
        for name, switch in document.transports.items()
        if names.known(f"policy.transports.{name}", name)
    }
    off = {name for name, switch in document.transports.items() if not switch.enabled}
    return Policy(
        document=document,
        revision=revision,
        installed=tuple(catalogue),
        preference=names.preference("policy.preference", document.preference) or (),
        enabled=frozenset(catalogue.keys() - off),
        parameters={name: {**defaults, **over.get(name, {})} for name, defaults in catalogue.items()},
        rules=tuple(_rule(names, f"policy.rules[{index}]", rule) for index, rule in enumerate(document.rules)),
        rollouts=tuple(
            _rollout(names, f"policy.rollouts[{index}]", one) for index, one in enumerate(document.rollouts)
        ),
        move_within_ms=document.move_within,
        fallback_retry_after_ms=document.fallback_retry_after,
        retry_base_ms=document.retry_base,
        retry_max_ms=document.retry_max,
    )


def _rule(names: _Names, key: str, rule: Rule) -> CompiledRule:
    return CompiledRule(rule.name, conditions(rule.when), *names.wishes(key, rule))


def _rollout(names: _Names, key: str, rollout: Rollout) -> CompiledRollout:
    arms = {name: CompiledArm(name, *names.wishes(f"{key}.arms.{name}", arm)) for name, arm in rollout.arms.items()}
    shares = {name: hundredths(arm.weight) for name, arm in rollout.arms.items()}
    return CompiledRollout(
        rollout.name, conditions(rollout.when), salted(rollout.salt, rollout.name), layout(shares), arms
    )


class _Names(NamedTuple):
    """The names that there are, and whether others are passed over or refused."""

    catalogue: Catalogue
    tolerant: bool

    def known(self, key: str, name: str) -> bool:
        return name in self.catalogue or self._passed_over(
            key, name, "the transports that are installed", self.catalogue
        )

    def preference(self, key: str, preference: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """Return what is left of a preference; one of which nothing is left is none."""
        named = enumerate(preference or ())
        return tuple(name for index, name in named if self.known(f"{key}[{index}]", name)) or None

    def parameters(self, key: str, transport: str, given: Parameters) -> dict[str, int]:
        taken = [name.removesuffix("_ms") for name in self.catalogue[transport]]
        if "interval" not in taken:
            taken.append("min_interval")
        return {
            f"{name}_ms": value
            for name, value in given.given().items()
            if name in taken or self._passed_over(f"{key}.{name}", name, f"the parameters of {transport}", taken)
        }

    def wishes(self, key: str, one: Rule | Arm) -> tuple[tuple[str, ...] | None, Overlay]:
        overlay = {
            transport: self.parameters(f"{key}.parameters.{transport}", transport, given)
            for transport, given in one.parameters.items()
            if self.known(f"{key}.parameters.{transport}", transport)
        }
        return self.preference(f"{key}.preference", one.preference), overlay

    def _passed_over(self, key: str, name: str, what: str, there: Mapping[str, object] | list[str]) -> bool:
        if self.tolerant:
            return False
        likest = nearest(name, there)
        detail = f"{key}: there is no {dumps(name)} among {what}: {', '.join(there)}{hint(likest)}"
        raise InvalidField(detail, field=key)
