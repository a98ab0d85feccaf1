"""What an append waits for before it is acknowledged: nothing, the disk, or replicas (`history.durability`).

`WAITAOF` and `WAIT` wait for the last write of their own connection. They are therefore sent right behind the append,
in the same pipeline. Appends that share a call share the wait.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from realtime.errors import LogUnavailable

_FORMS: Final = re.compile(r"memory|fsync|replicas:([1-9][0-9]?)")
_SHARE: Final = 0.75
"""Of the time that an answer of Redis is waited for: the rest is left for the append itself."""


@dataclass(frozen=True, slots=True)
class Durability:
    """Where an event must be before its publisher is told that it is in the log, beside the primary's memory."""

    fsync: bool = False
    """In the primary's append-only file, written out to the disk (fsync)."""
    replicas: int = 0
    """In the memory of so many replicas."""
    patience_ms: int = 0
    """How long Redis waits for that, in milliseconds."""

    @property
    def command(self) -> tuple[object, ...] | None:
        """The command that waits for the last write of its connection, if there is something to wait for."""
        if self.fsync:
            return ("WAITAOF", 1, 0, self.patience_ms)
        if self.replicas:
            return ("WAIT", self.replicas, self.patience_ms)
        return None

    @property
    def probe(self) -> tuple[object, ...] | None:
        """The same command, for a server that may refuse it: it waits for a millisecond at most."""
        if self.fsync:
            return ("WAITAOF", 1, 0, 1)
        return ("WAIT", 0, 1) if self.replicas else None

    def require(self, reached: object) -> None:
        """Compare what the command answered with what is wanted. An error is an answer too.

        Raises:
            LogUnavailable: the events are in the primary's memory, and perhaps nowhere else.
        """
        if isinstance(reached, Exception):
            raise _unmet(f"Redis does not wait for it ({reached})")
        if self.fsync and not _first(reached):
            raise _unmet("Redis did not write it to the disk in time")
        if self.replicas and _count(reached) < self.replicas:
            raise _unmet(f"{_count(reached)} of {self.replicas} replicas had it in time")


MEMORY: Final = Durability()
"""An event is acknowledged when it is in the primary's memory."""


def durability(text: str, timeout_ms: int) -> Durability:
    """Read ``memory``, ``fsync`` or ``replicas:<1 to 99>``, for a server that is waited for so many milliseconds.

    Raises:
        ValueError: it is none of them.
    """
    form = _FORMS.fullmatch(text)
    if form is None:
        raise ValueError(text)
    return Durability(text == "fsync", int(form[1] or 0), max(1, int(timeout_ms * _SHARE)))


def _first(reached: object) -> bool:
    """Tell whether `WAITAOF` counted the primary's own file, the first of its two numbers."""
    return isinstance(reached, list) and _count(reached[0]) > 0


def _count(reached: object) -> int:
    return reached if isinstance(reached, int) else 0


def _unmet(what: str) -> LogUnavailable:
    return LogUnavailable(
        f"{what}, as history.durability demands: it is perhaps in the log; try again, with the same idempotency key"
    )
