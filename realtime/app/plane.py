"""The control plane: what operators decide, what every worker makes of it, and how the workers know of each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from admin.desk import DRAINED, PREVIEWED
from policies.document import parse
from policies.policy import compiled
from realtime.app.engine import promised, waiting
from realtime.connections import Connections, end_revoked
from realtime.control import Control
from realtime.fleet import Fleet, Vitals
from realtime.gauges import Parts
from realtime.leases import Leases
from realtime.migration import Migration
from realtime.moves import Moves
from realtime.offers import Offers
from realtime.revisions import Revisions
from realtime.revocations import Revocations

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from realtime.app.engine import Engine
    from realtime.config import Settings
    from realtime.control import Data
    from realtime.fleet import Member
    from realtime.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Plane:
    """The control log, and what hears of it."""

    control: Control
    offers: Offers
    moves: Moves
    migration: Migration
    revisions: Revisions
    revocations: Revocations
    leases: Leases
    fleet: Fleet
    parts: Parts
    """What is read of it and of the engine, to tell how the worker is."""


def plane(settings: Settings, redis_url: str, member: Member, engine: Engine, metrics: Metrics) -> Plane:
    """Put the control plane of a worker together; nothing runs yet.

    Raises:
        ConfigError: a plug-in is not usable, or the policy names a transport that is not installed.
    """
    hub, presence = engine.hub, engine.presence
    offers = Offers(settings)
    offers.on_change(engine.standings.forget)
    control = Control(engine.redis, lambda: waiting(redis_url), hub.wheel, promised(settings))
    control.log.timed = metrics.asked_redis
    moves = Moves(offers, Connections(control, member, hub, presence).farewell, metrics)
    migration = Migration(offers, moves, hub, presence)
    revisions = Revisions(control, settings.policy, offers)
    leases = Leases(engine.redis, member)
    vitals = Vitals(member, engine.follower, hub, presence)
    fleet = Fleet(control, vitals, revisions, leases.renewal)
    parts = Parts(engine.follower, control, revisions, fleet, vitals, engine.drain, engine.load, engine.supervisor)
    revocations = _revocations(control, engine)
    _obey(control, member, engine, offers, migration)
    return Plane(control, offers, moves, migration, revisions, revocations, leases, fleet, parts)


def _revocations(control: Control, engine: Engine) -> Revocations:
    """Keep who is refused; what they have open ends, of the channel and of the console."""

    def ended() -> None:
        engine.standings.forget()
        for hub in (engine.hub, control.hub):
            end_revoked(hub, revocations)

    revocations = Revocations(control, ended)
    return revocations


def _obey(control: Control, member: Member, engine: Engine, offers: Offers, migration: Migration) -> None:
    """Do what operators ask of every worker at their desk."""

    def preview(data: Data) -> Awaitable[object]:
        return migration.preview(compiled(parse(data["policy"]), offers.catalogue, tolerant=True))

    def drain(data: Data) -> None:
        if data["gateway"] == member.gateway:
            engine.drain.begin()

    control.on(PREVIEWED, preview)
    control.on(DRAINED, drain)
