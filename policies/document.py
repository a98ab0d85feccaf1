"""The policy as the operator writes it: `[policy]` in config.toml, or the same as JSON over the admin API.

It says what each transport's switch and parameters are, which rules come before everything else, and which rollouts
compare one preference with another. What it names is not looked up here: which transports are installed is a gateway's
matter (`policies.policy.compiled`). Every bound is here, so that a document that exists is one that can be kept,
shown and decided by.

Durations are ints of milliseconds here, and strings ("15s") in what `Document.dump` returns.
"""

from __future__ import annotations

import math
import re
import unicodedata
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version
from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, ValidationError, WithJsonSchema

from realtime.errors import InvalidField
from realtime.lists import at_most, distinct, listed, several, some, tabled, tables
from realtime.section import Section
from realtime.units import DURATION, MINUTE, SECOND, Milliseconds, lasting, wrong
from realtime.wording import beside, dotted, found_at, hint, nearest, parts, right, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic_core import ErrorDetails

MOST_RULES: Final = 100
MOST_ROLLOUTS: Final = 50
MOST_ARMS: Final = 20
MOST_VALUES: Final = 1000
ALL: Final = 100
"""What the weights of a rollout's arms sum to."""
HUNDREDTHS: Final = 100
"""Weights are as fine as that."""

_LONGEST_NAME: Final = 64
_LONGEST_VALUE: Final = 255
_TRANSPORT_NAME: Final = re.compile(r"[a-z][a-z0-9-]*")
_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_NO_TEXT: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_A_RANGE: Final = 'a range of versions such as ">=5.2" or ">=5.2,<6"'


def _plain(value: str) -> bool:
    return not any(unicodedata.category(letter) in _NO_TEXT for letter in value)


def _name(value: str) -> str:
    if not 1 <= len(value) <= _LONGEST_NAME or not _plain(value):
        raise wrong("a name of 1 to 64 characters without control characters")
    return value


def _slug(value: str) -> str:
    if not _SLUG.fullmatch(value):
        slug = re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")[:_LONGEST_NAME]
        likest = f'"{slug}"' if slug else None
        raise wrong("a name of 1 to 64 lower-case letters, digits and hyphens, no hyphen first", likest)
    return value


def _salt(value: str) -> str:
    if len(value) > _LONGEST_NAME or not _plain(value):
        raise wrong("at most 64 characters without control characters")
    return value


def _value(value: str) -> str:
    if not 1 <= len(value) <= _LONGEST_VALUE or not _plain(value):
        raise wrong("a string of 1 to 255 characters without control characters")
    return value


def _transport_name(value: str) -> str:
    if not _TRANSPORT_NAME.fullmatch(value) or len(value) > _LONGEST_NAME:
        raise wrong('the name of a transport, such as "sse", "long-poll" or "polling"')
    return value


def _version_range(value: str) -> str:
    _value(value)
    try:
        SpecifierSet(value)
    except InvalidSpecifier:
        raise wrong(_A_RANGE, _meant(value)) from None
    if not value.strip(" ,"):
        raise wrong(_A_RANGE)
    return value


def _meant(value: str) -> str | None:
    """Guess that a bare version, or "5.2+", was meant to be the least one."""
    try:
        return f'">={Version(value.strip("v+=<> "))}"'
    except InvalidVersion:
        return None


