"""Documents and clients of every kind, for properties."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from policies.decide import Context
from tests.policies.policies import CATALOGUE

NAMES = tuple(CATALOGUE)
PLATFORMS = ("ios", "android", "web")
VERSIONS = ("5.1", "5.2.0", "6.0b1", "nonsense")

preferences = st.lists(st.sampled_from(NAMES), min_size=1, unique=True)
slugs = st.builds("{}{}".format, st.sampled_from("abz09"), st.text("a-z0", max_size=6))
_durations = st.sampled_from(["50ms", "1s", "1500ms", "10m", 3])


@st.composite
def overlays(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    """Draw parameters that the transports take."""
    found = {}
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        taken = [key.removesuffix("_ms") for key in CATALOGUE[name]]
        taken += [] if "interval" in taken else ["min_interval"]
        found[name] = draw(st.dictionaries(st.sampled_from(taken), _durations))
    return found


def _values(*values: str) -> st.SearchStrategy[Any]:
    return st.sampled_from(values) | st.lists(st.sampled_from(values), min_size=1)


whens = st.fixed_dictionaries(
    {},
    optional={
        "platform": _values(*PLATFORMS),
        "network": _values("wifi", "cellular"),
        "state": _values("foreground", "background"),
        "sdk": _values("js/*", "js/1.0", "swift/*"),
        "sub": _values("*", "ada", "bob"),
        "role": _values("viewer", "admin"),
        "channel": _values("main", "tenant"),
        "app_version": st.sampled_from([">=5.2", ">=5.2,<6", "==6.0b1"]),
    },
)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a rule, but for its name."""
    rule: dict[str, Any] = {"when": draw(whens), "parameters": draw(overlays())}
    if not rule["parameters"] or draw(st.booleans()):
        rule["preference"] = draw(preferences)
    return rule


@st.composite
def arms(draw: st.DrawFn) -> dict[str, Any]:
    """Draw arms whose weights sum to 100."""
    names = draw(st.lists(slugs | st.just("control"), min_size=1, max_size=4, unique=True))
    cuts = sorted(draw(st.lists(st.integers(0, 10_000), min_size=len(names) - 1, max_size=len(names) - 1)))
    shares = [end - begin for begin, end in zip([0, *cuts], [*cuts, 10_000], strict=True)]
    found: dict[str, Any] = {}
    for name, share in zip(names, shares, strict=True):
        found[name] = {"weight": share / 100, "parameters": draw(overlays())}
        if draw(st.booleans()):
            found[name]["preference"] = draw(preferences)
    return found


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a document that the transports of the catalogue can carry."""
    switches = draw(overlays())
    return {
        "preference": draw(preferences),
        "transports": {name: {"enabled": draw(st.booleans()), **given} for name, given in switches.items()},
        "rules": [{"name": f"rule {n}", **rule} for n, rule in enumerate(draw(st.lists(rules(), max_size=2)))],
        "rollouts": [
            {"name": f"rollout-{n}", "when": draw(whens), "salt": draw(st.sampled_from(["", "s"])), "arms": one}
            for n, one in enumerate(draw(st.lists(arms(), max_size=2)))
        ],
    }


contexts = st.builds(
    Context,
    supported=st.none() | st.lists(st.sampled_from([*NAMES, "pigeon", ""]), unique=True).map(tuple),
    failed=st.frozensets(st.sampled_from([*NAMES, "pigeon"])),
    sub=st.none() | st.sampled_from(["ada", "bob", "\ud800"]),
    client_id=st.none() | st.sampled_from(["", "ada", "phone"]),
    channel=st.sampled_from(["main", "tenant"]),
    roles=st.frozensets(st.sampled_from(["viewer", "admin"])),
    platform=st.none() | st.sampled_from(PLATFORMS),
    app_version=st.none() | st.sampled_from(VERSIONS),
    network=st.none() | st.sampled_from(["wifi", "cellular"]),
    state=st.none() | st.sampled_from(["foreground", "background"]),
    sdk=st.none() | st.sampled_from(["js/1.0", "js/2", "swift/1"]),
)
