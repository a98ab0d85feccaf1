"""Lines of a file, a pipe or a terminal in batches: large where they come fast, prompt where they come slowly."""

from __future__ import annotations

import os
import select
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Line:
    """One line that isn't blank, without white space around it; numbered from 1, blank ones counted too."""

    number: int
    text: bytes


@dataclass(slots=True)
class Batches:
    """Batches of the lines of a file descriptor.

    A batch has at most `most_lines` lines and `most_bytes` bytes (or one line), and is complete `linger_s` seconds
    after its first line came.
    """

    descriptor: int
    most_lines: int
    most_bytes: int
    linger_s: float = 0.05
    _batch: list[Line] = field(init=False, default_factory=list)
    _bytes: int = field(init=False, default=0)
    _due: float = field(init=False, default=0)
    _number: int = field(init=False, default=0)

    def __iter__(self) -> Iterator[list[Line]]:
        """Yield batches until the end of the file."""
        rest = b""
        while True:
            if not self._comes():
                yield self._taken()
                continue
            chunk = os.read(self.descriptor, _CHUNK_BYTES)
            *complete, rest = (rest + chunk).split(b"\n") if chunk else (rest, b"")
            for text in complete:
                yield from self._add(text.strip())
            if not chunk:
                break
        if self._batch:
            yield self._taken()

    def _comes(self) -> bool:
        """Wait for more, no longer than the batch may wait."""
        patience = max(self._due - time.monotonic(), 0) if self._batch else None
        return bool(select.select([self.descriptor], [], [], patience)[0]) and patience != 0

    def _add(self, text: bytes) -> Iterator[list[Line]]:
        self._number += 1
        if not text:
            return
        if self._batch and (len(self._batch) >= self.most_lines or self._bytes + len(text) > self.most_bytes):
            yield self._taken()
        if not self._batch:
            self._due = time.monotonic() + self.linger_s
        self._batch.append(Line(self._number, text))
        self._bytes += len(text)

    def _taken(self) -> list[Line]:
        batch, self._batch, self._bytes = self._batch, [], 0
        return batch
