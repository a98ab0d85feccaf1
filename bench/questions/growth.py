"""Whether a delivery stays as cheap as everything grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.gateway import Gateway
from bench.loading import measure
from bench.plan import Audience, Client, Publisher
from bench.questions.question import Column, Figures, Goal, Question
from bench.questions.scopes import OWN_SCOPE
from bench.questions.single import CLIENTS, cost_of_a_delivery
from bench.questions.streams import streams

if TYPE_CHECKING:
    from bench.targets import Target

_EVENTS = {100: 100, 1_000: 30, 10_000: 15}
_RATE = {100: 50, 1_000: 20, 10_000: 5}
_SCOPES_EACH = 10
_BATCH = 500


def ask(target: Target) -> Figures:
    """Grow the number of clients; for ours, that of scopes and that of events in the window too."""
    found = {f"clients_{count}": _cost(target, count) for count in _EVENTS}
    found["clients_growth"] = found["clients_10000"] / found["clients_100"]
    if isinstance(target, Gateway):
        found |= _by_scopes(target) | _by_window(target)
    return found


def _cost(target: Target, count: int) -> float:
    with streams(target, count, Publisher(target.publication(), _EVENTS[count], rate=_RATE[count])) as running:
        measured = running.go()
    return measured.server_us / max(1, measured.report.received)


def _by_scopes(gateway: Gateway) -> Figures:
    """Give everyone the same scope, then ten of their own each."""
    one = _cost_with(gateway, [gateway.stream(user, scopes=("topic:all",)) for user in range(CLIENTS)], "topic:all")
    own = [tuple(f"topic:t-{user}-{n}" for n in range(_SCOPES_EACH - 1)) for user in range(CLIENTS)]
    clients = [gateway.stream(user, scopes=(*scopes, "topic:all")) for user, scopes in enumerate(own)]
    many = _cost_with(gateway, clients, "topic:all")
    return {"scopes_1": one, "scopes_10000": many, "scopes_growth": many / one}


def _by_window(gateway: Gateway) -> Figures:
    """Fill the window with events that nobody is given any more."""
    _fill(gateway, 1_000)
    few = cost_of_a_delivery(gateway, CLIENTS)["cost"]
    _fill(gateway, 100_000)
    many = cost_of_a_delivery(gateway, CLIENTS)["cost"]
    return {"window_1000": few, "window_100000": many, "window_growth": many / few}


def _cost_with(gateway: Gateway, clients: list[Client], scope: str) -> float:
    publisher = Publisher(gateway.publication(scope=scope), _EVENTS[CLIENTS], rate=_RATE[CLIENTS])
    measured = measure(Audience(gateway.port, {"sse": clients}, (publisher,)), gateway)
    return measured.server_us / max(1, measured.report.received)


def _fill(gateway: Gateway, events: int) -> None:
    """Publish events to the users' own scopes, while nobody listens."""
    publisher = Publisher(gateway.publication(_BATCH, OWN_SCOPE), events, lanes=4, users=CLIENTS)
    measure(Audience(gateway.port, {}, (publisher,)), gateway)
    gateway.publish()  # and wait until the gateway has it all


QUESTION = Question(
    name="growth",
    title="Growth: CPU for a delivery, in µs",
    explanation=(
        "Clients: single broadcasts. Scopes: 1,000 clients that share one, then have nine more of their own each. "
        "Window: 1,000 clients, after so many events to scopes of users."
    ),
    peers=("gapless", "floor"),
    group="growth",
    ask=ask,
    columns=(
        *(Column(f"clients_{count}", f"{count:,} clients") for count in _EVENTS),
        Column("clients_growth", "growth"),
        Column("scopes_1", "1 scope"),
        Column("scopes_10000", "9,001 scopes"),
        Column("scopes_growth", "growth"),
        Column("window_1000", "window of 1,000"),
        Column("window_100000", "window of 100,000"),
        Column("window_growth", "growth"),
    ),
    goals=(
        Goal("100 → 10,000 clients: ≤ 1.4 ×", "clients_10000", most=1.4, of="clients_100"),
        Goal("1 → 10,000 scopes: ≤ 1.4 ×", "scopes_10000", most=1.4, of="scopes_1"),
        Goal("window of 1,000 → 100,000 events: ≤ 1.4 ×", "window_100000", most=1.4, of="window_1000"),
    ),
    plotted=tuple(f"clients_{count}" for count in _EVENTS),
)