def _weight(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= ALL:
        raise wrong("a number of percent from 0 to 100")
    if Decimal(str(value)) * HUNDREDTHS % 1:
        raise wrong("a number of percent with at most two decimals", str(round(value, 2)))
    return int(value) if value == math.floor(value) else value


TransportName = Annotated[str, AfterValidator(_transport_name)]
Preference = Annotated[
    tuple[TransportName, ...],
    at_most(MOST_VALUES),
    BeforeValidator(listed),
    AfterValidator(distinct),
    AfterValidator(some),
]
Values = Annotated[
    tuple[Annotated[str, AfterValidator(_value)], ...],
    at_most(MOST_VALUES),
    BeforeValidator(several),
    AfterValidator(some),
]
Name = Annotated[str, AfterValidator(_name)]
Slug = Annotated[str, AfterValidator(_slug)]
Weight = Annotated[
    int | float, BeforeValidator(_weight), WithJsonSchema({"type": "number", "minimum": 0, "maximum": ALL})
]


class Parameters(Section):
    """The parameters of one transport; which of them it takes is the transport's matter."""

    heartbeat: Annotated[Milliseconds, lasting("50ms", "1h")] | None = None
    first_byte_timeout: Annotated[Milliseconds, lasting("10ms", "10m")] | None = None
    hold: Annotated[Milliseconds, lasting("50ms", "1h")] | None = None
    interval: Annotated[Milliseconds, lasting("50ms", "1d")] | None = None
    min_interval: Annotated[Milliseconds, lasting("50ms", "1h")] | None = None

    def given(self) -> dict[str, int]:
        """Return what is set, in ms, by the names of the document."""
        values = ((name, getattr(self, name)) for name in Parameters.model_fields)
        return {name: value for name, value in values if value is not None}


class _Switch(Section):
    enabled: StrictBool = True


class TransportSwitch(Parameters, _Switch):
    """Whether a transport is used at all, and its parameters for everyone."""


Switches = Annotated[dict[TransportName, TransportSwitch], at_most(MOST_VALUES), BeforeValidator(tabled)]
ByTransport = Annotated[dict[TransportName, Parameters], at_most(MOST_VALUES), BeforeValidator(tabled)]


class When(Section):
    """Whom a rule or a rollout is for: all conditions hold, and what is unknown about a client fulfils none."""

    platform: Values | None = None
    network: Values | None = None
    state: Values | None = None
    sdk: Values | None = None
    sub: Values | None = None
    role: Values | None = None
    channel: Values | None = None
    app_version: Annotated[str, AfterValidator(_version_range)] | None = None


def _is_empty(value: object) -> bool:
    """Tell of what need not be written, for it says nothing."""
    return not value or value == When()


class Rule(Section):
    """What clients of one kind get, whatever else holds. The first rule that matches wins."""

    name: Name
    when: When = Field(default=When(), exclude_if=_is_empty)
    preference: Preference | None = None
    parameters: ByTransport = Field(default={}, exclude_if=_is_empty)

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Tell of a rule that does nothing."""
        if self.preference is None and not self.parameters:
            yield "preference", "a preference here, or parameters: a rule must set one of them"


class Arm(Section):
    """One side of a rollout."""

    weight: Weight
    preference: Preference | None = None
    parameters: ByTransport = Field(default={}, exclude_if=_is_empty)


class Rollout(Section):
    """A comparison of arms, each given to a fixed part of the clients."""

    name: Slug
    when: When = Field(default=When(), exclude_if=_is_empty)
    salt: Annotated[str, AfterValidator(_salt)] = Field(default="", exclude_if=_is_empty)
    arms: Annotated[dict[Slug, Arm], at_most(MOST_ARMS), BeforeValidator(tabled), AfterValidator(some)]

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Tell of weights that don't share out all clients."""
        total = sum(hundredths(arm.weight) for arm in self.arms.values())
        if total != ALL * HUNDREDTHS:
            yield "arms", f"weights that sum to 100; these sum to {Decimal(total) / HUNDREDTHS}"


class Document(Section):
    """The whole policy."""

    preference: Preference = ("sse", "long-poll", "polling")
    move_within: Annotated[Milliseconds, lasting("0s", "1h")] = 10 * SECOND
    fallback_retry_after: Annotated[Milliseconds, lasting("1s", "7d")] = 5 * MINUTE
    retry_base: Annotated[Milliseconds, lasting("10ms", "1h")] = 1 * SECOND
    retry_max: Annotated[Milliseconds, lasting("10ms", "1d")] = 30 * SECOND
    transports: Switches = Field(default={})
    rules: Annotated[tuple[Rule, ...], at_most(MOST_RULES), BeforeValidator(tables)] = ()
    rollouts: Annotated[tuple[Rollout, ...], at_most(MOST_ROLLOUTS), BeforeValidator(tables)] = ()

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Tell of a longest wait that is shorter than the first, and of names that are there twice."""
        if self.retry_max < self.retry_base:
            yield "retry_max", f'at least retry_base, which is "{DURATION.show(self.retry_base)}"'
        yield from _twice("rules", [rule.name for rule in self.rules])
        yield from _twice("rollouts", [rollout.name for rollout in self.rollouts])

    def dump(self) -> dict[str, Any]:
        """Return the document as it would be written, ready for JSON; `parse` reads it back."""
        return self.model_dump(mode="json", exclude_none=True)

    def with_transports(self, names: Iterable[str]) -> Document:
        """Return the document with a switch for each of these transports."""
        missing = {name: TransportSwitch() for name in names if name not in self.transports}
        return self.model_copy(update={"transports": {**self.transports, **missing}})


def hundredths(weight: float) -> int:
    """Return a weight as a whole number of hundredths of a percent."""
    return round(weight * HUNDREDTHS)


def parse(value: object) -> Document:
    """Read a document that came over HTTP or out of Redis.

    Raises:
        InvalidField: something in it is wrong; `field` says what, as "policy.rules[0].when.sub".
    """
    try:
        return Document.model_validate(value)
    except ValidationError as error:
        # An unknown key first: it is often why another is missing.
        details = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    field, detail = _fault(details, value)
    raise InvalidField(detail, field=field)


def _twice(key: str, names: list[str]) -> Iterator[tuple[str, str]]:
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if first.setdefault(name, index) != index:
            yield f"{key}[{index}].name", f"another name, for {key}[{first[name]}] has it"


def _fault(details: ErrorDetails, value: object) -> tuple[str, str]:
    loc = details["loc"]
    field = dotted(("policy", *loc))
    if details["type"] == "extra_forbidden":
        likest = nearest(field, [f"policy.{key}" for key in beside(Document, loc)])
        return field, f"{field}: there is no such key{hint(likest)}"
    if details["type"] == "missing":
        return field, f"{field} is not set: expected a value, for it has no default"
    if details["type"] == "contradictions":
        name, expected = details["ctx"]["found"][0]
        loc = (*loc, *parts(name))
        field, given = dotted(("policy", *loc)), found_at(value, loc)
        return field, f"{field}{' is not set' if given is None else f' = {shown(given)}'}: expected {expected}"
    expected, likest = right(details)
    return field, f"{field} = {shown(details['input'])}: expected {expected}{hint(likest)}"
