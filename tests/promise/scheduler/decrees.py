"""What operators decided and were told is so, and what became of it. Pure; a policy is the set of changes that it has.

* A revision has all changes that the one before it in the same history has: a change is never lost between two.
* A change that a living gateway has seen in force comes back, unless the history that stayed has one that was made
  without it, or tells that it is dropped.
* When all is quiet, all gateways have the newest policy of the history that stayed.
* A revocation that a living gateway knew, and that nobody tried to lift, counts at every gateway.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Changes = frozenset[int]


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
    _seen: dict[str, set[int]] = field(default_factory=dict)
    """By gateway, which changes it had in force."""
    _revoked: set[str] = field(default_factory=set)
    """Who was refused, and nobody tried to lift it since."""
    _refusing: dict[str, set[str]] = field(default_factory=dict)
    """By gateway, whom it refused at some time."""

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

    def revoke(self, gateway: str, name: str) -> None:
        """A revocation was acknowledged."""
        self._revoked.add(name)
        self.refuse(gateway, {name})

    def lift(self, name: str) -> None:
        """Somebody tries to lift a revocation: from now on both is right."""
        self._revoked.discard(name)
        for names in self._refusing.values():
            names.discard(name)

    def see(self, gateway: str, changes: Changes) -> None:
        """A gateway has these changes in force."""
        self._seen.setdefault(gateway, set()).update(changes)

    def refuse(self, gateway: str, names: Iterable[str]) -> None:
        """A gateway refuses somebody."""
        self._refusing.setdefault(gateway, set()).update(names)

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
        for gateway, names in refused.items():
            for name in sorted(self._revoked & known - names):
                self.blame("revocation lost", f"{gateway} does not refuse {name}")
