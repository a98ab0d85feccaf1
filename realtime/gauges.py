"""What is so just now, read from the parts of a worker for its metrics and its health."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from realtime import logs

if TYPE_CHECKING:
    from prometheus_client import Counter

    from realtime.channel.follower import Follower
    from realtime.control import Control
    from realtime.drain import Drain
    from realtime.fleet import Fleet, Vitals
    from realtime.load import Load
    from realtime.metrics import Metrics
    from realtime.revisions import Revisions
    from realtime.supervisor import Supervisor

_EVERY_S: Final = 1.0
_log = structlog.get_logger("gapless.metrics")


class Parts(NamedTuple):
    """Whose state it is."""

    follower: Follower
    control: Control
    revisions: Revisions
    fleet: Fleet
    vitals: Vitals
    drain: Drain
    load: Load
    supervisor: Supervisor

    @property
    def is_ready(self) -> bool:
        """Whether clients may be sent here.

        The window is filled, what it holds is kept, the policy is known, we don't drain, and no task keeps ending.
        """
        is_filled = self.follower.filled and self.follower.is_vouched_for and self.revisions.is_loaded
        return is_filled and not self.drain.has_begun and not self.supervisor.failing

    @property
    def is_redis_away(self) -> bool:
        """Whether Redis does not answer: what others publish and change is not heard here."""
        return self.follower.is_away or self.control.is_away


class Gauges:
    """The gauges of one worker."""

    def __init__(self, metrics: Metrics, parts: Parts) -> None:
        """Read from these parts."""
        self._metrics = metrics
        self._parts = parts
        self._transports: set[str] = set()
        self._counted: dict[str, int] = {}

    def read(self) -> None:
        """Set all gauges to what is so now."""
        metrics, parts = self._metrics, self._parts
        metrics.settle()
        metrics.build.labels(version("gapless")).set(1)
        metrics.workers.set(1)
        metrics.ready.set(parts.is_ready)
        metrics.redis_up.set(not parts.is_redis_away)
        metrics.busy.set(parts.load.busy)
        metrics.stretch.set(parts.load.factor)
        metrics.lag.set(parts.vitals.lag_ms / 1000)
        metrics.window_bytes.set(parts.follower.window.bytes)
        metrics.window_events.set(len(parts.follower.window))
        metrics.revision.set(parts.revisions.current.number)
        metrics.stale.set(parts.revisions.is_stale)
        metrics.unread.set(parts.revisions.unread)
        metrics.failing_tasks.set(len(parts.supervisor.failing))
        for name, restarts in parts.supervisor.restarts.items():
            self._count(metrics.task_restarts.labels(name), f"restarts of {name}", restarts)
        self._count(metrics.lost_log_lines, "lost log lines", logs.lost_lines())
        samples = parts.fleet.samples()
        metrics.fleet_workers.set(len(samples))
        metrics.fleet_gateways.set(len({sample.gateway for sample in samples}))
        counts = parts.vitals.connections()
        self._transports.update(counts)
        for transport in self._transports:  # one that nobody is on any more is at zero, and not at what it was
            metrics.connections.labels(transport).set(counts.get(transport, 0))

    def _count(self, counter: Counter, what: str, total: int) -> None:
        """Add to a counter what a total of this process has grown by."""
        counter.inc(total - self._counted.get(what, 0))
        self._counted[what] = total

    async def run(self) -> None:
        """Read them once a second until cancelled: another worker may be the one that is asked."""
        while True:
            try:
                self.read()
            except Exception:  # noqa: BLE001 - what can't be measured must still be served
                _log.exception("gauges not read")
            await asyncio.sleep(_EVERY_S)
