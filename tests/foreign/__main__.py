"""``make foreign``: all clients, 300 events, the gateway killed three times and Redis once; prints the table."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.foreign.reader import CLIENTS
from tests.foreign.scenario import Scenario

_EVENTS: Final = 300
_FAULTS: Final = {60: "gateway", 120: "redis", 180: "gateway", 240: "gateway"}


async def main() -> int:
    """Return how many clients did not get what they should."""
    with TemporaryDirectory() as directory:
        outcomes = await Scenario(Path(directory)).run(CLIENTS, _EVENTS, _FAULTS)
    print("client | missed | repeated | wrong | begun anew by its user")
    for client, outcome in outcomes.items():
        print(client, outcome.missed, outcome.repeated, len(outcome.wrong), outcome.anew, sep=" | ")
        print(*outcome.wrong[:5], sep="\n", end="\n" if outcome.wrong else "")
    return sum(bool(outcome.missed or outcome.repeated or outcome.wrong) for outcome in outcomes.values())


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
