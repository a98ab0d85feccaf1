"""Ask every question of ours and of the peer, in turns, and print the table: ``python -m bench``."""

from __future__ import annotations

import json
import platform
import statistics
from collections import defaultdict
from itertools import count
from typing import TYPE_CHECKING

import httpx2
import jwt
import uvloop
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench import questions
from bench.load import get, post
from bench.process import SECRET, Server, gapless, peer, pin_load, raise_file_limit

if TYPE_CHECKING:
    from collections.abc import Callable

_ROUNDS = 3
_EXPIRES = 4102444800
_AIMS = {"delivery": 14.0, "poll": 35.0}
Samples = dict[tuple[str, str], list[questions.Sample]]


async def ask_ours(samples: Samples, idle_kb: dict[str, list[float]]) -> None:
    """Measure one fresh gateway."""
    async with gapless() as server:
        target, long_poll, cursor = await _our_target(server)
        samples["poll", "gapless"].append(await questions.polls(target))
        samples["publish", "gapless"].append(await questions.publishes(target))
        samples["publish in batches", "gapless"].append(await questions.batches(target))
        sample, held = await questions.deliveries(target)
        samples["delivery", "gapless"].append(sample)
        idle_kb["gapless"].append(held)
        target, long_poll, cursor = await _our_target(server)
        samples["long-poll turnaround", "gapless"].append(await questions.turnarounds(target, long_poll, cursor))


async def ask_peer(samples: Samples, idle_kb: dict[str, list[float]]) -> None:
    """Measure one fresh peer, as far as it has what we ask."""
    async with peer("plain quart", "bench.peer:app") as server:
        number = count(1)

        def publish(_: int) -> bytes:
            return post("/publish", questions.frame() % b"%d-1" % next(number))

        target = questions.Target(server, get("/stream", accept="text/event-stream"), get("/poll"), publish)
        samples["poll", "plain quart"].append(await questions.polls(target))
        sample, held = await questions.deliveries(target)
        samples["delivery", "plain quart"].append(sample)
        idle_kb["plain quart"].append(held)
    async with peer("bare asgi", "bench.bare:app") as server:
        target = questions.Target(server, b"", get("/poll"), lambda _: b"")
        samples["poll", "bare asgi"].append(await questions.polls(target))


async def _our_target(server: Server) -> tuple[questions.Target, Callable[[str], bytes], str]:
    claims = {"sub": "bench", "exp": _EXPIRES, "roles": ["publisher"]}
    token = jwt.encode(claims, SECRET, "HS256")
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as http:
        agreed = (await http.post("/api/v1/events/negotiate", json={}, headers=headers)).json()
    cursor = agreed["cursor"]

    def publish(size: int) -> bytes:
        return post("/api/v1/events", questions.publication(size), token)

    def long_poll(at: str) -> bytes:
        return get(f"/api/v1/events/long-poll?cursor={at}", token)

    stream = get("/api/v1/events/stream", token, "text/event-stream")
    poll = get(f"/api/v1/events/poll?cursor={cursor}", token)
    return questions.Target(server, stream, poll, publish), long_poll, cursor


def print_table(samples: Samples, idle_kb: dict[str, list[float]]) -> None:
    """Print medians, with the smallest and largest round beside them."""
    title = f"{_ROUNDS} rounds, Python {platform.python_version()}, server on one core, load on the other"
    table = Table(title=title)
    for column in ("question", "who", "CPU µs a unit", "(min-max)", "units/s", "aim"):
        table.add_column(column, justify="left" if column in {"question", "who"} else "right")
    for (question, who), found in samples.items():
        cpu, rate = [one.cpu_us for one in found], [one.per_s for one in found]
        middle = statistics.median(cpu)
        aim = _AIMS.get(question) if who == "gapless" else None
        verdict = "" if aim is None else f"≤ {aim:g}: {'holds' if middle <= aim else 'falls short'}"
        spread = f"{min(cpu):.1f}-{max(cpu):.1f}"
        table.add_row(question, who, f"{middle:.1f}", spread, f"{statistics.median(rate):,.0f}", verdict)
    for who, held in idle_kb.items():
        spread = f"{min(held):.1f}-{max(held):.1f}"
        table.add_row("idle stream, kB", who, f"{statistics.median(held):.1f}", spread, "", "")
    Console(width=110).print(table)


async def main() -> None:
    """Run the rounds."""
    raise_file_limit()
    pin_load()
    samples: Samples = defaultdict(list)
    idle_kb: dict[str, list[float]] = defaultdict(list)
    for _ in track(range(_ROUNDS), "rounds", transient=True):
        await ask_ours(samples, idle_kb)
        await ask_peer(samples, idle_kb)
    print_table(samples, idle_kb)
    print(json.dumps({f"{question} / {who}": found for (question, who), found in samples.items()}))


if __name__ == "__main__":
    uvloop.run(main())
