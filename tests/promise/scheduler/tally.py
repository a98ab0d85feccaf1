"""What many histories came to: one table. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.promise.scheduler.world import Outcome

_ALWAYS: Final = ("silent gap", "false truncation")
"""Faults that have a row also where there is none."""


@dataclass
class Tally:
    """Counts histories, their steps, and the kinds of faults: each kind once in a history."""

    histories: int = 0
    steps: int = 0
    events: int = 0
    truncations: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    seeds: dict[str, list[int]] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Count a history."""
        self.histories += 1
        self.steps += len(outcome.plan.steps)
        self.events += outcome.events
        self.truncations += outcome.truncations
        for kind in dict.fromkeys(fault.kind for fault in outcome.faults):
            self.kinds[kind] += 1
            self.seeds.setdefault(kind, []).append(outcome.plan.seed)

    def __str__(self) -> str:
        counted = {
            "histories": self.histories,
            "steps": self.steps,
            "events published": self.events,
            "clients told": self.truncations,
        }
        faults = {kind: self.kinds[kind] for kind in (*_ALWAYS, *sorted(self.kinds.keys() - set(_ALWAYS)))}
        rows = {**counted, **{f"fault: {kind}": count for kind, count in faults.items()}}
        width = max(len(name) for name in rows)
        lines = [f"| {name:{width}} | {count:>9,} | {self._where(name)}" for name, count in rows.items()]
        return "\n".join(line.rstrip() for line in lines)

    def _where(self, name: str) -> str:
        seeds = self.seeds.get(name.removeprefix("fault: "), [])
        return f"seeds {', '.join(map(str, seeds[:8]))}" if seeds else ""
