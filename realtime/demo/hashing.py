"""A real piece of work with real progress: the SHA-256 of every file below a folder.

Plain synchronous generators that never hold the caller for long: whoever drives them (a worker
thread, in slices) decides how much of a core they get.

Rules: a file that vanishes or can't be read while we work is counted as done, and as skipped; one
that grows or shrinks corrects the total; so a pass always ends at exactly 100 %.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

CHUNK_BYTES: Final = 256 * 1024
COMPLETE: Final = 100.0

# Python writes its caches as modules are first imported: with them, an unchanged environment would seem to change.
WRITTEN_BY_RUNNING: Final = frozenset({"__pycache__"})


@dataclass(slots=True)
class Progress:
    """How far one pass over the files has come; counted in files and in bytes."""

    files_done: int = 0
    files_total: int = 0
    files_skipped: int = 0
    bytes_done: int = 0
    bytes_total: int = 0
    current: str = ""
    digest: str | None = None

    @property
    def percent(self) -> float:
        """The share of the bytes that is done, in percent; 100 only when the digest is there."""
        if self.digest is not None:
            return COMPLETE
        if not self.bytes_total:
            return 0.0
        # Rounding must not claim the end before it is there.
        return min(99.9, round(COMPLETE * self.bytes_done / self.bytes_total, 1))


@dataclass(slots=True)
class Pass:
    """One pass over the files below `root`, in the order of their names."""

    root: Path
    progress: Progress = field(default_factory=Progress)

    def steps(self) -> Iterator[None]:
        """Do the work, coming up for air after every folder and every chunk."""
        found: list[tuple[str, int]] = []
        for folder, below, names in os.walk(self.root):
            below[:] = [name for name in below if name not in WRITTEN_BY_RUNNING]
            found.extend(_sized(folder, names))
            yield
        found.sort()
        self.progress.files_total = len(found)
        self.progress.bytes_total = sum(size for _, size in found)
        yield from self._hash_all(found)

    def _hash_all(self, found: list[tuple[str, int]]) -> Iterator[None]:
        overall = hashlib.sha256()
        for path, expected in found:
            relative = os.path.relpath(path, self.root)
            self.progress.current = _printable(relative)
            before = self.progress.bytes_done
            try:
                digest = yield from self._hash_file(path)
                overall.update(os.fsencode(relative) + b"\0" + digest)
            except OSError:
                self.progress.files_skipped += 1
            self.progress.bytes_total += self.progress.bytes_done - before - expected
            self.progress.files_done += 1
        self.progress.digest = overall.hexdigest()

    def _hash_file(self, path: str) -> Generator[None, None, bytes]:
        digest = hashlib.sha256()
        with Path(path).open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                self.progress.bytes_done += len(chunk)
                yield
        yield
        return digest.digest()


class Slice(NamedTuple):
    """What came of working for a while."""

    more: bool
    """Whether there is more to do."""
    used_s: float
    """The CPU time that it took, in seconds: time in which the machine did something else is not in it."""


def advance(steps: Iterator[None], budget_s: float, cpu_s: Callable[[], float] = time.thread_time) -> Slice:
    """Run `steps` until about `budget_s` seconds of CPU time are used; `cpu_s` returns what this thread has used."""
    begun = cpu_s()
    more = any(cpu_s() - begun >= budget_s for _ in steps)
    return Slice(more, cpu_s() - begun)


def _sized(folder: str, names: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Yield path and size, in bytes, of the regular files among `names`; links are not followed."""
    for name in names:
        path = Path(folder, name)
        try:
            status = path.lstat()
        except OSError:  # gone since it was listed
            continue
        if stat.S_ISREG(status.st_mode):
            yield os.fspath(path), status.st_size


def _printable(name: str) -> str:
    # A file's name may hold bytes that are no UTF-8; JSON can't carry them.
    return name.encode("utf-8", "replace").decode("utf-8")
