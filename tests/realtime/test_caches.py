"""What is remembered of clients goes when they have gone."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import httpx2

from realtime.caches import Caches
from realtime.known import KnownClient
from tests.support.waiting import until
from tests.wire.support import POLL

if TYPE_CHECKING:
    from tests.support.gateway import Gateway


class Remembered:
    """A cache that a crowd has filled."""

    def __init__(self, *sweeps: int) -> None:
        self.sweeps = list(sweeps)

    def sweep(self) -> int:
        return self.sweeps.pop(0) if self.sweeps else 0


def test_a_sweep_goes_through_all_caches() -> None:
    assert Caches((Remembered(1), Remembered(2))).sweep() == 3


async def test_caches_are_swept_again_and_again() -> None:
    cache = Remembered(2_000, 0, 5)
    task = asyncio.create_task(Caches((cache,), every_s=0).run())
    await until(lambda: not cache.sweeps)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_client_that_has_gone_is_freed_without_the_collector(served: Gateway) -> None:
    """A cycle of references would wait for the garbage collector, which looks seldom."""
    worker = served.worker
    caches = Caches((worker.credentials, worker.engine.standings, worker.taker.heads))
    headers = served.bearer("somebody")
    gc.collect()
    gc.disable()
    try:
        async with httpx2.AsyncClient(base_url=served.url, trust_env=False) as http:
            cursor = (await http.get(POLL, headers=headers)).json()["cursor"]
            for _ in range(4):
                await http.get(POLL, params={"cursor": cursor}, headers=headers)
            assert known_clients() == 1
        assert caches.sweep() == 0, "it has just been there"
        assert known_clients() == 1
        assert caches.sweep() >= 3, "its token, its head, its standing"
        await until(lambda: known_clients() == 0)
    finally:
        gc.enable()


def known_clients() -> int:
    return sum(isinstance(one, KnownClient) for one in gc.get_objects())
