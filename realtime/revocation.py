"""Who is refused, as a value that can be merged: two views of it are united, and none loses a revocation. Pure.

A lift is a record too, and names the revocation that it lifts. So a revocation that is missing somewhere was lost
there, and one that was made again after it was lifted elsewhere counts. (Shapiro et al. 2011, "A comprehensive study of
Convergent and Commutative Replicated Data Types", §3.3.2: 2P-Set.)
"""

from __future__ import annotations

import math
from itertools import chain
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

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

    @property
    def rank(self) -> tuple[float, str, str, str, int]:
        """What orders revocations of one name: the higher refuses for longer; of equal ends, all choose the same."""
        return (self._end, self.mark, self.by, self.reason, self.at)


class Refusals(NamedTuple):
    """Revocations by their fields; and lifts by what they lift: until when each is remembered, in unix milliseconds.

    Of one name there may be several, made at gateways that did not know of each other's. All are held: whichever is
    lifted, the others count.
    """

    held: Mapping[str, tuple[Revocation, ...]]
    """By field, those that are not lifted, the highest rank first."""
    lifted: Mapping[str, int]

    def merged(self, other: Refusals) -> Refusals:
        """Unite two views."""
        return refusals([*self.every(), *other.every()], {**self.lifted, **other.lifted})

    def every(self) -> Iterator[Revocation]:
        """Iterate over all revocations that are held."""
        return chain.from_iterable(self.held.values())

    def foremost(self) -> dict[str, Revocation]:
        """Return of each name the revocation that refuses for the longest, by field: Redis has place for one."""
        return {field: ones[0] for field, ones in self.held.items()}

    def revoked(self, revocation: Revocation, now_ms: int) -> Refusals:
        """Add a revocation; it takes the place of those known of the same name, though they may last longer."""
        replaced = [one for one in self.held.get(revocation.field, ()) if one.mark != revocation.mark]
        known = self.lift(replaced, now_ms)
        return refusals([*known.every(), revocation], known.lifted)

    def lift(self, revocations: Iterable[Revocation], now_ms: int) -> Refusals:
        """Lift revocations; one of the same name that was made since stays."""
        lifts = {one.mark: one.remembered_until(now_ms) for one in revocations}
        return refusals(self.every(), {**self.lifted, **lifts})

    def at(self, now_ms: int) -> Refusals:
        """Leave out what is over."""
        lifted = {mark: until for mark, until in self.lifted.items() if until > now_ms}
        return refusals((one for one in self.every() if one.counts(now_ms)), lifted)


def refusals(revocations: Iterable[Revocation], lifted: Mapping[str, int]) -> Refusals:
    """Make a view of revocations, but for those that are lifted."""
    held: dict[str, set[Revocation]] = {}
    for one in revocations:
        if one.mark not in lifted:
            held.setdefault(one.field, set()).add(one)
    ordered = {field: tuple(sorted(ones, key=lambda one: one.rank, reverse=True)) for field, ones in held.items()}
    return Refusals(ordered, lifted)


NOBODY: Final = Refusals({}, {})
