"""How a fault of the configuration is put into words: where it stands, what it is, what would be right.

For example::

    config.toml: history.retenton: there is no such setting; did you mean history.retention?
    GAPLESS_SSE__HEARTBEAT: sse.heartbeat = "10ms": expected at least 50ms; did you mean "50ms"?

Values of secrets are never shown, nor the values of settings that don't exist, which may be misspelt secrets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel

from realtime.config.settings import Settings
from realtime.wording import beside, dotted, found_at, hint, nearest, parts, right, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

PREFIX: Final = "GAPLESS_"
_KEY_BEGINS: Final = ("-----BEGIN", "LS0tLS1CRUdJTi")
"""How a key begins, in PEM and in base64 of that: it may be a private one."""


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, info in Settings.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield name, info.annotation


def _keys() -> Iterator[tuple[str, bool]]:
    """Name every setting by its dotted key, and tell whether its value may be shown."""
    sections = dict(_sections())
    for name, info in Settings.model_fields.items():
        if name in sections:
            yield from ((f"{name}.{key}", inner.repr) for key, inner in sections[name].model_fields.items())
        else:
            yield name, info.repr


SECTIONS: Final = dict(_sections())
KEYS: Final = dict(_keys())
"""Every setting's dotted key, and whether its value may be shown."""


def variable(key: str) -> str:
    """Name the environment variable of a setting."""
    return PREFIX + key.upper().replace(".", "__")


VARIABLES: Final = {variable(key): key for key in KEYS}
"""Every setting's environment variable and its dotted key."""


@dataclass(frozen=True, slots=True)
class Origins:
    """Which place gave a setting its value: the file, unless a variable or a flag overrode it."""

    file: str
    overridden: dict[str, str] = field(default_factory=dict)

    def of(self, key: str) -> str:
        """Name the place that a setting's value comes from."""
        return self.overridden.get(key, self.file)


def unknown_variable(name: str) -> str:
    """Describe a variable with our prefix that is no setting."""
    key = name.removeprefix(PREFIX).lower().replace("__", ".")
    likest = next((full for full in KEYS if full.startswith(key + ".")), None) or nearest(key, KEYS)
    return f"  {name}: there is no such setting{hint(likest and f'{variable(likest)} ({likest})')}"


def wrong_settings(error: ValidationError, values: Mapping[str, object], origins: Origins) -> list[str]:
    """Describe all that a validation found, one line a fault."""
    return [line for details in error.errors() for line in _lines(details, values, origins)]


def _lines(details: ErrorDetails, values: Mapping[str, object], origins: Origins) -> Iterator[str]:
    loc = details["loc"]
    place = origins.of(_setting(loc))
    if details["type"] == "extra_forbidden":
        yield f"  {place}: {_unknown(loc, is_table=isinstance(details['input'], dict))}"
    elif details["type"] == "contradictions":
        for name, expected in details["ctx"]["found"]:
            yield _contradiction((*loc, *parts(name)), expected, values, origins)
    elif details["type"] == "missing":
        yield f"  {place}: {dotted(loc)} is not set: expected a value, for it has no default"
    else:
        yield f"  {place}: {_wrong_value(loc, details)}"


def _setting(loc: tuple[int | str, ...]) -> str:
    """Return the key of the setting that a place lies in: what a variable sets as a whole."""
    key = dotted(loc[:2])
    return key if key in KEYS else dotted(loc[:1])


def _unknown(loc: tuple[int | str, ...], *, is_table: bool) -> str:
    key = dotted(loc)
    if is_table and len(loc) == 1:
        return f"[{key}]: there is no such section{hint(nearest(key, SECTIONS))}"
    there = beside(Settings, loc) if _setting(loc) in KEYS else KEYS
    return f"{key}: there is no such setting{hint(nearest(key, there))}"


def _wrong_value(loc: tuple[int | str, ...], details: ErrorDetails) -> str:
    expected, likest = right(details)
    return f"{dotted(loc)} = {_shown(loc, details['input'])}: expected {expected}{hint(likest)}"


def _contradiction(loc: tuple[int | str, ...], expected: str, values: Mapping[str, object], origins: Origins) -> str:
    key, value = dotted(loc), found_at(values, loc)
    if value:
        return f"  {origins.of(_setting(loc))}: {key} = {_shown(loc, value)}: expected {expected}"
    if key in KEYS:
        return f"  {key} is not set, in {origins.file} or by {variable(key)}: expected {expected}"
    return f"  {origins.of(_setting(loc))}: {key} is not set: expected {expected}"


def _shown(loc: tuple[int | str, ...], value: object) -> str:
    text = shown(value)
    holds_key = any(begin in text for begin in _KEY_BEGINS)
    return "(not shown)" if holds_key or not KEYS.get(_setting(loc), True) else text
