"""Durations, sizes and counts as people write them, as the whole numbers that the code works with.

A duration is ``"250ms"``, ``"15s"``, ``"10m"``, ``"24h"``, ``"7d"``, or a bare number of **seconds**; inside it is
an int of milliseconds. A size is ``"64KiB"``, ``"64MiB"``, ``"1GiB"``, or a bare number of bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Mapping

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
LARGEST: Final = 2**53 - 1
"""The largest whole number that JSON and Lua carry exactly."""

_NUMBER: Final = r"([0-9]{1,16}(?:\.[0-9]{1,9})?)"
_BARE: Final = re.compile(_NUMBER)
_LOOSE: Final = re.compile(_NUMBER + r"\s*([a-z]+)", re.IGNORECASE)


def wrong(expected: str, nearest: str | None = None) -> PydanticCustomError:
    """Make the error that a validator raises: what would have been right, and the nearest of it as one writes it."""
    return PydanticCustomError("wrong_value", "expected {expected}", {"expected": expected, "nearest": nearest})


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """A kind of quantity: how it is read, and how it is written in messages."""

    expected: str
    factors: Mapping[str, int]
    """By suffix, largest first; what a bare number counts is `bare`."""
    bare: int
    slips: Mapping[str, str]
    """How the suffixes are mistaken (``sec``, ``KB``): the first letters, in lower case → the suffix meant."""

    def parse(self, value: object) -> int:
        """Return the quantity in its smallest unit.

        Raises:
            PydanticCustomError: it is none, or no whole number of the smallest unit.
        """
        quantity = self._read(str(value)) if not isinstance(value, bool) else None
        if quantity is None or quantity % 1 or quantity > LARGEST:
            raise wrong(self.expected, self._nearest(value))
        return int(quantity)

    def show(self, quantity: int) -> str:
        """Write a quantity with the largest suffix that leaves it whole."""
        for suffix, factor in self.factors.items():
            if quantity and quantity % factor == 0:
                return f"{quantity // factor}{suffix}"
        return str(quantity)

    def schema(self) -> dict[str, object]:
        """Return the JSON Schema of what `parse` takes."""
        text = {"type": "string", "pattern": f"^{_NUMBER}({'|'.join(self.factors)})?$"}
        return {"description": self.expected, "anyOf": [text, {"type": "number", "minimum": 0}]}

    def _read(self, text: str) -> Decimal | None:
        if _BARE.fullmatch(text):
            return Decimal(text) * self.bare
        for suffix, factor in self.factors.items():
            number = text.removesuffix(suffix)
            if number != text and _BARE.fullmatch(number):
                return Decimal(number) * factor
        return None

    def _nearest(self, value: object) -> str | None:
        """Guess what ``"24 hours"`` or ``"64kb"`` was meant to be."""
        match = _LOOSE.fullmatch(str(value).strip())
        if match is None:
            return None
        word = match[2].lower()
        meant = (suffix for slip, suffix in self.slips.items() if word.startswith(slip))
        return next((f'"{match[1]}{suffix}"' for suffix in meant), None)


DURATION: Final = Unit(
    'a duration such as "250ms", "15s", "10m", "24h" or "7d", or a bare number of seconds',
    {"d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND, "ms": 1},
    SECOND,
    {"ms": "ms", "mil": "ms", "s": "s", "m": "m", "h": "h", "d": "d"},
)
SIZE: Final = Unit(
    'a size such as "64KiB", "64MiB" or "1GiB", or a bare number of bytes',
    {"GiB": GIB, "MiB": MIB, "KiB": KIB, "B": 1},
    1,
    {"b": "B", "k": "KiB", "m": "MiB", "g": "GiB"},
)
COUNT: Final = Unit("a whole number, not negative", {"": 1}, 1, {})


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a quantity may be: it refuses what is below `low` or above `high`, naming the limit as it was written."""

    least: str
    most: str
    low: int
    high: int

    def __call__(self, value: int) -> int:
        """Return the quantity, if it is within the bounds."""
        if value < self.low:
            raise wrong(f"at least {self.least}", _written(self.least))
        if value > self.high:
            raise wrong(f"at most {self.most}", _written(self.most))
        return value


def between(unit: Unit, least: str, most: str) -> AfterValidator:
    """Make a validator of bounds."""
    return AfterValidator(Bounds(least, most, unit.parse(least), unit.parse(most)))


def _written(limit: str) -> str:
    return limit if limit.isdigit() else f'"{limit}"'


def lasting(least: str, most: str = "3650d") -> AfterValidator:
    """Limit a duration."""
    return between(DURATION, least, most)


def sized(least: str, most: str = "1024GiB") -> AfterValidator:
    """Limit a size."""
    return between(SIZE, least, most)


def counted(least: int, most: int = LARGEST) -> AfterValidator:
    """Limit a count."""
    return between(COUNT, str(least), str(most))


# Both are written back with their suffix, so that a dump reads in again as what it was: a bare int would count seconds.
Milliseconds = Annotated[
    int, BeforeValidator(DURATION.parse), PlainSerializer(DURATION.show), WithJsonSchema(DURATION.schema())
]
Bytes = Annotated[int, BeforeValidator(SIZE.parse), PlainSerializer(SIZE.show)]
Count = Annotated[int, BeforeValidator(COUNT.parse)]
