"""Rates: how often somebody may do something, by the library `limits`; fixed windows.

What a user does is counted in Redis, over all gateways; bad credentials of an address in this process, for guessing
must cost us less than it costs who guesses. While Redis is away nobody is limited: it is away for publishing too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from limits import parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter as SharedWindow
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter as OwnWindow
from redis.exceptions import RedisError

from realtime.control import key
from realtime.errors import RateLimited

if TYPE_CHECKING:
    from limits import RateLimitItem
    from redis.asyncio import Redis

    from realtime.auth import Identity
    from realtime.config import LimitsSettings
    from realtime.metrics import Metrics
    from realtime.request import Request

_log = structlog.get_logger("gapless.limits")


class Rates:
    """The rates that are configured."""

    def __init__(self, settings: LimitsSettings, redis: Redis, metrics: Metrics) -> None:
        """Count in Redis, on the connections of a client of ours."""
        self._metrics = metrics
        given = {
            "publish": settings.publish_rate,
            "negotiate": settings.negotiate_rate,
            "report": settings.report_rate,
        }
        self._items: dict[str, RateLimitItem] = {name: parse(text) for name, text in given.items() if text}
        failed = settings.failed_credentials_rate
        self._failed = parse(failed) if failed else None
        pool: Any = redis.connection_pool  # passed on to redis-py, which the library's types don't foresee
        storage = RedisStorage("async+redis://", implementation="redispy", key_prefix=key("rate"), connection_pool=pool)
        self._shared = SharedWindow(storage)
        self._own = OwnWindow(MemoryStorage())

    async def check(self, what: str, identity: Identity, request: Request) -> None:
        """Count one more request of a user; of an address, where the client is anonymous.

        Raises:
            RateLimited: it is one too many.
        """
        item = self._items.get(what)
        if item is None:
            return
        who = f"address {request.peer}" if identity.sub is None else f"user {identity.channel} {identity.sub}"
        try:
            if await self._shared.hit(item, what, who):
                return
        except (RedisError, OSError, TimeoutError) as error:
            _log.debug("rate not counted", what=what, reason=type(error).__name__)
            return
        raise self._limited(what, item)

    def failed(self, request: Request) -> None:
        """Count one more bad credential of an address.

        Raises:
            RateLimited: it is one too many.
        """
        if self._failed is not None and request.peer and not self._own.hit(self._failed, "credential", request.peer):
            raise self._limited("failed credentials", self._failed)

    def _limited(self, what: str, item: RateLimitItem) -> RateLimited:
        kind = f"{what.replace(' ', '-')}-rate"
        self._metrics.limit_hit(kind)
        _log.info("limit hit", kind=kind)
        message = f"too many requests of this kind ({what}): at most {item} are granted; come back later"
        return RateLimited(message, headers={"Retry-After": str(max(1, min(item.get_expiry(), 60)))})
