"""How many entries to ask the log for at once, so that an answer has about so many bytes.

Pure. Redis counts entries and not bytes, and the sizes of entries are not known before they are read. The count begins
small, grows while answers are full, and follows the mean size of what came. A read that failed halves it: what is too
much for one answer within the timeout would be too much the next time.
"""

from __future__ import annotations

from typing import Final

BYTES: Final = 4 * 1024 * 1024
"""What one answer is to have, at most about."""

_FIRST: Final = 16
_MOST: Final = 1_000
_GROWTH: Final = 4


class Pages:
    """The count, from answer to answer."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        """Begin small."""
        self.count = _FIRST

    def came(self, entries: int, size: int) -> None:
        """Take note of an answer: of so many entries, with so many bytes in all."""
        if entries >= self.count:
            self.count = min(_MOST, self.count * _GROWTH)
        if size:
            self.count = max(1, min(self.count, BYTES * entries // size))

    def failed(self) -> None:
        """Take note that no answer came."""
        self.count = max(1, self.count // 2)
