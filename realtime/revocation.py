"""Who is refused, as a value that can be merged: two views of it are united, and none loses a revocation. Pure.

A lift is a record too, and names the revocation that it lifts. So a revocation that is missing somewhere was lost
there, and one that was made again after it was lifted elsewhere counts. (Shapiro et al. 2011, "A comprehensive study of
Convergent and Commutative Replicated Data Types", §3.3.2: 2P-Set.)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["sub", "jti"]

_REMEMBERED_MS: Final = 7 * 24 * 60 * 60 * 1000
"""How long a lift is remembered: for longer than a gateway may be cut off, and then put back what was lifted."""


class Revocation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One refusal: of a subject (`sub`) or of a token (`jti`). Times in unix milliseconds; no `until`: for good."""

    kind: Kind
    name: str
    by: str
    at: int
    until: int | None = None
    reason: str = ""
    id: str = ""
    """Tells it from an earlier one of the same name; earlier versions give none."""

    @property
    def field(self) -> str:
        """Its place in the hash."""
        return f"{self.kind}:{self.name}"

    @property
    def mark(self) -> str:
        """What a lift names it by."""
        return self.id or f"{self.field} {self.at}"

    def counts(self, now_ms: int) -> bool:
        """Tell whether it still holds."""
        return self.until is None or self.until > now_ms

    def remembered_until(self, now_ms: int) -> int:
        """Return until when its lift has to be remembered, in unix milliseconds."""
        return int(min(self._end, now_ms + _REMEMBERED_MS))

    @property
    def _end(self) -> float:
        return math.inf if self.until is None else self.until

    def outlasts(self, other: Revocation) -> bool:
        """Tell whether this one refuses for longer; of two that end together, all choose the same."""
        return self._rank > other._rank

    @property
    def _rank(self) -> tuple[float, str, str, str]:
        return (self._end, self.mark, self.by, self.reason)


class Refusals(NamedTuple):
    """Revocations by their fields; and lifts by what they lift: until when each is remembered, in unix milliseconds."""

    held: Mapping[str, Revocation]
    lifted: Mapping[str, int]

    def merged(self, other: Refusals) -> Refusals:
        """Unite two views. Of two revocations of one name, that refuses which lasts longer."""
        lifted = {**self.lifted, **other.lifted}
        held: dict[str, Revocation] = {}
        for one in (*self.held.values(), *other.held.values()):
            rival = held.get(one.field)
            if one.mark not in lifted and (rival is None or one.outlasts(rival)):
                held[one.field] = one
        return Refusals(held, lifted)

    def revoked(self, revocation: Revocation, now_ms: int) -> Refusals:
        """Add a revocation; it takes the place of the one of the same name, though that may last longer."""
        one = self.held.get(revocation.field)
        known = self if one is None or one.mark == revocation.mark else self.lift(one, now_ms)
        return Refusals({**known.held, revocation.field: revocation}, known.lifted)

    def lift(self, revocation: Revocation, now_ms: int) -> Refusals:
        """Lift a revocation; one of the same name that was made since stays."""
        lifted = {**self.lifted, revocation.mark: revocation.remembered_until(now_ms)}
        return Refusals({name: one for name, one in self.held.items() if one.mark != revocation.mark}, lifted)

    def at(self, now_ms: int) -> Refusals:
        """Leave out what is over."""
        held = {field: one for field, one in self.held.items() if one.counts(now_ms)}
        return Refusals(held, {mark: until for mark, until in self.lifted.items() if until > now_ms})


NOBODY: Final = Refusals({}, {})
