"""The pace: how fast this machine is. A load at a fixed rate would be easy for one machine and too much for another.

The rates are for a machine on which the floor makes 250,000 deliveries a second, and are multiplied by the pace: what
the floor makes on this one, in parts of that.
"""

from __future__ import annotations

import statistics
from typing import Final

from bench.peers import PEERS
from bench.questions import saturated

DELIVERIES: Final = 250_000
"""How many the floor makes in a second at pace 1."""
_TIMES: Final = 3


def measure() -> float:
    """Ask the floor how fast this machine is, a few times; return the median."""
    with PEERS["floor"].running() as target:
        return statistics.median(saturated.ask(target)["rate"] for _ in range(_TIMES)) / DELIVERIES
