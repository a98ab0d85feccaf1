"""What is published, and who may see it. Pure; written from the protocol (PROTOCOL §1), not from the code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Publication:
    """One event as it was published; its number makes it unlike any other."""

    number: int
    scope: str
    event: str
    step: int


@dataclass(frozen=True)
class Sight:
    """What a client may see: scopes and patterns, and the types that it asked for (none: all)."""

    scopes: tuple[str, ...]
    types: tuple[str, ...] = ()

    def sees(self, one: Publication) -> bool:
        return _covered(one.scope, self.scopes) and (not self.types or _covered(one.event, self.types))

    @property
    def has_pattern(self) -> bool:
        return any(scope.endswith("*") for scope in self.scopes)


def _covered(asked: str, held: tuple[str, ...]) -> bool:
    return any(one == asked or (one.endswith("*") and asked.startswith(one[:-1])) for one in held)
