"""What a check found: fine, odd, or in the way; and what to do about it."""

from __future__ import annotations

from typing import Final, NamedTuple

OK: Final = "ok"
WARNING: Final = "warning"
PROBLEM: Final = "problem"


class Finding(NamedTuple):
    """One line of the report."""

    state: str
    check: str
    told: str
    do: str = ""
    """What to do; nothing where all is well."""


def ok(check: str, told: str) -> Finding:
    """All is well."""
    return Finding(OK, check, told)


def warning(check: str, told: str, do: str) -> Finding:
    """It works, and may not some day."""
    return Finding(WARNING, check, told, do)


def problem(check: str, told: str, do: str) -> Finding:
    """It doesn't work."""
    return Finding(PROBLEM, check, told, do)
