"""The composition root: the only module that sees everything, and makes one service of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from quart import Quart

from realtime.attach import Attacher, Channel
from realtime.auth import Credentials
from realtime.channel.follower import Follower
from realtime.channel.log import Limits, Log
from realtime.channel.reader import Replays
from realtime.channel.window import Window
from realtime.config import resolve_secret
from realtime.connect import check, connect
from realtime.cors import Cors
from realtime.delivery.hub import Hub
from realtime.delivery.wheel import Wheel
from realtime.dispatch import Dispatcher, Front
from realtime.history import History
from realtime.negotiate import Negotiator
from realtime.offers import Offers
from realtime.plan import Planner
from realtime.publish import Publisher
from realtime.routes import Routes

if TYPE_CHECKING:
    from realtime.config import Settings

_BLOCKED_READ_S = 3.0
_CONNECTIONS = 64
_KEYS_EVERY_S = 300.0


class Service:
    """One gateway worker: the channel, the engine, and the HTTP around them.

    `asgi` is the application; its lifespan starts and stops the service. `quart` may be given more pages.
    """

    def __init__(self, settings: Settings, redis_url: str) -> None:
        """Put the parts together; nothing runs before `start`.

        Raises:
            ConfigError: the settings can't be used.
        """
        self.credentials = Credentials(settings, resolve_secret(settings))
        self.quart = Quart("realtime")
        self._redis = connect(redis_url, settings.redis.timeout / 1000, _CONNECTIONS)
        self._hub = Hub(Wheel())
        self._follower = _follower(settings, Log(self._redis, _limits(settings)), redis_url, self._hub)
        self._running: list[asyncio.Task[None]] = []
        offers = Offers(settings)
        channel = Channel(self._follower, Replays(self._follower), self._hub)
        dispatcher = Dispatcher(
            offers.transports,
            Attacher(self.credentials, Planner(settings, offers, self.credentials, self._follower), channel),
            Publisher(self._follower.log, settings.history.max_event_bytes),
            self.credentials,
            self._follower,
        )
        negotiator = Negotiator(settings, offers, self.credentials, self._follower)
        Routes(settings, self.credentials, negotiator, History(self._follower)).register(self.quart)
        self.quart.before_serving(self.start)
        self.quart.after_serving(self.stop)
        self.asgi = Front(dispatcher, self.quart, Cors(settings.cors.origins))

    async def start(self) -> None:
        """Begin to follow the log.

        Raises:
            ConfigError: Redis does not answer, is too old, or would evict history.
        """
        await check(self._redis)
        self._running = [asyncio.create_task(self._follower.run())]
        if self.credentials.fetches_keys:
            self._running.append(asyncio.create_task(self._refresh_keys()))

    async def _refresh_keys(self) -> None:
        """Look again and again which signing keys still count."""
        while True:
            await self.credentials.refresh()
            await asyncio.sleep(_KEYS_EVERY_S)

    @property
    def is_ready(self) -> bool:
        """Whether clients may be sent here: the window is filled."""
        return self._follower.filled

    def close_answers(self) -> None:
        """End every stream and every held answer, and begin none; their clients come back with their cursors."""
        self._hub.close()

    async def stop(self) -> None:
        """End everything."""
        self.close_answers()
        for task in self._running:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._hub.wheel.stop()
        await self._redis.aclose()


def _limits(settings: Settings) -> Limits:
    history = settings.history
    return Limits(history.retention, history.scope_cap, history.topics_cap, history.max_bytes, history.idempotency)


def _follower(settings: Settings, log: Log, redis_url: str, hub: Hub) -> Follower:
    window = Window(settings.history.window_events, settings.history.window_bytes)
    return Follower(log, window, lambda: connect(redis_url, _BLOCKED_READ_S, 1), hub)
