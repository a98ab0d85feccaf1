"""The composition root: the only module that sees everything, and makes one service of it."""

from __future__ import annotations

import asyncio
import secrets
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from quart import Quart

from admin.api import Api
from admin.console import Console
from admin.desk import DRAINED, PREVIEWED, Desk
from admin.feed import FEED, Feed
from admin.operations import OPERATIONS as ADMINISTRATION
from admin.session import Sessions
from policies.difference import differences
from policies.document import parse
from policies.policy import compiled
from realtime.attach import Attacher, Channel
from realtime.auth import Credentials
from realtime.channel.appends import Appends
from realtime.channel.follower import Follower
from realtime.channel.log import Limits as HistoryLimits
from realtime.channel.log import Log
from realtime.channel.reader import Replays
from realtime.channel.window import Window
from realtime.config import Live, resolve_secret
from realtime.connect import check, connect
from realtime.connections import Connections, end_revoked
from realtime.control import Control
from realtime.cors import Cors
from realtime.delivery.hub import Hub
from realtime.delivery.meter import Meter
from realtime.delivery.wheel import Wheel
from realtime.dispatch import Dispatcher, Front, Taker
from realtime.drain import Drain
from realtime.fleet import Fleet, Member, Vitals
from realtime.gauges import Gauges, Parts
from realtime.history import History
from realtime.known import KnownClients
from realtime.leases import Leases
from realtime.limits import Limits
from realtime.load import Load
from realtime.metrics import Metrics
from realtime.migration import Migration
from realtime.moves import Moves
from realtime.negotiate import Negotiator
from realtime.offers import Offers
from realtime.openapi.document import Document
from realtime.openapi.hot import operations
from realtime.openapi.pages import Reference
from realtime.openapi.service import OPERATIONS
from realtime.operations import Instruments, Operations
from realtime.peer import Proxies
from realtime.plan import Planner
from realtime.presence import Presence
from realtime.publish import Publisher
from realtime.rates import Rates
from realtime.reports import Reports
from realtime.revisions import Revisions
from realtime.revocations import Revocations
from realtime.routes import Routes
from realtime.serving import Serving
from realtime.standing import Standings
from realtime.telemetry import report_errors, spans

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from realtime.config import Settings, Taken
    from realtime.control import Data
    from realtime.metrics import Share

_BLOCKED_READ_S = 3.0
_CONNECTIONS = 64
_KEYS_EVERY_S = 300.0
_SHOWN = 10

_log = structlog.get_logger("gapless.policy")


