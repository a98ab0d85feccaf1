"""Client reports: what a transport is like where clients are (PROTOCOL §4, Client reports).

Only counted, never kept: by transport, outcome, reason, and the arms of the rollouts that the reporter is in. A client
that reports without end counts once in ten seconds, like all others.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, StrictStr

from realtime.errors import InvalidField
from realtime.negotiate import Reason
from realtime.wording import hint, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client import Histogram

    from realtime.auth import Credential
    from realtime.metrics import Metrics
    from realtime.offers import Offers

_EVERY_S: Final = 10.0
_MOST: Final = 65_536
_MOST_LATENCIES: Final = 100
_LONGEST_MS: Final = 3_600_000

_BOUNDS: Final = Field(ge=0, le=_LONGEST_MS)
_Length = Annotated[StrictInt, _BOUNDS] | Annotated[StrictFloat, _BOUNDS]


class Report(BaseModel):
    """The body of a report. Unknown fields are ignored: a newer client may say more."""

    model_config = ConfigDict(frozen=True)

    session: Annotated[StrictStr, Field(min_length=1, max_length=255)]
    transport: StrictStr
    outcome: Literal["connected", "failed", "closed"]
    reason: Reason | None = None
    connect_ms: _Length | None = None
    first_event_ms: _Length | None = None
    latency_ms: Annotated[list[_Length], Field(max_length=_MOST_LATENCIES)] = []


class Reports:
    """Counts reports."""

    def __init__(self, offers: Offers, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        """Count what concerns the transports that are installed, and the rollouts of the policy in force."""
        self._offers = offers
        self._metrics = metrics
        self._clock = clock
        self._counted: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    def take(self, credential: Credential, report: Report) -> bool:
        """Count a report; tell whether it was the first of its session and transport in ten seconds.

        Raises:
            InvalidField: there is no such transport.
        """
        installed = self._offers.transports
        if report.transport not in installed:
            likest = hint(nearest(report.transport, installed))
            detail = f"transport: there is none of this name here: there are {', '.join(installed)}{likest}"
            raise InvalidField(detail, field="transport")
        if not self._is_first(credential, report):
            return False
        for arm in list(self._arms(credential)) or [""]:
            self._count(report, arm)
        return True

    def _is_first(self, credential: Credential, report: Report) -> bool:
        """Tell sessions apart: by the ticket that seals one, else by the subject and what it calls its session."""
        now, sub = self._clock(), credential.identity.sub or ""
        sealed = credential.ticket.session if credential.ticket is not None and credential.via == "query" else None
        key = (sub, sealed or report.session, report.transport)
        last = self._counted.get(key)
        if last is not None and now - last < _EVERY_S:
            return False
        self._counted[key] = now
        self._counted.move_to_end(key)
        while len(self._counted) > _MOST or now - next(iter(self._counted.values())) >= _EVERY_S:
            self._counted.popitem(last=False)
        return True

    def _arms(self, credential: Credential) -> Iterator[str]:
        """Return the sealed arms that the policy in force still has: a label takes no others."""
        sealed = credential.ticket.arms if credential.ticket is not None else {}
        for rollout in self._offers.policy.rollouts:
            if sealed.get(rollout.name) in rollout.arms:
                yield f"{rollout.name}/{sealed[rollout.name]}"

    def _count(self, report: Report, arm: str) -> None:
        metrics, transport = self._metrics, report.transport
        metrics.reports.labels(transport, report.outcome, _class(report.reason), arm).inc()
        _observe(metrics.connect, report.connect_ms, transport, arm)
        _observe(metrics.first_event, report.first_event_ms, transport, arm)
        for latency_ms in report.latency_ms:
            _observe(metrics.latency, latency_ms, transport, arm)


def _observe(histogram: Histogram, length_ms: float | None, *labels: str) -> None:
    if length_ms is not None:
        histogram.labels(*labels).observe(length_ms / 1000)


def _class(reason: str | None) -> str:
    """Return a reason as a label: five hundred statuses are five classes."""
    if reason is not None and reason.startswith("http-"):
        return f"{reason[:6]}xx"
    return reason or ""
