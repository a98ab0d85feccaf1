"""What the console shows, as values for its templates: pure functions of what the desk knows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from admin.bodies import time_of
from policies.buckets import control_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from admin.desk import Explanation, Gateway
    from policies.difference import Change
    from policies.document import Arm, Document, Parameters, Rollout, Rule, When
    from realtime.fleet import Sample
    from realtime.revision import Dropped, Revision

_LONGEST_VALUE: Final = 160
_MOST_ROWS: Final = 50
_SECOND: Final = 1000
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_NOTHING: Final = "–"
_STATES: Final = {"visiting": "polls"}


class Fact(NamedTuple):
    """One thing that is said of something."""

    name: str
    text: str


class Traffic(NamedTuple):
    """How one transport fares over all gateways."""

    connections: int
    p50: str
    p95: str


class TransportView(NamedTuple):
    """A transport, its switch and its traffic."""

    name: str
    tone: int
    """Its place, which gives its colour."""
    enabled: bool
    traffic: Traffic
    parameters: str


class RuleView(NamedTuple):
    """A rule, in words."""

    name: str
    when: str
    then: str


class ArmView(NamedTuple):
    """One arm of a rollout."""

    name: str
    weight: str
    is_control: bool
    then: str


class RolloutView(NamedTuple):
    """A rollout and its arms, control last: the others take from it."""

    name: str
    when: str
    arms: Sequence[ArmView]


class GatewayView(NamedTuple):
    """A gateway."""

    id: str
    version: str
    revision: str
    state: str
    connections: int
    by_transport: str
    workers: int
    lag: str
    started_at: str | None


class RevisionView(NamedTuple):
    """One change of the policy."""

    number: int
    by: str
    at: str | None
    reason: str
    changes: Sequence[ChangeView]
    dropped: Sequence[DroppedView]
    is_current: bool


class DroppedView(NamedTuple):
    """A change that was dropped, and who made it."""

    number: int
    by: str
    at: str | None
    reason: str
    changes: Sequence[ChangeView]


class ChangeView(NamedTuple):
    """One value that changed."""

    path: str
    before: str
    after: str


class ConnectionView(NamedTuple):
    """One client that is connected."""

    sub: str
    is_anonymous: bool
    session: str
    transport: str
    told: str
    """The transport that it was told to use, where it is on another."""
    client: str
    state: str
    since: str
    behind: str
    gateway: str


class Summary(NamedTuple):
    """The whole fleet in five figures."""

    connections: int
    ready: int
    gateways: int
    p95: str
    lag: str


class Found(NamedTuple):
    """What a search found: the first rows, and how many there are."""

    rows: Sequence[ConnectionView]
    total: int


# --- figures ----------------------------------------------------------------------------------------------------------


def summary(gateways: Sequence[Gateway], samples: Sequence[Sample]) -> Summary:
    """Sum the fleet up."""
    worst = max((ms[1] for sample in samples for ms in sample.latency_ms.values()), default=None)
    lag = max((sample.lag_ms for sample in samples), default=0)
    connections = sum(sum(one.connections.values()) for one in gateways)
    ready = sum(1 for one in gateways if one.is_ready)
    return Summary(connections, ready, len(gateways), _ms(worst), _ms(lag))


def traffic(name: str, samples: Iterable[Sample]) -> Traffic:
    """Tell how a transport fares: the medians weighted by connections, and the worst worker's 95th percentile."""
    told = [(sample.connections.get(name, 0), sample.latency_ms.get(name)) for sample in samples]
    heard = [(max(1, count), ms) for count, ms in told if ms]
    weight = sum(count for count, _ in heard)
    median = sum(count * ms[0] for count, ms in heard) / weight if weight else None
    worst = max((ms[1] for _, ms in heard), default=None)
    return Traffic(sum(count for count, _ in told), _ms(median), _ms(worst))


def transports(document: Document, samples: Sequence[Sample]) -> list[TransportView]:
    """Describe each transport."""
    return [
        TransportView(name, index, switch.enabled, traffic(name, samples), _parameters(switch))
        for index, (name, switch) in enumerate(document.transports.items())
    ]


def gateway(one: Gateway) -> GatewayView:
    """Describe a gateway."""
    revisions = sorted({worker.revision for worker in one.workers})
    state = "draining" if one.is_draining else "ready" if one.is_ready else "not ready"
    return GatewayView(
        id=one.id,
        version=", ".join(sorted({worker.version for worker in one.workers})),
        revision=", ".join(map(str, revisions)),
        state=state,
        connections=sum(one.connections.values()),
        by_transport=", ".join(f"{name} {count:,}" for name, count in sorted(one.connections.items())),
        workers=len(one.workers),
        lag=_ms(max(worker.lag_ms for worker in one.workers)),
        started_at=time_of(min(worker.started for worker in one.workers)),
    )


# --- the policy -------------------------------------------------------------------------------------------------------


