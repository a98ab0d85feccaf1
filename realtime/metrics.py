"""What the service counts and measures: the one place where a metric is named.

Names follow Prometheus's conventions, below ``gapless_``. The value of a label is one of our own words (a transport, a
problem's code, a route's template, an arm of the policy in force), and never what somebody sent. Every metric is
explained in ``docs/metrics.md``, which a test compares with what is here.

A gateway of several workers answers for all of them, whichever is asked: each keeps its numbers in mapped files, in a
folder of the parent's. The files go by the worker's number and not by its process: one that takes the place of one that
died counts on where that one ended, so no counter ever falls. What died is only in the way of gauges, which its parent
takes away (`bury`).
"""

from __future__ import annotations

import os
import struct
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, values
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal

    Mode = Literal["livesum", "livemin", "livemax"]

MEDIA_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
ACCEPTED: Final = "accepted"
OTHER: Final = "other"
NONE: Final = "none"

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SHORT: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
_ON_THE_WAY: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

_TRIES: Final = 10
_AGAIN_S: Final = 0.005

disable_created_metrics()  # a second series for each, of when it began, which nobody here asks for


class Share(NamedTuple):
    """Where one worker of several keeps its numbers."""

    folder: str
    worker: int


class Described(NamedTuple):
    """A metric as it is documented."""

    name: str
    kind: str
    labels: tuple[str, ...]


class Lengths(Histogram):
    """A histogram that notes how long something took for many at once."""

    def note(self, seconds: float, times: int) -> None:
        """Observe the same value so many times."""
        self._sum.inc(seconds * times)
        place = next(place for place, bound in enumerate(self._upper_bounds) if seconds <= bound)
        self._buckets[place].inc(times)


class Tally:
    """A count of this process, cheap enough for every request; `settle` puts it into its metric."""

    __slots__ = ("_counter", "_pending")

    def __init__(self, counter: Counter) -> None:
        """Count for one series of a metric."""
        self._counter = counter
        self._pending = 0

    def add(self, number: int = 1) -> None:
        """Count so many more."""
        self._pending += number

    def settle(self) -> None:
        """Let the metric have what was counted since the last time."""
        if self._pending:
            pending, self._pending = self._pending, 0
            self._counter.inc(pending)


class Polled:
    """Polls of one transport that were answered at once: counted here, and settled with all that each counts in."""

    __slots__ = ("_tallies", "answers", "events", "resumes", "written")

    def __init__(self, answers: Sequence[Tally], resumed: Tally, carried: Carried) -> None:
        """Count for the series that count answers, cursors that were resumed, events and bytes."""
        self._tallies = (answers, resumed, carried)
        self.answers = self.events = self.resumes = self.written = 0

    def settle(self) -> None:
        """Let the metrics have what was counted since the last time."""
        answers, resumed, carried = self._tallies
        for tally in answers:
            tally.add(self.answers)
        resumed.add(self.resumes)
        carried.deliveries.add(self.events)
        carried.written.add(self.written)
        self.answers = self.events = self.resumes = self.written = 0


class Carried(NamedTuple):
    """What one transport carried: looked up once, for this is counted in every tick."""

    deliveries: Tally
    written: Tally
    latency: Lengths


