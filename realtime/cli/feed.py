"""From lines to events in the log: what is sent, what is skipped, and what is said about it."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TextIO

import msgspec
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from realtime.cli.console import Failure, complain, note, notes
from realtime.cli.lines import Batches, Line
from realtime.cli.remote import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from realtime.cli.outbox import Outbox

MOST_EVENTS: Final = 500
MOST_BYTES: Final = 2 * 1024 * 1024
_ENVELOPE_BYTES: Final = 1024
"""What is set aside for what an event has besides its data."""


@dataclass(frozen=True, slots=True)
class Template:
    """What the events of one command have in common."""

    event: str
    scope: str
    key: str | None
    idempotency_key: str
    numbered: bool
    """Whether each line has an idempotency key of its own, which ends in its number."""

    def filled(self, line: Line) -> bytes:
        """Write the event of a line, whose JSON is taken as it stands."""
        once = f"{self.idempotency_key}:{line.number}" if self.numbered else self.idempotency_key
        return msgspec.json.encode(
            {
                "event": self.event,
                "scope": self.scope,
                "data": msgspec.Raw(line.text),
                "idempotency_key": once,
                **({"key": self.key} if self.key is not None else {}),
            }
        )


@dataclass(slots=True)
class Feed:
    """Publishes events, and writes their ids to `ids`, if anywhere."""

    outbox: Outbox
    template: Template
    ids: TextIO | None
    keep_going: bool = False
    published: int = field(init=False, default=0)
    skipped: int = field(init=False, default=0)

    def one(self, data: bytes) -> None:
        """Publish one event.

        Raises:
            Failure: the data isn't JSON, or it couldn't be published in time.
            Refused: the service won't have it.
        """
        fault = json_fault(data)
        if fault is not None:
            raise Failure(f"--data is no JSON: {fault}")
        self._send([Line(1, data)])

    def lines(self, descriptor: int) -> None:
        """Publish an event for each line of a file, until its end.

        Raises:
            Failure: a line couldn't be published, or several couldn't and the others were.
            Refused: the service won't have any.
        """
        with _progress(descriptor, self.ids) as advance:
            try:
                for batch in Batches(descriptor, MOST_EVENTS, MOST_BYTES - MOST_EVENTS * _ENVELOPE_BYTES):
                    self._batch(batch)
                    advance(self.published, sum(len(line.text) + 1 for line in batch))
            except KeyboardInterrupt:
                note(f"interrupted: {self.published} published")
                raise
        if self.skipped:
            raise Failure(f"{self.skipped} of {self.skipped + self.published} lines could not be published")

    def _batch(self, lines: Sequence[Line]) -> None:
        """Publish what is sound before each unsound line, then tell of that."""
        sound: list[Line] = []
        for line in lines:
            fault = json_fault(line.text)
            if fault is None:
                sound.append(line)
                continue
            self._send_all(sound)
            sound = []
            self._skip(line, f"not JSON: {fault}")
        self._send_all(sound)

    def _send_all(self, lines: Sequence[Line]) -> None:
        """Publish lines around those that the service won't have: it takes a batch, or names the first of them."""
        while lines:
            try:
                self._send(lines)
            except Refused as refused:
                index = refused.problem.index
                if index is None or not 0 <= index < len(lines):
                    raise
                self._send_all(lines[:index])
                self._skip(lines[index], refused.problem.detail)
                lines = lines[index + 1 :]
            else:
                return

    def _send(self, lines: Sequence[Line]) -> None:
        answers = self.outbox.send([self.template.filled(line) for line in lines])
        self.published += len(answers)
        if self.ids is not None:
            self.ids.write("".join(f"{answer.id}\n" for answer in answers))
            self.ids.flush()

    def _skip(self, line: Line, fault: str) -> None:
        fault = f"line {line.number}: {fault}"
        if not self.keep_going:
            raise Failure(
                f"{fault}\n{self.published} published before it, nothing after it (--keep-going skips such lines)"
            )
        self.skipped += 1
        complain(fault)


def json_fault(text: bytes) -> str | None:
    """Tell why some bytes aren't one JSON value in UTF-8, if they aren't."""
    try:
        text.decode()
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return str(error)
    return None


@contextmanager
def _progress(descriptor: int, ids: TextIO | None) -> Iterator[Callable[[int, int], None]]:
    """Show how far it has come, to a person who doesn't see the ids anyway."""
    if not notes.is_terminal or (ids is not None and ids.isatty()):
        yield lambda _published, _bytes: None
        return
    columns = (SpinnerColumn(), BarColumn(), TextColumn("{task.fields[published]:,} published"), TimeElapsedColumn())
    # Standard output stays what it is: rich would send what is written there to standard error.
    with Progress(*columns, console=notes, redirect_stdout=False, transient=True) as progress:
        task = progress.add_task("", total=_size(descriptor), published=0)
        yield lambda published, read: progress.update(task, advance=read, published=published)


def _size(descriptor: int) -> int | None:
    """Return the size of a file in bytes; a pipe has none."""
    status = os.fstat(descriptor)
    return status.st_size if stat.S_ISREG(status.st_mode) else None
