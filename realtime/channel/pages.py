"""How many entries to ask the log for at once, so that an answer has about so many bytes.

Pure. Redis counts entries and not bytes, and the sizes of entries are not known before they are read. The count grows
while answers are full, as far as the mean size of what came allows. A read that timed out halves it: what is too much
for one answer within the timeout would be too much the next time.
"""

from __future__ import annotations

from typing import Final

BYTES: Final = 4 * 1024 * 1024
"""What one answer is to have, at most about."""

MOST: Final = 1_000
"""Entries of one answer, at most."""

_FIRST: Final = 16
_GROWTH: Final = 4


class Pages:
    """The count, from answer to answer."""

    __slots__ = ("count",)

    def __init__(self, first: int = _FIRST) -> None:
        """Begin with a count of `first`."""
        self.count = first

    def came(self, entries: int, size: int) -> None:
        """Take note of an answer: of so many entries, with so many bytes in all.

        One that is neither full nor too large says nothing of the next one.
        """
        if entries >= self.count or size > BYTES:
            fit = BYTES * entries // max(1, size)
            self.count = max(1, min(MOST, self.count * _GROWTH, fit))

    def failed(self) -> None:
        """Take note that no answer came in time."""
        self.count = max(1, self.count // 2)