class Metrics:
    """All metrics of one worker, and how they are told for its gateway."""

    def __init__(self, share: Share | None = None) -> None:
        """Begin at zero; with a share, where the worker before this one ended, and once in a process."""
        self.described: list[Described] = []
        self._registry = CollectorRegistry()
        self._folder = share and share.folder
        if share is not None:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = share.folder
            values.ValueClass = values.MultiProcessValue(lambda: share.worker)
        self._delivery()
        self._requests()
        self._clients()
        self._state()
        self._carried: dict[str, Carried] = {}
        self._polled: dict[tuple[str, int], Polled] = {}
        self._tallies: dict[tuple[object, ...], Tally] = {}

    def _delivery(self) -> None:
        self.attaches = self._counter(
            "attaches", "Requests to attach, by what came of them: accepted, or why not", "transport", "outcome"
        )
        self.deliveries = self._counter("deliveries", "Events given to clients", "transport")
        self.written = self._counter("written_bytes", "Bytes of the bodies of transports' answers", "transport")
        self.truncations = self._counter("truncations", "Cursors that could not be resumed", "cause")
        self.resumes = self._counter("resumes", "Cursors that were resumed", "source")
        self.stalls = self._counter("stalls", "Clients that were closed because they took nothing", "transport")
        self.delivery = self._lengths(
            "delivery_latency_seconds", "From an event's append to the write to a client", _SECONDS, "transport"
        )
        self.tick = self._histogram("tick_seconds", "How long it took to hand on the entries that came at once", _SHORT)
        self.decisions = self._counter("decisions", "Negotiations, by the transport to use first", "transport")
        self.moves = self._counter("moves", "Clients told to move, by the transport to use now", "transport")
        self.limit_hits = self._counter("limit_hits", "Requests that met a limit", "kind")

    def _requests(self) -> None:
        self.http = self._counter("http_requests", "Answers", "method", "route", "status")
        self.published = self._counter("published_events", "Events taken from publishers", "outcome")
        self.publish = self._histogram(
            "publish_latency_seconds", "From a publisher's request to its events being in the log", _SECONDS
        )
        self.redis = self._histogram(
            "redis_round_trip_seconds", "Commands sent to Redis, but for blocked reads", _SECONDS
        )
        self.redis_errors = self._counter("redis_errors", "Commands that Redis did not answer, or refused")

    def _clients(self) -> None:
        self.reports = self._counter("client_reports", "What clients report", "transport", "outcome", "reason", "arm")
        labels = ("transport", "arm")
        self.connect = self._histogram(
            "client_connect_seconds", "How long it took clients to connect, as they report", _ON_THE_WAY, *labels
        )
        self.first_event = self._histogram(
            "client_first_event_seconds", "How long clients waited for something to arrive", _ON_THE_WAY, *labels
        )
        self.latency = self._histogram(
            "client_latency_seconds", "From an event's time to its arrival, as clients report", _ON_THE_WAY, *labels
        )

    def _state(self) -> None:
        self.build = self._gauge("build_info", "The version that runs: always 1", "livemax", "version")
        self.workers = self._gauge("workers", "Processes of this gateway that serve", "livesum")
        self.ready = self._gauge("ready", "Whether every worker takes clients", "livemin")
        self.connections = self._gauge("connections", "Clients that are connected", "livesum", "transport")
        self.busy = self._gauge("busy_ratio", "The share of a core that the busiest worker uses", "livemax")
        self.stretch = self._gauge("poll_stretch_ratio", "How many times their interval polls are apart", "livemax")
        self.lag = self._gauge(
            "follower_lag_seconds", "By how much the window is behind the newest event known of", "livemax"
        )
        self.window_bytes = self._gauge("window_bytes", "Stored bytes of the events in the windows", "livesum")
        self.window_events = self._gauge("window_events", "Entries in the windows", "livesum")
        self.redis_up = self._gauge("redis_up", "Whether Redis answers every worker", "livemin")
        self.revision = self._gauge("policy_revision", "The revision of the policy in force", "livemin")
        self.stale = self._gauge("policy_stale", "Whether a newer policy may exist that can't be seen", "livemax")
        self.unread = self._gauge(
            "policy_unread_revision", "The newest revision, while this version can't read it", "livemax"
        )
        self.failing_tasks = self._gauge("failing_tasks", "Long-lived tasks that keep ending", "livesum")
        self.task_restarts = self._counter("task_restarts", "Long-lived tasks that were started again", "task")
        self.lost_log_lines = self._counter("lost_log_lines", "Lines of the log that could not be written")
        self.fleet_gateways = self._gauge("fleet_gateways", "Gateways that are heard of on the control log", "livemax")
        self.fleet_workers = self._gauge("fleet_workers", "Workers that are heard of on the control log", "livemax")

    def _named(self, name: str, kind: str, labels: Sequence[str]) -> Mapping[str, object]:
        self.described.append(Described(f"gapless_{name}", kind, tuple(labels)))
        return {"namespace": "gapless", "labelnames": labels, "registry": self._registry}

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, **self._named(f"{name}_total", "counter", labels))  # type: ignore[arg-type]

    def _gauge(self, name: str, text: str, mode: Mode, *labels: str) -> Gauge:
        return Gauge(name, text, multiprocess_mode=mode, **self._named(name, "gauge", labels))  # type: ignore[arg-type]

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(name, text, buckets=buckets, **self._named(name, "histogram", labels))  # type: ignore[arg-type]

    def _lengths(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Lengths:
        return Lengths(name, text, buckets=buckets, **self._named(name, "histogram", labels))  # type: ignore[arg-type]

    # Counting

    def carried(self, transport: str) -> Carried:
        """Return what counts for one transport."""
        carried = self._carried.get(transport)
        if carried is None:
            parts = self._of(self.deliveries, transport), self._of(self.written, transport)
            carried = self._carried[transport] = Carried(*parts, self.delivery.labels(transport))
        return carried

    def attached(self, transport: str, outcome: str) -> None:
        """Count a request to attach, by what came of it."""
        self._of(self.attaches, transport, outcome).add()

    def published_by(self, outcome: str) -> Tally:
        """Return what counts events taken from publishers, by what came of them."""
        return self._of(self.published, outcome)

    def resumed(self, source: str) -> None:
        """Count a cursor that was read on from the window, or the log."""
        self._of(self.resumes, source).add()

    def answered(self, method: str, route: str | None, status: int) -> None:
        """Count an answer; `route` is a template of ours, `None` when there is nothing at the address."""
        self._of(self.http, method if method in _METHODS else OTHER, route or OTHER, status).add()

    def polled(self, transport: str, route: str, status: int) -> Polled:
        """Return what counts the polls that are answered at once, with one status."""
        polled = self._polled.get((transport, status))
        if polled is None:
            answers = (self._of(self.attaches, transport, ACCEPTED), self._of(self.http, "GET", route, status))
            resumed = self._of(self.resumes, "window")
            polled = self._polled[transport, status] = Polled(answers, resumed, self.carried(transport))
        return polled

    def _of(self, counter: Counter, *labels: str | int) -> Tally:
        """Return what counts for one series of a metric."""
        tally = self._tallies.get((counter, *labels))
        if tally is None:
            tally = self._tallies[counter, *labels] = Tally(counter.labels(*labels))
        return tally

    def settle(self) -> None:
        """Put what was counted beside the metrics into them: before they are told, and once a second for the others."""
        for polled in self._polled.values():
            polled.settle()
        for tally in self._tallies.values():
            tally.settle()

    def limit_hit(self, kind: str) -> None:
        """Count a request that met a limit; `kind` is one of our own words."""
        self.limit_hits.labels(kind).inc()

    def asked_redis(self, seconds: float | None) -> None:
        """Note how long a command took; `None`: it failed."""
        if seconds is None:
            self.redis_errors.inc()
        else:
            self.redis.observe(seconds)

    # Telling

    def text(self) -> bytes:
        """Write the metrics of the whole gateway in Prometheus's text format."""
        self.settle()
        if self._folder is None:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, self._folder)
        for _ in range(_TRIES - 1):
            try:
                return generate_latest(registry)
            except (struct.error, RuntimeError, OSError):  # a file that a worker has just begun, or that was taken away
                time.sleep(_AGAIN_S)
        return generate_latest(registry)


def bury(share: Share) -> None:
    """Take away the gauges of a worker that has ended; its counters stay, for the one that takes its place."""
    mark_process_dead(share.worker, share.folder)
