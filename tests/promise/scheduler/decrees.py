"""What operators decided and were told is so, and what became of it. Pure; a policy is the set of changes that it has.

* A revision has all changes that the one before it in the same history has: a change is never lost between two.
* A change that a living gateway has seen in force comes back, unless the history that stayed has one that was made
  without it, or tells that it is dropped; or another history told so, at which that gateway was.
* When all is quiet, all gateways have the newest policy of the history that stayed.
* A revocation that a living gateway knew, and that nobody tried to lift, counts at every gateway.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Changes = frozenset[int]
    Mark = tuple[str, str]
    """One revocation: who is refused, and what tells it from others of the same."""


@dataclass(eq=False)
class Chain:
    """The policy's history on one server: which changes each revision has."""

    last: int = 0
    """The number of the newest."""
    newest: Changes = frozenset()
    dropped: Changes = frozenset()
    """The changes that operators were told are dropped."""

    def copy(self) -> Chain:
        return Chain(self.last, self.newest, self.dropped)


@dataclass
class Decrees:
    """The policies and revocations of one history."""

    blame: Callable[[str, str], None]
    _made: dict[int, Changes] = field(default_factory=dict)
    """By change that was acknowledged: what its revision has."""
    _seen: dict[str, Changes] = field(default_factory=dict)
    """By gateway, which changes it had in force, and was not told that they are dropped."""
    _revoked: set[Mark] = field(default_factory=set)
    """What was acknowledged, and nobody tried to lift since."""
    _refusing: dict[str, set[Mark]] = field(default_factory=dict)
    """By gateway, which revocations it had at some time."""

    def observe(self, chain: Chain, revisions: Iterable[tuple[int, Changes, Changes]]) -> None:
        """Take down a policy's new revisions: number, changes that it has, changes that it tells are dropped."""
        for number, changes, dropped in revisions:
            chain.dropped |= dropped
            if not changes >= chain.newest:
                gone = sorted(chain.newest - changes)
                self.blame("policy overridden", f"revision {number} has not the changes {gone} of the one before it")
            chain.last, chain.newest = number, changes

    def change(self, number: int, changes: Changes) -> None:
        """A change was acknowledged, in a revision with these."""
        self._made[number] = changes

    def revoke(self, gateway: str, mark: Mark) -> None:
        """A revocation was acknowledged."""
        self._revoked.add(mark)
        self.refuse(gateway, {mark})

    def lift(self, name: str) -> None:
        """Somebody tries to lift a revocation: from now on both is right, until there is another one."""
        self._revoked = {mark for mark in self._revoked if mark[0] != name}

    def see(self, gateway: str, chain: Chain, changes: Changes) -> None:
        """A gateway has these changes in force, and is at this history: what that drops, and it has not, is told."""
        self._seen[gateway] = self._seen.get(gateway, frozenset()) - chain.dropped | changes

    def refuse(self, gateway: str, marks: Iterable[Mark]) -> None:
        """A gateway has these revocations."""
        self._refusing.setdefault(gateway, set()).update(marks)

    def forget(self, gateway: str) -> None:
        """A gateway has ended."""
        self._seen.pop(gateway, None)
        self._refusing.pop(gateway, None)

    def settle(self, chain: Chain, policies: dict[str, Changes], refused: dict[str, set[str]]) -> None:
        """Judge what gateways have in force, and whom they refuse, when all is quiet."""
        for gateway, changes in policies.items():
            if changes != chain.newest:
                self.blame("policy differs", f"{gateway} has {sorted(changes)}, and the newest {sorted(chain.newest)}")
        for number in sorted(set().union(*self._seen.values()) - chain.dropped):
            if number not in chain.newest and chain.newest <= self._made.get(number, frozenset()):
                self.blame("policy lost", f"change {number}; nothing was decided without it: {sorted(chain.newest)}")
        known = set().union(*self._refusing.values())
        count = {name for name, _ in self._revoked & known}
        for gateway, names in refused.items():
            for name in sorted(count - names):
                self.blame("revocation lost", f"{gateway} does not refuse {name}")
