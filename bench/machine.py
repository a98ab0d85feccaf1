"""The machine: which cores are whose, how many files may be open, and what to write beside the figures."""

from __future__ import annotations

import os
import platform
import resource
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES: Final = 16_384
_SPARE_FILES: Final = 256
_CORES: Final = sorted(os.sched_getaffinity(0))

SERVER_CORE: Final = _CORES[0]
LOAD_CORE: Final = _CORES[-1]


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Let what is started in this block, and this process meanwhile, run on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pin_load() -> None:
    """Keep this process, and what it starts from now on, off the servers' core."""
    os.sched_setaffinity(0, {LOAD_CORE})
    if SERVER_CORE == LOAD_CORE:
        print("note: this machine has one core, which server and load share: no figure says much")


def raise_file_limit() -> int:
    """Let this process and its children hold enough connections, or say why not; return how many files they may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if wanted < FILES:
        print(f"note: the system allows {hard} open files; {FILES} are wanted: raise `ulimit -Hn`")
    allowed = max(soft, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


def room_for(clients: int) -> int:
    """Return how many of so many clients the file limit has room for."""
    return min(clients, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE_FILES)


def describe() -> str:
    """Name the processor, its cores, the kernel and Python."""
    facts = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory_kb = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return (
        f"{facts[0] if facts else platform.machine()}, {len(_CORES)} cores, {memory_kb / 2**20:.0f} GiB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def _lines(file: str) -> list[str]:
    return Path(file).read_text().splitlines()
