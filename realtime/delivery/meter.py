"""What the engine delivered, by transport, and how long it took from the append to the write.

Latency is taken once a tick and group, not once a client: from the event's id, which holds Redis's clock, to ours.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

_PERCENTILES = (0.5, 0.95, 1.0)


@dataclass(slots=True)
class Meter:
    """Counts since the start; latencies since they were last taken."""

    deliveries: Counter[str] = field(default_factory=Counter)
    """Events given to clients, by transport."""
    _latencies: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """By transport: milliseconds, and to how many clients."""

    def delivered(self, transport: str, events: int) -> None:
        """Count events that were written."""
        self.deliveries[transport] += events

    def arrived(self, transport: str, appended_ms: int, clients: int) -> None:
        """Note how long ago an event was appended (unix ms) that was written just now, to so many clients."""
        latency_ms = max(0, time.time_ns() // 1_000_000 - appended_ms)
        self._latencies.setdefault(transport, []).append((latency_ms, clients))

    def forget_latencies(self) -> None:
        """Begin anew, where nobody takes them."""
        self._latencies.clear()

    def take_latencies(self) -> dict[str, tuple[int, ...]]:
        """Return the median, the 95th percentile and the maximum in ms, by transport, and begin anew."""
        taken, self._latencies = self._latencies, {}
        return {transport: _percentiles(sorted(noted)) for transport, noted in taken.items()}


def _percentiles(noted: list[tuple[int, int]]) -> tuple[int, ...]:
    total = sum(clients for _, clients in noted)
    return tuple(_at(noted, total * part) for part in _PERCENTILES)


def _at(noted: list[tuple[int, int]], rank: float) -> int:
    passed = 0
    for latency_ms, clients in noted:
        passed += clients
        if passed >= rank:
            return latency_ms
    return noted[-1][0]
