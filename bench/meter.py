"""What processes use, by the kernel's own accounts: CPU in nanoseconds, and memory."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Processes:
    """A process and all that it has started."""

    pid: int

    def cpu_us(self) -> float:
        """Return the microseconds of CPU that all their threads have used."""
        return sum(_thread_ns(thread) for pid in self._pids() for thread in _tasks(pid)) / 1000

    def memory_kb(self) -> float:
        """Return the kB of memory that they hold; what they share counts once."""
        return sum(_proportional_kb(pid) for pid in self._pids())

    def _pids(self) -> Iterator[int]:
        yield self.pid
        with suppress(psutil.NoSuchProcess):
            yield from (child.pid for child in psutil.Process(self.pid).children(recursive=True))


def _tasks(pid: int) -> list[Path]:
    with suppress(FileNotFoundError):
        return list(Path(f"/proc/{pid}/task").iterdir())
    return []


def _thread_ns(thread: Path) -> int:
    """Read the first field of schedstat: the time that a thread has spent on a CPU."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return int((thread / "schedstat").read_text().split()[0])
    return 0


def _proportional_kb(pid: int) -> float:
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return float(line.split()[1])
    return 0.0
