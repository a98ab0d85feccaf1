"""How a fault of the configuration is put into words: where it stands, what it is, what would be right.

For example::

    config.toml: history.retenton: there is no such setting; did you mean history.retention?
    GAPLESS_SSE__HEARTBEAT: sse.heartbeat = "10ms": expected at least 50ms; did you mean "50ms"?

Values of secrets are never shown, nor the values of settings that don't exist, which may be misspelt secrets.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel

from realtime.config.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

PREFIX: Final = "GAPLESS_"

_LONGEST_VALUE: Final = 100
_LEAST_LIKENESS: Final = 0.6
_SAME_NAME_ELSEWHERE: Final = 0.9
_BEGINNING: Final = 0.8
_SHORTEST_BEGINNING: Final = 3
_EXPECTED: Final = {
    "string_type": "a string",
    "model_type": "a section with its own keys",
}


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
    nearest = next((full for full in KEYS if full.startswith(key + ".")), None) or _nearest(key, KEYS)
    return f"  {name}: there is no such setting{_hint(nearest and f'{variable(nearest)} ({nearest})')}"


def wrong_settings(error: ValidationError, values: Mapping[str, object], origins: Origins) -> list[str]:
    """Describe all that a validation found, one line a fault."""
    return [line for details in error.errors() for line in _lines(details, values, origins)]


def _lines(details: ErrorDetails, values: Mapping[str, object], origins: Origins) -> Iterator[str]:
    loc = details["loc"]
    if details["type"] == "extra_forbidden":
        yield f"  {origins.file}: {_unknown(loc, is_table=isinstance(details['input'], dict))}"
    elif details["type"] == "contradictions":
        for name, expected in details["ctx"]["found"]:
            yield _contradiction(_dotted((*loc, *name.split("."))), expected, values, origins)
    else:
        key = _dotted(loc)
        yield f"  {origins.of(key.partition('[')[0])}: {_wrong_value(key, details)}"


def _dotted(loc: Iterable[int | str]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


def _unknown(loc: tuple[int | str, ...], *, is_table: bool) -> str:
    key = _dotted(loc)
    if is_table and len(loc) == 1:
        return f"[{key}]: there is no such section{_hint(_nearest(key, SECTIONS))}"
    return f"{key}: there is no such setting{_hint(_nearest(key, KEYS))}"


def _wrong_value(key: str, details: ErrorDetails) -> str:
    expected, nearest = _right(details)
    return f"{key} = {_shown(key, details['input'])}: expected {expected}{_hint(nearest)}"


def _right(details: ErrorDetails) -> tuple[str, str | None]:
    """Say what would have been right, and the nearest of it, as it would be written."""
    context = details.get("ctx", {})
    if details["type"] == "wrong_value":
        return context["expected"], context["nearest"]
    if details["type"] == "literal_error":
        allowed = re.findall(r"'([^']*)'", context["expected"])
        nearest = _nearest(str(details["input"]), allowed)
        return "one of " + ", ".join(map(json.dumps, allowed)), json.dumps(nearest) if nearest else None
    return _EXPECTED.get(details["type"], details["msg"]), None


def _contradiction(key: str, expected: str, values: Mapping[str, object], origins: Origins) -> str:
    value = _given(key, values)
    if not value:
        return f"  {key} is not set, in {origins.file} or by {variable(key)}: expected {expected}"
    return f"  {origins.of(key)}: {key} = {_shown(key, value)}: expected {expected}"


def _given(key: str, values: Mapping[str, object]) -> object:
    section, _, name = key.rpartition(".")
    table = values.get(section) if section else values
    return table.get(name) if isinstance(table, dict) else None


def _shown(key: str, value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    if not KEYS.get(key.partition("[")[0], True) or "-----BEGIN" in text:
        return "(not shown)"
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def _hint(nearest: str | None) -> str:
    return f"; did you mean {nearest}?" if nearest else ""


def _nearest(wanted: str, candidates: Iterable[str]) -> str | None:
    """Return what is most like it; the right name in another section is very like it, and so is a beginning."""
    likeness, nearest = max((_likeness(wanted, candidate), candidate) for candidate in candidates)
    return nearest if likeness >= _LEAST_LIKENESS else None


def _likeness(wanted: str, candidate: str) -> float:
    wanted, candidate = wanted.lower(), candidate.lower()
    whole = SequenceMatcher(None, wanted, candidate).ratio()
    name = SequenceMatcher(None, wanted.rpartition(".")[2], candidate.rpartition(".")[2]).ratio()
    short = len(wanted) >= _SHORTEST_BEGINNING and candidate.startswith(wanted)
    return max(whole, _SAME_NAME_ELSEWHERE * name, _BEGINNING * short)
