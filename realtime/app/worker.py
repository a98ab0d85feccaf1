"""One worker of a gateway, as whatever serves HTTP runs it."""

from __future__ import annotations

import asyncio
import secrets
import socket
from typing import TYPE_CHECKING, Final

import structlog
from quart import Quart

from admin.desk import Desk
from admin.session import Sessions
from policies.difference import differences
from realtime.app.engine import engine, promised
from realtime.app.pages import Pages
from realtime.app.plane import plane
from realtime.auth import Credentials
from realtime.caches import Caches
from realtime.config import Live, resolve_secret
from realtime.connect import check
from realtime.cors import Cors
from realtime.delivery.head import Heads
from realtime.dispatch import Front, Taker
from realtime.fleet import Member
from realtime.gauges import Gauges
from realtime.metrics import Metrics
from realtime.peer import Proxies
from realtime.rates import Rates
from realtime.telemetry import report_errors, spans
from realtime.witnesses import Witnesses

if TYPE_CHECKING:
    from realtime.config import Settings, Taken
    from realtime.metrics import Share

_KEYS_EVERY_S: Final = 300.0
_SHOWN: Final = 10

_log = structlog.get_logger("gapless.policy")


class Worker:
    """The channel, the engine, and the HTTP around them.

    `asgi` is the application; its lifespan starts and stops the worker. `quart` may be given more pages.
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
        self.metrics = Metrics(share)
        self._is_alone = share is None
        self.live = Live(settings)
        self._policy_found = settings.policy
        secret = resolve_secret(settings)
        self.credentials = Credentials(settings, secret)
        self.sessions = Sessions(secret, self.credentials, settings)
        self.engine = engine(redis_url, self.live, self.metrics)
        self._plane = plane(settings, redis_url, self.member, self.engine, self.metrics)
        self.revisions = self._plane.revisions
        logs = (self.engine.follower.log, self._plane.control.log)
        self._witnesses = Witnesses(settings.data_dir, f"{self.member.gateway}-{self.member.worker}", logs)
        self._gauges = Gauges(self.metrics, self._plane.parts)
        self._answer(settings)

    def _answer(self, settings: Settings) -> None:
        """Put together what answers."""
        offers, credentials = self._plane.offers, self.credentials
        rates = Rates(settings.limits, self.engine.redis, self.metrics)
        credentials.failed, credentials.revoked = rates.failed, self._plane.revocations
        self.desk = Desk(offers, self.revisions, self._plane.revocations, self._plane.fleet, self._plane.control)
        pages = Pages(self.live, credentials, self.sessions, rates, self.metrics, self.engine, self._plane)
        dispatcher = pages.dispatcher()
        self.quart = Quart("realtime", static_folder=None)
        self.reference = pages.register(self.quart, self.desk, self._gauges)
        self.quart.before_serving(self.start)
        self.quart.after_serving(self.stop)
        cors, proxies = Cors(settings.cors.origins), Proxies(settings.server)
        self.asgi = Front(dispatcher, self.quart, cors, proxies, self.metrics, self._tracer)
        bounds = self.engine.watch.bounds
        heads = Heads(bounds.head_bytes, bounds.head_fields)
        self.taker = Taker(dispatcher, proxies, heads, traces=self._tracer is not None)
        self.live.on_change(offers.recatalogue)
        self.live.on_change(credentials.take)
        self.live.on_change(lambda changed: cors.allow(changed.cors.origins))

    async def start(self) -> None:
        """Begin to follow the log.

        Raises:
            ConfigError: Redis does not answer, is too old, would evict history, or can't be as durable as is wanted.
        """
        await check(self.engine.redis, promised(self.live.settings))
        await self._witnesses.recall()
        tasks = {
            "witnesses": self._witnesses.run,
            "follower": self.engine.follower.run,
            "control-follower": self._plane.control.follower.run,
            "revisions": self.revisions.run,
            "revocations": self._plane.revocations.run,
            "migration": self._plane.migration.run,
            "fleet": self._plane.fleet.run,
        }
        if not self._is_alone:
            tasks["gauges"] = self._gauges.run
        tasks["caches"] = Caches((self.credentials, self._plane.offers, self.engine.standings, self.taker.heads)).run
        if self.credentials.fetches_keys:
            tasks["keys"] = self._refresh_keys
        for state in (self.revisions, self._plane.revocations):  # what can't be read now is read again, by its task
            await state.news.look(state.load)
        for name, work in tasks.items():
            self.engine.supervisor.start(name, work)
        self.engine.load.begin()

    async def _refresh_keys(self) -> None:
        """Look again and again which signing keys still count."""
        while True:
            await self.credentials.refresh()
            await asyncio.sleep(_KEYS_EVERY_S)

    @property
    def is_ready(self) -> bool:
        """Whether clients may be sent here: the window is filled, and the policy in force is known."""
        return self._plane.parts.is_ready

    def reload(self, found: Settings) -> Taken:
        """Take on what can be of a configuration that was read anew; its policy is told of, and never applied."""
        edited = found.policy != self._policy_found
        self._policy_found = found.policy
        wanted = found.policy.with_transports(self._plane.offers.catalogue)
        ahead = differences(self.revisions.document.dump(), wanted.dump())
        if edited and ahead and self.member.worker == 1:
            _log.warning(
                "the policy in the configuration differs from the one in force, and is not applied",
                revision=self.revisions.current.number,
                paths=[change.path for change in ahead[:_SHOWN]],
                see="gapless policy diff",
                apply="gapless policy apply",
            )
        return self.live.take(found)

    async def drain(self) -> None:
        """Take nobody new, and send everybody away in their time."""
        await self.engine.drain.finish()

    def close_answers(self) -> None:
        """End every stream and every held answer, and begin none; their clients come back with their cursors."""
        self.engine.hub.close()
        self._plane.control.hub.close()

    async def stop(self) -> None:
        """End everything."""
        self.close_answers()
        has_run = bool(self.engine.supervisor.names)
        await self.engine.supervisor.stop()
        if has_run:  # in a task of its own: ours may be one that was cancelled, and then asks Redis nothing more
            await asyncio.create_task(self._plane.fleet.stop())
            await asyncio.create_task(self._plane.leases.stop())
            await asyncio.create_task(self._witnesses.keep())
        self.engine.hub.wheel.stop()
        await self.engine.redis.aclose()
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.stop)


def gateway_id() -> str:
    """Make the name of a gateway: its host's, and a part that tells this start from all others."""
    return f"{socket.gethostname()}-{secrets.token_hex(3)}"
