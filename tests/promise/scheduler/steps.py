"""What may happen, and how a seed draws it. Pure.

A plan is a function of its seed. Any part of its steps is a plan too, so a failing one can be shrunk.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Final, NamedTuple

_MOST: Final = 1 << 16
_OPERATED_SHARE: Final = 0.25


class Step(NamedTuple):
    """One step: its kind, and numbers whose meaning is the kind's. A number is taken modulo what there is to choose."""

    kind: str
    a: int = 0
    b: int = 0
    c: int = 0

    def __str__(self) -> str:
        return f"{self.kind}({self.a}, {self.b}, {self.c})"


@dataclass(frozen=True)
class Setting:
    """How a history's gateways are configured, and how many there are."""

    gateways: int = 3
    window_events: int = 5
    window_bytes: int = 10_000
    retention_ms: int = 1_000_000
    scope_cap: int = 10_000
    topics_cap: int = 10_000
    max_bytes: int = 0
    is_operated: bool = False
    """Whether there is a control plane."""


@dataclass(frozen=True)
class Plan:
    """A history to be made."""

    seed: int
    setting: Setting
    steps: tuple[Step, ...]

    def only(self, steps: tuple[Step, ...]) -> Plan:
        """Return the same history with other steps."""
        return replace(self, steps=steps)


WEIGHTS: Final = {
    "publish": 24,
    "batch": 4,
    "key": 4,
    "follow": 10,
    "touch": 6,
    "tick": 14,
    "join": 8,
    "earliest": 2,
    "read": 26,
    "drain": 8,
    "long_poll": 6,
    "stream": 6,
    "lose_reply": 4,
    "lose_request": 3,
    "fill": 2,
    "demote": 2,
    "evict": 1,
    "recover": 5,
    "poison": 2,
    "snapshot": 9,
    "failover": 6,
    "split": 3,
    "heal": 3,
    "apart": 3,
    "go_back": 3,
    "crash": 6,
    "restore": 1,
    "flush": 1,
    "restart": 3,
    "restart_all": 1,
    "cut": 2,
    "pass_time": 8,
    "clock_back": 3,
    "clock_ahead": 2,
}
"""How often a kind of step is drawn, among all."""
_OPERATED: Final = {"hear": 30, "touch_control": 6, "change": 16, "revoke": 10, "lift": 3}
"""How often those of the control plane are, where there is one."""
_MUCH: Final = 5.0
_BOUNDS: Final = ("retention", "caps", "bytes", "nothing", "nothing")
KINDS: Final = (*WEIGHTS, *_OPERATED)

_ALWAYS: Final = {"publish", "tick", "join", "read", "snapshot"}
"""Without these nothing is seen."""
_SHARES: Final = (0.0, 0.5, 1.0, 3.0)
"""What a kind's weight is multiplied with in one history: what is rare on the whole is frequent in some, and what hides
it is absent (swarm testing)."""


@dataclass(frozen=True)
class Theme:
    """What histories are about: kinds of steps that they have many of, and what bounds history ("": as it comes)."""

    kinds: tuple[str, ...] = ()
    bound: str = ""


def draw(seed: int, theme: Theme = Theme()) -> Plan:
    """Draw a history."""
    random = Random(seed)
    setting = _setting(random, theme.bound)
    weights = {**WEIGHTS, **_OPERATED} if setting.is_operated else WEIGHTS
    shares = [weight * _share(random, kind, theme) for kind, weight in weights.items()]
    kinds = random.choices(list(weights), shares, k=random.choice((20, 40, 60, 90)))
    steps = tuple(Step(kind, *(random.randrange(_MOST) for _ in range(3))) for kind in kinds)
    return Plan(seed, setting, steps)


def _share(random: Random, kind: str, theme: Theme) -> float:
    share = random.choice(_SHARES)
    if kind in theme.kinds:
        return _MUCH
    return 1.0 if kind in _ALWAYS else share


def _setting(random: Random, bound: str) -> Setting:
    setting = Setting(
        gateways=random.choice((1, 2, 2, 3)),
        window_events=random.choice((1, 2, 4, 8, 50)),
        window_bytes=random.choice((200, 2_000, 100_000)),
        is_operated=random.random() < _OPERATED_SHARE,
    )
    match bound or random.choice(_BOUNDS):
        case "retention":
            return replace(setting, retention_ms=random.choice((2_000, 10_000)))
        case "caps":
            return replace(setting, scope_cap=random.choice((1, 2, 4)), topics_cap=random.choice((2, 5)))
        case "bytes":
            return replace(setting, max_bytes=random.choice((600, 1_500, 4_000)))
    return setting
