"""The composition root: the only module that sees everything, and makes one service of it."""

from __future__ import annotations

import asyncio
import secrets
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from quart import Quart

from admin.api import Api
from admin.desk import DRAINED, PREVIEWED, Desk
from admin.operations import OPERATIONS as ADMINISTRATION
from policies.document import parse
from policies.policy import compiled
from realtime.attach import Attacher, Channel
from realtime.auth import Credentials
from realtime.channel.follower import Follower
from realtime.channel.log import Limits as HistoryLimits
from realtime.channel.log import Log
from realtime.channel.reader import Replays
from realtime.channel.window import Window
from realtime.config import resolve_secret
from realtime.connect import check, connect
from realtime.connections import Connections
from realtime.control import Control
from realtime.cors import Cors
from realtime.delivery.hub import Hub
from realtime.delivery.wheel import Wheel
from realtime.dispatch import Dispatcher, Front
from realtime.drain import Drain
from realtime.fleet import Fleet, Member, Vitals
from realtime.history import History
from realtime.leases import Leases
from realtime.limits import Limits
from realtime.migration import Migration
from realtime.moves import Moves
from realtime.negotiate import Negotiator
from realtime.offers import Offers
from realtime.openapi.document import Document
from realtime.openapi.hot import operations
from realtime.openapi.pages import Reference
from realtime.openapi.service import OPERATIONS
from realtime.peer import Proxies
from realtime.plan import Planner
from realtime.presence import Presence
from realtime.publish import Publisher
from realtime.rates import Rates
from realtime.revisions import Revisions
from realtime.revocations import Revocations
from realtime.routes import Routes
from realtime.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from realtime.config import Settings
    from realtime.control import Data

_BLOCKED_READ_S = 3.0
_CONNECTIONS = 64
_KEYS_EVERY_S = 300.0


class Service:
    """One gateway worker: the channel, the engine, and the HTTP around them.

    `asgi` is the application; its lifespan starts and stops the service. `quart` may be given more pages.
    """

    def __init__(self, settings: Settings, redis_url: str, member: Member | None = None) -> None:
        """Put the parts together; nothing runs before `start`. `member` says which worker of which gateway this is.

        Raises:
            ConfigError: the settings can't be used.
        """
        self.member = member or Member(gateway_id(), 1)
        self.credentials = Credentials(settings, resolve_secret(settings))
        self.quart = Quart("realtime", static_folder=None)
        self._redis = connect(redis_url, settings.redis.timeout / 1000, _CONNECTIONS)
        wheel = Wheel()
        self._hub = Hub(wheel)
        self._follower = _follower(settings, Log(self._redis, _history_limits(settings)), redis_url, self._hub)
        self._running: list[asyncio.Task[None]] = []
        self._drain = Drain(self._hub, settings.server.drain, settings.sse.retry)
        presence = Presence()
        self._offers = Offers(settings)
        self._control = Control(self._redis, lambda: connect(redis_url, _BLOCKED_READ_S, 1), wheel)
        connections = Connections(self._control, self.member, self._hub, presence)
        moves = Moves(self._offers, connections.farewell)
        self._migration = Migration(self._offers, moves, self._hub, presence)
        self.revisions = Revisions(self._control, settings.policy, self._offers.catalogue, self._offers.adopt)
        self._revocations = Revocations(self._control, lambda: connections.end_revoked(self._revocations))
        self.credentials.revoked = self._revocations
        leases = Leases(self._redis, self.member)
        self._leases = leases
        self._fleet = Fleet(
            self._control, Vitals(self.member, self._follower, self._hub, presence), self.revisions, leases.renewal
        )
        self._control.on(PREVIEWED, self._preview)
        self._control.on(DRAINED, self._drained)
        planner = Planner(settings, Serving(self._offers, moves), self.credentials, self._follower)
        channel = Channel(self._follower, Replays(self._follower), self._hub, presence, self._migration)
        rates = Rates(settings.limits, self._redis)
        self.credentials.failed = rates.failed
        dispatcher = Dispatcher(
            self._offers.transports,
            Attacher(self.credentials, planner, Limits(settings, leases, self._control, self._hub), channel),
            Publisher(self._follower.log, settings.history.max_event_bytes),
            self.credentials,
            rates,
            self._follower,
        )
        negotiator = Negotiator(settings, self._offers, self.credentials, self._follower)
        Routes(settings, self.credentials, negotiator, History(self._follower), self._drain, rates).register(self.quart)
        self.desk = Desk(self._offers, self.revisions, self._revocations, self._fleet, self._control)
        Api(self.desk, self.credentials).register(self.quart)
        hot = operations(self._offers.transports.values())
        self.reference = Reference(self.quart, Document((*hot, *OPERATIONS, *ADMINISTRATION)))
        self.quart.before_serving(self.start)
        self.quart.after_serving(self.stop)
        self.asgi = Front(dispatcher, self.quart, Cors(settings.cors.origins), Proxies(settings.server))

    async def start(self) -> None:
        """Begin to follow the log.

        Raises:
            ConfigError: Redis does not answer, is too old, or would evict history.
        """
        await check(self._redis)
        parts = (
            self._follower,
            self._control.follower,
            self.revisions,
            self._revocations,
            self._migration,
            self._fleet,
        )
        self._running = [asyncio.create_task(part.run()) for part in parts]
        if self.credentials.fetches_keys:
            self._running.append(asyncio.create_task(self._refresh_keys()))

    async def _refresh_keys(self) -> None:
        """Look again and again which signing keys still count."""
        while True:
            await self.credentials.refresh()
            await asyncio.sleep(_KEYS_EVERY_S)

    @property
    def is_ready(self) -> bool:
        """Whether clients may be sent here: the window is filled, and the policy in force is known."""
        return self._follower.filled and self.revisions.is_loaded and not self._drain.has_begun

    def _preview(self, data: Data) -> Awaitable[object]:
        policy = compiled(parse(data["policy"]), self._offers.catalogue, tolerant=True)
        return self._migration.preview(policy)

    def _drained(self, data: Data) -> None:
        if data["gateway"] == self.member.gateway:
            self._drain.begin()

    def close_answers(self) -> None:
        """End every stream and every held answer, and begin none; their clients come back with their cursors."""
        self._hub.close()
        self._control.hub.close()

    async def stop(self) -> None:
        """End everything."""
        self.close_answers()
        running, self._running = self._running, []
        for task in running:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if running:  # in a task of its own: ours may be one that was cancelled, and then asks Redis nothing more
            await asyncio.create_task(self._fleet.stop())
            await asyncio.create_task(self._leases.stop())
        self._hub.wheel.stop()
        await self._redis.aclose()


def gateway_id() -> str:
    """Make the name of a gateway: its host's, and a part that tells this start from all others."""
    return f"{socket.gethostname()}-{secrets.token_hex(3)}"


def _history_limits(settings: Settings) -> HistoryLimits:
    history = settings.history
    return HistoryLimits(
        history.retention, history.scope_cap, history.topics_cap, history.max_bytes, history.idempotency
    )


def _follower(settings: Settings, log: Log, redis_url: str, hub: Hub) -> Follower:
    window = Window(settings.history.window_events, settings.history.window_bytes)
    return Follower(log, window, lambda: connect(redis_url, _BLOCKED_READ_S, 1), hub)
