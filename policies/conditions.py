"""Whether a rule or a rollout is for a client: each `when` becomes the few checks that it needs.

All conditions hold or it is not; what is unknown about a client fulfils no condition, and no condition is fulfilled by
everyone.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from policies.decide import Context
    from policies.document import When

    Condition = Callable[[Context], bool]

_ANYONE = "*"


def conditions(when: When) -> tuple[Condition, ...]:
    """Return the checks that all must hold."""
    return tuple(_conditions(when))


def all_hold(those: tuple[Condition, ...], context: Context) -> bool:
    """Tell whether every condition holds; a loop, for a generator costs more than the conditions do."""
    for condition in those:  # noqa: SIM110 - see above
        if not condition(context):
            return False
    return True


def _conditions(when: When) -> Iterator[Condition]:
    if when.platform is not None:
        yield partial(_platform, frozenset(when.platform))
    if when.network is not None:
        yield partial(_network, frozenset(when.network))
    if when.state is not None:
        yield partial(_state, frozenset(when.state))
    if when.channel is not None:
        yield partial(_channel, frozenset(when.channel))
    if when.role is not None:
        yield partial(_role, frozenset(when.role))
    if when.sub is not None:
        yield _authenticated if _ANYONE in when.sub else partial(_sub, frozenset(when.sub))
    if when.sdk is not None:
        prefixes = tuple(value[:-1] for value in when.sdk if value.endswith("*"))
        yield partial(_sdk, frozenset(when.sdk), prefixes)
    if when.app_version is not None:
        yield partial(_app_version, when.app_version)


def _platform(values: frozenset[str], context: Context) -> bool:
    return context.platform in values


def _network(values: frozenset[str], context: Context) -> bool:
    return context.network in values


def _state(values: frozenset[str], context: Context) -> bool:
    return context.state in values


def _channel(values: frozenset[str], context: Context) -> bool:
    return context.channel in values


def _role(values: frozenset[str], context: Context) -> bool:
    return not values.isdisjoint(context.roles)


def _sub(values: frozenset[str], context: Context) -> bool:
    return context.sub in values


def _authenticated(context: Context) -> bool:
    return context.sub is not None


def _sdk(values: frozenset[str], prefixes: tuple[str, ...], context: Context) -> bool:
    sdk = context.sdk
    return sdk is not None and (sdk in values or sdk.startswith(prefixes))


def _app_version(versions: str, context: Context) -> bool:
    return context.app_version is not None and _within(versions, context.app_version)


@lru_cache(4096)  # reading a version and comparing it costs more than all the rest of a decision
def _within(versions: str, version: str) -> bool:
    try:
        return SpecifierSet(versions).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False
