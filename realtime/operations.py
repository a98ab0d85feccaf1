"""What operators and their machines ask: does it live, is it ready, how is it (PROTOCOL §4, Operations)."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from realtime import logs
from realtime.channel.log import NO_EVICTION
from realtime.errors import CredentialRequired, Draining, LogUnavailable, NotReady
from realtime.framework import answered, asked, json
from realtime.metrics import MEDIA_TYPE
from realtime.offers import EVENTS
from transports.transport import Answer

if TYPE_CHECKING:
    from quart import Quart, Response

    from realtime.auth import Credentials
    from realtime.gauges import Gauges, Parts
    from realtime.metrics import Metrics

_MAY_LOOK: Final = frozenset({"admin", "viewer"})
_METRICS_HEADERS: Final = ((b"content-type", MEDIA_TYPE.encode()), (b"cache-control", b"no-store"))


class Instruments(NamedTuple):
    """What is read, and from what."""

    metrics: Metrics
    gauges: Gauges
    parts: Parts


class Operations:
    """The handlers."""

    def __init__(self, credentials: Credentials, instruments: Instruments) -> None:
        """Answer with these; details are for those whom `credentials` knows as viewers or admins."""
        self._credentials = credentials
        self._metrics, self._gauges, self._parts = instruments

    def register(self, app: Quart) -> None:
        """Put the handlers on an application."""
        app.get("/livez")(self.live)
        app.get("/readyz")(self.ready)
        app.get("/metrics")(self.metrics)
        app.get(f"{EVENTS}/health")(self.health)

    async def live(self) -> Response:
        """Say that the process serves requests."""
        return json({"status": "ok"})

    async def ready(self) -> Response:
        """Say whether clients may be sent here: the window is filled, what it holds is kept, the policy is known.

        And we don't drain.
        """
        if self._parts.drain.has_begun:
            raise Draining("this gateway drains: send clients to another one")
        if not self._parts.follower.filled:
            raise LogUnavailable("this gateway has not read the log yet")
        if not self._parts.follower.is_vouched_for:
            policy = self._parts.follower.policy
            raise LogUnavailable(f"Redis may evict history: its maxmemory-policy is {policy}: set it to {NO_EVICTION}")
        if not self._parts.revisions.is_loaded:
            raise LogUnavailable(self._unknown_policy())
        failing = self._parts.supervisor.failing
        if failing:
            raise NotReady(f"these tasks of a worker keep ending: {', '.join(failing)}; its log says why")
        return json({"status": "ok"})

    def _unknown_policy(self) -> str:
        unread = self._parts.revisions.unread
        if not unread:
            return "this gateway does not know the policy in force yet"
        return f"this version can read neither revision {unread} of the policy nor any before it: update this gateway"

    async def metrics(self) -> Response:
        """Tell the metrics of this gateway, in Prometheus's text format."""
        self._gauges.read()
        return answered(Answer(200, _METRICS_HEADERS, self._metrics.text()))

    async def health(self) -> Response:
        """Say in a word how this gateway is, and to who may look, why."""
        parts = self._parts
        is_well = parts.is_ready and not parts.is_redis_away and not parts.revisions.is_stale
        status = {"status": "ok" if is_well else "degraded"}
        if not await self._may_look():
            return json(status)
        return json({**status, **self._details(), "redis": await self._redis()})

    async def _may_look(self) -> bool:
        try:
            credential = await self._credentials.authenticate_fresh(asked())
        except CredentialRequired:
            return False
        return not _MAY_LOOK.isdisjoint(credential.identity.roles)

    def _details(self) -> dict[str, Any]:
        parts, window, revisions = self._parts, self._parts.follower.window, self._parts.revisions
        member = parts.vitals.member
        samples = parts.fleet.samples()
        ours = [one for one in samples if one.gateway == member.gateway and one.worker != member.worker]
        workers = {member.worker: parts.vitals.connections()} | {one.worker: one.connections for one in ours}
        here = list(workers.values())
        others = [one.connections for one in samples if one.gateway != member.gateway]
        return {
            "gateway": member.gateway,
            "worker": member.worker,
            "ready": parts.is_ready,
            "draining": parts.drain.has_begun,
            "connections": {"gateway": _summed(here), "fleet": _summed([*here, *others])},
            "workers": {str(worker): connections for worker, connections in sorted(workers.items())},
            "tasks": {"failing": list(parts.supervisor.failing), "restarts": dict(parts.supervisor.restarts)},
            "lost_log_lines": logs.lost_lines(),
            "gateways": len({member.gateway, *(sample.gateway for sample in samples)}),
            "follower": {
                "lag_ms": parts.vitals.lag_ms,
                "position": str(window.position),
                "away": parts.follower.is_away,
                "eviction": parts.follower.policy,
            },
            "window": {"events": len(window), "bytes": window.bytes, "base": str(window.base)},
            "policy": {
                "revision": revisions.current.number,
                "stale": revisions.is_stale,
                "unread": revisions.unread,
            },
        }

    async def _redis(self) -> dict[str, Any]:
        begun = time.perf_counter()
        try:
            await self._parts.follower.log.execute("PING")
            trip_ms = round((time.perf_counter() - begun) * 1000, 3)
            server = await self._parts.follower.log.execute("INFO", "server")
        except LogUnavailable as error:
            return {"reachable": False, "reason": error.detail}
        version = server.get("valkey_version") or server.get("redis_version")
        return {"reachable": True, "round_trip_ms": trip_ms, "version": version}


def _summed(counts: list[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)
