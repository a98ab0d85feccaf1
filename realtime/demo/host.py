"""The load of this machine, as psutil sees it.

Rule: a figure that the machine does not give (a container without `/proc/net`, a kernel without
load averages) is `None` for that sample, and never ends the sampling.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeVar

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# A service talks to itself over loopback all the time: that is not the machine's network load.
LOOPBACK: Final = frozenset({"lo", "lo0", "Loopback Pseudo-Interface 1"})

# What psutil raises where a figure can't be had; its own errors are no OSErrors.
UNREADABLE: Final = (OSError, RuntimeError, ValueError, AttributeError, NotImplementedError, psutil.Error)


class Host:
    """Samples of this machine; rates and percentages are over the time since the sample before.

    To be used from one thread: psutil keeps its last CPU times per thread.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the readings that the first sample's rates start from; `clock` is in seconds."""
        self._clock = clock
        self._read_at = clock()
        self._net = _attempt(_net_bytes)
        _attempt(_per_cpu)

    def sample(self) -> dict[str, object]:
        """Return the `data` of one `host.load-sampled`: percentages, bytes, bytes per second."""
        per_cpu = _attempt(_per_cpu) or None
        memory = _attempt(psutil.virtual_memory)
        sent, received = self._net_rates()
        return {
            "cpu_percent": round(sum(per_cpu) / len(per_cpu), 1) if per_cpu else None,
            "per_cpu": per_cpu,
            "memory_used_bytes": memory.total - memory.available if memory else None,
            "memory_total_bytes": memory.total if memory else None,
            "net_sent_bytes_per_s": sent,
            "net_recv_bytes_per_s": received,
            "load_1m": _attempt(_load_1m),
        }

    def _net_rates(self) -> tuple[int | None, int | None]:
        before, since = self._net, self._read_at
        self._net, self._read_at = _attempt(_net_bytes), self._clock()
        elapsed = self._read_at - since
        if before is None or self._net is None or elapsed <= 0:
            return None, None
        # An interface that goes away takes its counters along: that is no negative traffic.
        sent, received = (round(max(0, now - then) / elapsed) for now, then in zip(self._net, before, strict=True))
        return sent, received


def _per_cpu() -> list[float]:
    return psutil.cpu_percent(percpu=True)


def _net_bytes() -> tuple[int, int]:
    counters = psutil.net_io_counters(pernic=True)
    real = [counter for name, counter in counters.items() if name not in LOOPBACK]
    return sum(counter.bytes_sent for counter in real), sum(counter.bytes_recv for counter in real)


def _load_1m() -> float:
    return round(psutil.getloadavg()[0], 2)


def _attempt(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except UNREADABLE:
        return None
