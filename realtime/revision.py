"""One revision of the policy, and what it descends from. Pure.

A revision names those that it was made from. That is how a gateway tells a revision that Redis has lost from one that
was made beside another, on a server that was given up after a split.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from policies.difference import Change

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GAPLESS: Final = "gapless"
"""Who makes a revision that no operator made: one that tells what was dropped."""

_ANCESTORS: Final = 32
"""How many a revision names: more than an operator makes in the time for which a replica may lag."""


class Dropped(msgspec.Struct, frozen=True):
    """A change that was dropped: it was made on a server that was lost, while another was made on the one that stayed.

    `at` in unix milliseconds.
    """

    number: int
    by: str
    at: int
    reason: str
    changes: tuple[Change, ...]
    mark: str


class Revision(msgspec.Struct, frozen=True):
    """One state of the policy document; `at` in unix milliseconds."""

    number: int
    policy: dict[str, Any]
    by: str
    at: int
    reason: str = ""
    changes: tuple[Change, ...] = ()
    """What became different from the revision before it."""
    request: str = ""
    """Which attempt wrote it: tells a lost reply from somebody else's change."""
    after: tuple[str, ...] = ()
    """The marks of those that it was made from, newest first; empty: an earlier version wrote it, and doesn't tell."""
    dropped: tuple[Dropped, ...] = ()
    """Changes that it tells to be dropped."""

    @property
    def mark(self) -> str:
        """What tells it from every other revision, also from one of the same number."""
        return self.request or (f"{self.number} {self.at}" if self.number else "configuration")

    @property
    def line(self) -> tuple[str, ...]:
        """What a revision that is made from this one comes after."""
        return (self.mark, *self.after)[:_ANCESTORS]

    def as_dropped(self) -> Dropped:
        """Return what is told of it when it is dropped."""
        return Dropped(self.number, self.by, self.at, self.reason, self.changes, self.mark)


def dropping(lost: Sequence[Revision], kept: Revision, request: str, at: int) -> Revision:
    """Make the revision that tells of changes that are dropped in favour of `kept`, whose policy it has.

    Its number is above all of theirs: a number that was told to somebody doesn't come again for another policy.
    """
    names = ", ".join(f"revision {one.number} by {one.by}" for one in lost)
    reason = f"dropped, for the server it was made on was lost: {names}; revision {kept.number} stays in force"
    number = max(one.number for one in (*lost, kept)) + 1
    told = tuple(one.as_dropped() for one in lost)
    return Revision(number, kept.policy, GAPLESS, at, reason, (), request, kept.line, told)


def told(revisions: Iterable[Revision]) -> set[str]:
    """Return the marks of all that revisions tell to be dropped."""
    return {one.mark for revision in revisions for one in revision.dropped}