class Service:
    """One gateway worker: the channel, the engine, and the HTTP around them.

    `asgi` is the application; its lifespan starts and stops the service. `quart` may be given more pages.
    """

    def __init__(
        self, settings: Settings, redis_url: str, member: Member | None = None, share: Share | None = None
    ) -> None:
        """Put the parts together; nothing runs before `start`. `member` says which worker of which gateway this is.

        `share` is where it keeps its metrics when it is one of several workers.

        Raises:
            ConfigError: the settings can't be used.
        """
        self.member = member or Member(gateway_id(), 1)
        report_errors(settings)
        self._tracer = spans(settings)
        self.metrics = metrics = Metrics(share)
        self._is_alone = share is None
        self.live = Live(settings)
        self._policy_found = settings.policy
        secret = resolve_secret(settings)
        self.credentials = Credentials(settings, secret)
        self.sessions = Sessions(secret, self.credentials, settings)
        self.quart = Quart("realtime", static_folder=None)
        self._redis = connect(redis_url, settings.redis.timeout / 1000, _CONNECTIONS)
        wheel = Wheel()
        self.load = Load(wheel)
        self._hub = Hub(wheel, Meter(metrics), settings.delivery.stalled)
        self._follower = _follower(settings, Log(self._redis, _history_limits(settings)), redis_url, self._hub)
        self._running: list[asyncio.Task[None]] = []
        self._drain = Drain(self._hub, self.live)
        presence = Presence()
        self._standings = Standings()
        self._offers = Offers(settings)
        self._control = Control(self._redis, lambda: connect(redis_url, _BLOCKED_READ_S, 1), wheel)
        self._feed = Feed(self._control, self.sessions, self._offers.transports["sse"], settings)
        self._follower.log.timed = self._control.log.timed = metrics.asked_redis
        connections = Connections(self._control, self.member, self._hub, presence)
        moves = Moves(self._offers, connections.farewell, metrics)
        self._migration = Migration(self._offers, moves, self._hub, presence)
        self.revisions = Revisions(self._control, settings.policy, self._offers)
        self._revocations = Revocations(self._control, self._end_revoked)
        self.credentials.revoked = self._revocations
        self._leases = Leases(self._redis, self.member)
        vitals = Vitals(self.member, self._follower, self._hub, presence)
        self._fleet = Fleet(self._control, vitals, self.revisions, self._leases.renewal)
        self._parts = Parts(self._follower, self._control, self.revisions, self._fleet, vitals, self._drain, self.load)
        self._gauges = Gauges(metrics, self._parts)
        self._control.on(PREVIEWED, self._preview)
        self._control.on(DRAINED, self._drained)
        self._rates = Rates(settings.limits, self._redis, metrics)
        self.credentials.failed = self._rates.failed
        self.desk = Desk(self._offers, self.revisions, self._revocations, self._fleet, self._control)
        dispatcher = self._dispatcher(settings, moves, presence)
        self._serve_pages()
        cors, proxies = Cors(settings.cors.origins), Proxies(settings.server)
        self.asgi = Front(dispatcher, self.quart, cors, proxies, metrics, self._tracer)
        self.taker = Taker(dispatcher, proxies)
        self._offers.on_change(self._standings.forget)
        self.live.on_change(self._offers.recatalogue)
        self.live.on_change(self.credentials.take)
        self.live.on_change(lambda changed: cors.allow(changed.cors.origins))

    def _dispatcher(self, settings: Settings, moves: Moves, presence: Presence) -> Dispatcher:
        """Put together what serves the hot endpoints."""
        planner = Planner(self.live, Serving(self._offers, moves), self.credentials, self._follower, self.load)
        channel = Channel(self._follower, Replays(self._follower), self._hub, presence, self._migration)
        limits = Limits(settings, self._leases, self._control, self._hub, self.metrics)
        dispatcher = Dispatcher(
            self._offers.transports,
            Attacher(self._standings, self.credentials, planner, limits, channel),
            KnownClients(self._standings, planner, limits, channel, moves.farewell, self.metrics),
            Publisher(Appends(self._follower.log), settings.history.max_event_bytes, self.metrics),
            self.credentials,
            self._rates,
            self._follower,
            self.metrics,
        )
        dispatcher.feed(FEED, self._feed.attach)
        return dispatcher

    def _serve_pages(self) -> None:
        """Give the framework what it serves."""
        metrics = self.metrics
        negotiator = Negotiator(self.live, self._offers, self.credentials, self._follower, metrics)
        history, reports = History(self._follower), Reports(self._offers, metrics)
        Routes(self.live, self.credentials, negotiator, history, reports, self._rates).register(self.quart)
        Operations(self.credentials, Instruments(metrics, self._gauges, self._parts)).register(self.quart)
        Api(self.desk, self.credentials).register(self.quart)
        Console(self.desk, self.sessions).register(self.quart)
        hot = operations(self._offers.transports.values())
        self.reference = Reference(self.quart, Document((*hot, *OPERATIONS, *ADMINISTRATION)))
        self.quart.before_serving(self.start)
        self.quart.after_serving(self.stop)

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
        self.load.begin()
        if not self._is_alone:
            self._running.append(asyncio.create_task(self._gauges.run()))
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
        return self._parts.is_ready

    def reload(self, found: Settings) -> Taken:
        """Take on what can be of a configuration that was read anew; its policy is told of, and never applied."""
        edited = found.policy != self._policy_found
        self._policy_found = found.policy
        ahead = differences(self.revisions.document.dump(), found.policy.with_transports(self._offers.catalogue).dump())
        if edited and ahead and self.member.worker == 1:
            _log.warning(
                "the policy in the configuration differs from the one in force, and is not applied",
                revision=self.revisions.current.number,
                paths=[change.path for change in ahead[:_SHOWN]],
                see="gapless policy diff",
                apply="gapless policy apply",
            )
        return self.live.take(found)

    def _end_revoked(self) -> None:
        self._standings.forget()
        end_revoked(self._hub, self._revocations)
        self._feed.end_revoked(self._revocations)

    def _preview(self, data: Data) -> Awaitable[object]:
        policy = compiled(parse(data["policy"]), self._offers.catalogue, tolerant=True)
        return self._migration.preview(policy)

    def _drained(self, data: Data) -> None:
        if data["gateway"] == self.member.gateway:
            self._drain.begin()

    async def drain(self) -> None:
        """Take nobody new, and send everybody away in their time."""
        await self._drain.finish()

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
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.stop)


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
    return Follower(log, window, lambda: connect(redis_url, _BLOCKED_READ_S, 1), hub, settings.delivery.join)
