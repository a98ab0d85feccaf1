"""What the engine delivered, by transport, and how long it took from the append to the write.

Counted once a tick and group, not once a client. Latency is from the event's id, which holds Redis's clock, to ours.
The numbers go two ways: here for what this worker tells of itself once a second, since its start; and to the metrics.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from realtime.metrics import Metrics

AS_POLLING: Final = "as-polling"
"""The outcome of a request for a stream that is answered at once, in polling's manners."""
GONE: Final = "gone"
"""The outcome of a request whose client went away before it was answered."""
_PERCENTILES: Final = (0.5, 0.95, 1.0)


class Meter:
    """Counts since the start; latencies since they were last taken."""

    __slots__ = ("_latencies", "_metrics", "deliveries")

    def __init__(self, metrics: Metrics | None = None) -> None:
        """Count into `metrics`; without, as for the control log's hub, only here."""
        self.deliveries: Counter[str] = Counter()
        """Events given to clients, by transport."""
        self._latencies: dict[str, list[tuple[int, int]]] = {}
        """By transport: milliseconds, and to how many clients."""
        self._metrics = metrics

    def delivered(self, transport: str, events: int, size: int) -> None:
        """Count events that were written, and the bytes of their writes."""
        self.deliveries[transport] += events
        if self._metrics is not None:
            carried = self._metrics.carried(transport)
            carried.deliveries.add(events)
            carried.written.add(size)

    def wrote(self, transport: str, size: int) -> None:
        """Count bytes that were written without events."""
        if self._metrics is not None:
            self._metrics.carried(transport).written.add(size)

    def arrived(self, transport: str, appended_ms: int, clients: int) -> None:
        """Note how long ago an event was appended (unix ms) that was written just now, to so many clients."""
        latency_ms = max(0, time.time_ns() // 1_000_000 - appended_ms)
        self._latencies.setdefault(transport, []).append((latency_ms, clients))
        if self._metrics is not None:
            self._metrics.carried(transport).latency.note(latency_ms / 1000, clients)

    def stalled(self, transport: str) -> None:
        """Count a client that was closed because it took nothing."""
        if self._metrics is not None:
            self._metrics.stalls.labels(transport).inc()

    def ticked(self, seconds: float) -> None:
        """Note how long it took to deliver a tick."""
        if self._metrics is not None:
            self._metrics.tick.observe(seconds)

    def attached(self, transport: str, outcome: str) -> None:
        """Count what came of a request to attach: a word of ours, or a problem's code."""
        if self._metrics is not None:
            self._metrics.attached(transport, outcome)

    def resumed(self, source: str) -> None:
        """Count a cursor that was resumed, from the window or from the log."""
        if self._metrics is not None:
            self._metrics.resumed(source)

    def truncated(self, cause: str) -> None:
        """Count a cursor that could not be resumed."""
        if self._metrics is not None:
            self._metrics.truncations.labels(cause).inc()

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
