"""The engine: what events come in by, and who they go out to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from realtime.channel.durability import durability
from realtime.channel.follower import Follower
from realtime.channel.log import Limits, Log
from realtime.channel.window import Window
from realtime.connect import connect
from realtime.delivery.hub import Hub
from realtime.delivery.meter import Meter
from realtime.delivery.watch import Bounds, Watch
from realtime.delivery.wheel import Wheel
from realtime.drain import Drain
from realtime.load import Load
from realtime.presence import Presence
from realtime.standing import Standings
from realtime.supervisor import Supervisor

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from realtime.channel.durability import Durability
    from realtime.config import HistorySettings, LimitsSettings, Live, Settings
    from realtime.metrics import Metrics

_CONNECTIONS: Final = 64
_BLOCKED_READ_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Engine:
    """The log as it is followed, and those that hang on it."""

    redis: Redis
    follower: Follower
    hub: Hub
    watch: Watch
    presence: Presence
    standings: Standings
    drain: Drain
    load: Load
    supervisor: Supervisor


def engine(redis_url: str, live: Live, metrics: Metrics) -> Engine:
    """Put an engine together on a log; nothing runs yet."""
    settings = live.settings
    redis = connect(redis_url, settings.redis.timeout / 1000, _CONNECTIONS)
    log = log_of(redis, settings)
    log.timed = metrics.asked_redis
    wheel = Wheel()
    hub = Hub(wheel, Meter(metrics), settings.delivery.stalled)
    window = Window(settings.history.window_events, settings.history.window_bytes)
    follower = Follower(log, window, lambda: waiting(redis_url), hub, settings.delivery.join)
    load = Load(wheel)
    watch = Watch(wheel, _bounds(settings.limits), load.stretch)
    return Engine(redis, follower, hub, watch, Presence(), Standings(), Drain(hub, live), load, Supervisor())


def waiting(redis_url: str) -> Redis:
    """Connect once more, for reads that wait."""
    return connect(redis_url, _BLOCKED_READ_S, 1)


def log_of(redis: Redis, settings: Settings) -> Log:
    """Make the channel's log."""
    return Log(redis, _limits(settings.history))


def promised(settings: Settings) -> Durability:
    """Return what an append waits for before it is acknowledged."""
    return durability(settings.history.durability, settings.redis.timeout)


def _limits(history: HistorySettings) -> Limits:
    return Limits(history.retention, history.scope_cap, history.topics_cap, history.max_bytes, history.idempotency)


def _bounds(limits: LimitsSettings) -> Bounds:
    return Bounds(limits.head_bytes, limits.head_fields, limits.head_timeout, limits.body_timeout, limits.body_rate)
