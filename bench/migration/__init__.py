"""Flip 5,000 live clients from streams to long-polls and back while events flow: ``python -m bench.migration``.

They obey `transport.changed` as an SDK does: each leaves at a random moment within the time, every fourth one with a
new ticket. What each was given is compared with what was published: nothing may be missed, repeated or out of order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import uvloop
from rich.progress import Progress

from bench.gateway import gateway
from bench.machine import pin_load, raise_file_limit, room_for
from bench.migration.crowd import WITHIN_S, Crowd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.migration.crowd import Moved

_CLIENTS: Final = 5_000
_FEWEST: Final = 100
_FLIPS: Final = (("long-poll", "sse"), ("sse", "long-poll"))
_SETTINGS: Final = {"AUTH__TICKET_TTL": "1h", "POLICY__MOVE_WITHIN": f"{int(WITHIN_S)}s"}


def tell(moves: list[Moved], count: int, events: int, faults: tuple[int, int, int]) -> Iterator[str]:
    """Tell, as Markdown, how long each flip took, and what was wrong with what the clients were given."""
    yield f"{count:,} clients, {events} events, moved within {WITHIN_S:g} s by a change of the policy."
    yield ""
    yield "| all to | half, s | 95 %, s | all, s | refused |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for one in moves:
        yield f"| {one.to} | {one.half_s:.1f} | {one.most_s:.1f} | {one.all_s:.1f} | {one.refusals} |"
    yield ""
    yield "* missed: {}, repeated: {}, clients with events out of order: {}".format(*faults)


async def flip_all(port: int, count: int) -> list[str]:
    """Flip so many clients of a gateway; return what is to be told."""
    crowd = Crowd(port, count)
    try:
        await crowd.begin()
        with Progress(transient=True) as progress:
            flips = progress.track(_FLIPS, description="flips")
            moves = [await crowd.flip(preference) for preference in flips]
        faults = await crowd.end()
    finally:
        await crowd.stop()
    told = list(tell(moves, count, len(crowd.published), faults))
    verdict = "falls short" if any(faults) else "holds"
    return [*told, f"* nothing missed, repeated or out of order: {verdict}"]


def main() -> list[str]:
    """Flip them to and fro; return what is to be told."""
    raise_file_limit()
    count = room_for(_CLIENTS)
    if count < _FEWEST:
        raise SystemExit(f"this system allows {count} connections; {_FEWEST} are the least: raise `ulimit -Hn`")
    if count < _CLIENTS:
        print(f"note: {count:,} clients instead of {_CLIENTS:,}, for more files may not be open")
    pin_load()
    with gateway(_SETTINGS) as server:
        return uvloop.run(flip_all(server.port, count))
