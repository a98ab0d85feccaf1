"""Lists and tables as the configuration and the policy take them: TOML or JSON arrays, or JSON in a variable.

Each function is a validator for one rule, so that a type is a row of them. Those that count come before the entries
are looked at: what is too long is refused before it costs anything.
"""

from __future__ import annotations

import json
from collections.abc import Sized
from typing import Final, TypeVar

from pydantic import BeforeValidator

from realtime.units import wrong

_Sized = TypeVar("_Sized", bound=Sized)

_A_LIST: Final = 'a list such as ["…", "…"], written as JSON in an environment variable'
_TABLES: Final = 'a list of tables such as [{"…": "…"}], written as JSON in an environment variable'
_A_TABLE: Final = 'a table such as {"…": {…}}, written as JSON in an environment variable'


def listed(value: object) -> object:
    """Take a list, or the JSON of one."""
    value = _read(value, _A_LIST, json.dumps([value]) if isinstance(value, str) else None)
    if not isinstance(value, list | tuple):
        raise wrong(_A_LIST)
    return value


def tables(value: object) -> object:
    """Take a list of tables, or the JSON of one."""
    value = _read(value, _TABLES)
    if not isinstance(value, list | tuple):
        raise wrong(_TABLES)
    return value


def tabled(value: object) -> object:
    """Take a table, or the JSON of one."""
    value = _read(value, _A_TABLE)
    if not isinstance(value, dict):
        raise wrong(_A_TABLE)
    return value


def _read(value: object, expected: str, likest: str | None = None) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise wrong(expected, likest) from None


def several(value: object) -> object:
    """Take a list, or one string for a list of one."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list | tuple):
        raise wrong('a string, or a list such as ["…", "…"]')
    return value


def distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what is there twice."""
    once = dict.fromkeys(values)
    if len(once) < len(values):
        twice = next(value for value in values if values.count(value) > 1)
        raise wrong(f"each entry once, but {json.dumps(twice)} is there twice", json.dumps(list(once)))
    return values


def some(values: _Sized) -> _Sized:
    """Refuse what is empty."""
    if not values:
        raise wrong("at least one entry")
    return values


def at_most(count: int) -> BeforeValidator:
    """Refuse what has more entries. It stands before the validator that takes the list: those run from the right."""

    def check(values: Sized) -> Sized:
        if len(values) > count:
            raise wrong(f"at most {count} entries; these are {len(values)}")
        return values

    return BeforeValidator(check)
