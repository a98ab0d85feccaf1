"""Writes lines to a stream that may be gone, full or slow: never waits, never raises, and counts what was lost.

Of a file's methods it has those that a console needs.

A log line is worth less than the service that writes it. Standard error may be a pipe whose reader has ended, a pipe
that nobody reads, a file on a full disk, or closed.
"""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import TextIO

_WRITABLE: Final = select.POLLOUT


class Outlet:
    """One stream, written to line by line."""

    def __init__(self, stream: TextIO | None, lost: int = 0) -> None:
        """Write to `stream`; `None`: there is none, and every line is lost. `lost` lines were lost before."""
        self._stream = stream
        self._descriptor = _descriptor(stream)
        self._is_torn = False
        self.lost = lost
        """How many lines could not be written."""

    def write(self, line: str) -> None:
        """Write a line, its end included, if that is possible at once."""
        try:
            self._write(line)
        except (OSError, ValueError):  # its reader has gone, its disk is full, it was closed
            self.lost += 1

    def isatty(self) -> bool:
        """Tell whether a terminal shows what is written."""
        return self._descriptor is not None and os.isatty(self._descriptor)

    def flush(self) -> None:
        """Do nothing: what is written is not kept back."""

    def _write(self, line: str) -> None:
        if self._stream is None:
            raise OSError("there is no stream")
        if self._descriptor is None:
            self._stream.write(line)
            self._stream.flush()
            return
        rest = memoryview(("\n" * self._is_torn + line).encode("utf-8", "backslashreplace"))
        whole = len(rest)
        try:
            while rest:
                rest = rest[self._write_some(self._descriptor, rest) :]
        finally:  # what is left of a line that was cut off must not run into the next one
            self._is_torn = len(rest) > 0 if len(rest) < whole else self._is_torn

    def _write_some(self, descriptor: int, rest: memoryview) -> int:
        """Write what a descriptor takes without waiting: `select.PIPE_BUF` bytes, once it is ready (POSIX, poll)."""
        poll = select.poll()
        poll.register(descriptor, _WRITABLE)
        if not poll.poll(0):
            raise BlockingIOError
        return os.write(descriptor, rest[: select.PIPE_BUF])


def _descriptor(stream: TextIO | None) -> int | None:
    """Return the descriptor of a stream, if it has one."""
    try:
        return stream.fileno() if stream is not None else None
    except (OSError, ValueError):  # kept in memory, or closed
        return None
