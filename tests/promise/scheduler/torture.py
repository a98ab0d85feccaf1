"""`make torture`: histories for so many minutes; what fails is shrunk, shown, and counted in one table at the end."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from tests.promise.scheduler.history import stage
from tests.promise.scheduler.steps import draw
from tests.promise.scheduler.tally import Tally

if TYPE_CHECKING:
    from tests.promise.scheduler.history import Stage

_SHOWN = 2
"""How many histories with one kind of fault are shrunk and shown."""


async def torture(minutes: float, seed: int, most: int) -> Tally:
    """Make histories until the time has passed, or so many are made."""
    tally = Tally()
    end = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as directory:
        async with stage(Path(directory)) as made:
            for number in count(seed):
                if time.monotonic() > end or tally.histories >= most:
                    return tally
                await _once(made, number, tally)
    return tally


async def _once(made: Stage, seed: int, tally: Tally) -> None:
    outcome = await made.make(draw(seed))
    tally.add(outcome)
    if outcome.faults and tally.kinds[outcome.faults[0].kind] <= _SHOWN:
        _say(await made.shrink(outcome))


def _say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Read the arguments; the status tells whether there was a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.promise.scheduler.torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long; 10")
    parser.add_argument("--seed", type=int, default=1, help="the first seed; 1")
    parser.add_argument("--histories", type=int, default=10**9, help="how many at most; no bound")
    given = parser.parse_args()
    _say(f"seeds from {given.seed} on")
    tally = asyncio.run(torture(given.minutes, given.seed, given.histories))
    _say(tally)
    return 1 if tally.kinds else 0


if __name__ == "__main__":
    sys.exit(main())