def rules(document: Document) -> list[RuleView]:
    """Describe the rules."""
    return [RuleView(rule.name, _when(rule.when), _then(rule)) for rule in document.rules]


def rollouts(document: Document) -> list[RolloutView]:
    """Describe the rollouts."""
    return [_rollout(one) for one in document.rollouts]


def _rollout(one: Rollout) -> RolloutView:
    control = control_of(one.arms)
    names = [*sorted(name for name in one.arms if name != control), control]
    arms = [ArmView(name, f"{one.arms[name].weight:g}", name == control, _then(one.arms[name])) for name in names]
    return RolloutView(one.name, _when(one.when), arms)


def _when(when: When) -> str:
    conditions = when.model_dump(mode="json", exclude_none=True)
    texts = (f"{name}: {value if isinstance(value, str) else ', '.join(value)}" for name, value in conditions.items())
    return "; ".join(texts) or "everyone"


def _then(one: Rule | Arm) -> str:
    parts = [", ".join(one.preference)] if one.preference else []
    parts += [f"{name}: {_parameters(given)}" for name, given in one.parameters.items()]
    return "; ".join(parts) or "as without it"


def _parameters(given: Parameters) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_ms(value)}" for name, value in given.given().items())


def revision(one: Revision, current: int) -> RevisionView:
    """Describe a change."""
    dropped = [DroppedView(each.number, each.by, time_of(each.at), each.reason, _shown(each)) for each in one.dropped]
    return RevisionView(one.number, one.by, time_of(one.at), one.reason, _shown(one), dropped, one.number == current)


def _shown(one: Revision | Dropped) -> list[ChangeView]:
    return [change(each) for each in one.changes]


def change(one: Change) -> ChangeView:
    """Describe one value that changed."""
    return ChangeView(one.path, _json(one.before), _json(one.after))


def _json(value: Any) -> str:  # noqa: ANN401 - any value of a document
    if value is None:
        return "not set"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


# --- clients ----------------------------------------------------------------------------------------------------------


def found(connections: Sequence[Mapping[str, Any]]) -> Found:
    """Describe who is connected."""
    return Found([_connection(one) for one in connections[:_MOST_ROWS]], len(connections))


def _connection(one: Mapping[str, Any]) -> ConnectionView:
    seen = "seen" if "seen_ms" in one else "for"
    age_ms = one.get("seen_ms", one.get("connected_ms", 0))
    client = one["client"]
    known = ("platform", "app_version", "network", "state", "sdk")
    return ConnectionView(
        sub=one["sub"] or "anonymous",
        is_anonymous=one["sub"] is None,
        session=one["session"],
        transport=one["transport"],
        told=one["first"] if one["first"] not in {"", one["transport"]} else "",
        client=" · ".join(client[name] for name in known if name in client) or _NOTHING,
        state=_STATES.get(one["state"], one["state"]),
        since=f"{seen} {lasting(age_ms)}{' ago' if seen == 'seen' else ''}",
        behind=_ms(one["behind_ms"]),
        gateway=f"{one['gateway']}/{one['worker']}",
    )


def proposal(one: Mapping[str, Any]) -> dict[str, Any]:
    """Put a connected client as it would negotiate, so that its decision can be explained."""
    client = {"id" if name == "client_id" else name: text for name, text in one["client"].items()}
    return {
        "sub": one["sub"],
        "roles": one["roles"],
        "channel": one["channel"],
        "transports": one["supported"] or None,
        "client": client,
        "failed": [{"transport": name, "reason": "refused"} for name in one["failed"]],
    }


def verdict(explanation: Explanation, one: Mapping[str, Any] | None = None) -> str:
    """Say in a sentence what was decided, and what of it a connected client does."""
    first = explanation.decision.first
    if first is None:
        return "No transport is left for this client: it is told to come back later."
    if one is None:
        return f"This client would be told to use {first}."
    if one["transport"] == first:
        return f"It is on {first}, as decided."
    return f"It is on {one['transport']}, and is to use {first}: it is on its way, or chose for itself."


# --- words ------------------------------------------------------------------------------------------------------------


def facts(pairs: Mapping[str, object]) -> list[Fact]:
    """Describe parameters of a decision."""
    return [Fact(name.removesuffix("_ms").replace("_", " "), _ms(value)) for name, value in pairs.items()]


def lasting(ms: float) -> str:
    """Write how long something has lasted, by its largest unit."""
    seconds = int(ms) // _SECOND
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), _UNITS[-1])
    return f"{seconds // size} {unit}"


def _ms(value: Any) -> str:  # noqa: ANN401 - a number, or nothing
    if value is None:
        return _NOTHING
    if value < _SECOND:
        return f"{value:.0f} ms"
    return f"{value / _SECOND:.3g} s" if value < 60 * _SECOND else lasting(value)


def offers(explanation: Explanation) -> list[tuple[str, list[Fact]]]:
    """Describe the transports of a decision, in order."""
    return [(offer.name, facts(offer.parameters)) for offer in explanation.decision.transports]
