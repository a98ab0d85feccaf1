"""Metrics over several workers: one answer for all of them, whichever is asked, also after one was killed."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from tests.realtime.test_server import TWO, begun, visiting, workers
from tests.support.metrics import Scrape
from tests.support.program import killed, program
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx2

STREAMS = 16


async def from_any(http: httpx2.AsyncClient, scrapes: int = 6) -> list[Scrape]:
    """Scrape several times, each on a connection of its own, which the kernel gives to any of the workers."""
    answers = [await http.get("/metrics", headers={"Connection": "close"}) for _ in range(scrapes)]
    return [Scrape(answer.text) for answer in answers]


async def settled(http: httpx2.AsyncClient, name: str, wanted: Callable[[], float], **labels: str) -> None:
    """Wait until whoever is asked says what is wanted: each worker tells of itself once a second."""

    async def all_say_so() -> bool:
        return {told.sum(name, **labels) for told in await from_any(http)} == {wanted()}

    await until(all_say_so)


async def test_two_workers_tell_one_story_also_after_one_was_killed(tmp_path: Path, redis_url: str) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    environ = {**TWO, "GAPLESS_REDIS__URL": redis_url, "TMPDIR": str(folder)}
    async with program(tmp_path, "serve", "--port", "0", environ=environ) as gateway, AsyncExitStack() as stack:
        http = await stack.enter_async_context(visiting(await gateway.address()))
        streams = [await begun(http, []) for _ in range(STREAMS)]
        await settled(http, "connections", lambda: STREAMS, transport="sse")
        await settled(http, "workers", lambda: 2)
        await settled(http, "fleet_workers", lambda: 2)
        await settled(http, "fleet_gateways", lambda: 1)  # its workers are one gateway
        for told in await from_any(http):
            assert told.sum("attaches_total", transport="sse", outcome="accepted") == STREAMS
        files = {file.name for file in folder.glob("gapless-metrics-*/*")}
        assert {"counter_1.db", "counter_2.db", "gauge_livesum_1.db", "histogram_2.db"} <= files
        before = (await from_any(http, 1))[0]

        await killed(workers(gateway)[0])
        await until(lambda: any(stream.done() for stream in streams))
        await settled(http, "connections", lambda: sum(not stream.done() for stream in streams), transport="sse")
        await settled(http, "workers", lambda: 2)  # the one in its place is there
        for told in await from_any(http):
            assert told.sum("attaches_total") >= before.sum("attaches_total"), "no counter falls"
            assert told.sum("attaches_total", transport="sse") == STREAMS
        os.kill(gateway.process.pid, signal.SIGTERM)
        await asyncio.gather(*streams, return_exceptions=True)
        assert await gateway.ended() == 0
        await gateway.nothing_left()
    assert "Traceback" not in gateway.errors
    assert not list(folder.iterdir()), "the numbers go with the gateway"
