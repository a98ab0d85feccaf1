"""What a worker answers by HTTP: the hot endpoints, past the framework, and the pages that the framework serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from admin.api import Api
from admin.console import Console
from admin.feed import FEED, Feed
from admin.operations import OPERATIONS as ADMINISTRATION
from realtime.app.engine import promised
from realtime.attach import Attacher, Channel
from realtime.channel.appends import Appends
from realtime.channel.reader import Replays
from realtime.dispatch import Dispatcher
from realtime.history import History
from realtime.known import KnownClients, Parts
from realtime.limits import Limits
from realtime.negotiate import Negotiator
from realtime.openapi.document import Document
from realtime.openapi.hot import operations
from realtime.openapi.pages import Reference
from realtime.openapi.service import OPERATIONS
from realtime.operations import Instruments, Operations
from realtime.plan import Planner
from realtime.publish import Publisher
from realtime.reports import Reports
from realtime.routes import Routes
from realtime.serving import Serving

if TYPE_CHECKING:
    from quart import Quart

    from admin.desk import Desk
    from admin.session import Sessions
    from realtime.app.engine import Engine
    from realtime.app.plane import Plane
    from realtime.auth import Credentials
    from realtime.config import Live
    from realtime.gauges import Gauges
    from realtime.metrics import Metrics
    from realtime.rates import Rates


@dataclass(frozen=True, slots=True)
class Pages:
    """What the answers are made of."""

    live: Live
    credentials: Credentials
    sessions: Sessions
    rates: Rates
    metrics: Metrics
    engine: Engine
    plane: Plane

    def dispatcher(self) -> Dispatcher:
        """Put together what serves the hot endpoints, and the console's feed."""
        engine, plane, settings = self.engine, self.plane, self.live.settings
        follower, metrics = engine.follower, self.metrics
        planner = Planner(self.live, Serving(plane.offers, plane.moves), self.credentials, follower, engine.load)
        limits = Limits(settings, plane.leases, plane.control, engine.hub, engine.watch, metrics)
        channel = Channel(follower, Replays(follower), engine.hub, engine.presence, plane.migration)
        transports = plane.offers.transports
        attacher = Attacher(engine.standings, self.credentials, planner, limits, channel)
        known = KnownClients(Parts(engine.standings, planner, limits, channel, plane.moves.farewell, metrics))
        publisher = Publisher(Appends(follower.log, promised(settings)), settings.history.max_event_bytes, metrics)
        dispatcher = Dispatcher(transports, attacher, known, publisher, self.credentials, self.rates, follower, metrics)
        dispatcher.feed(FEED, Feed(plane.control, self.sessions, transports["sse"], settings).attach)
        return dispatcher

    def register(self, app: Quart, desk: Desk, gauges: Gauges) -> Reference:
        """Give the framework what it serves; return the reference, which describes all of it."""
        offers, follower = self.plane.offers, self.engine.follower
        negotiator = Negotiator(self.live, offers, self.credentials, follower, self.metrics)
        history, reports = History(follower), Reports(offers, self.metrics)
        Routes(self.live, self.credentials, negotiator, history, reports, self.rates).register(app)
        Operations(self.credentials, Instruments(self.metrics, gauges, self.plane.parts)).register(app)
        Api(desk, self.credentials).register(app)
        Console(desk, self.sessions).register(app)
        return Reference(app, Document((*operations(offers.transports.values()), *OPERATIONS, *ADMINISTRATION)))
