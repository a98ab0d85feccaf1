"""A worker that hangs is noticed, told, and started again."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import httpx2

from tests.realtime.test_server import TWO, said, workers
from tests.support.program import is_alive, program
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_worker_that_hangs_is_killed_and_started_again(tmp_path: Path) -> None:
    async with program(tmp_path, "serve", "--port", "0", environ=TWO) as gateway:
        url = await gateway.address()
        hanging, well = workers(gateway)
        os.kill(hanging, signal.SIGSTOP)
        await until(lambda: not is_alive(hanging) and len(workers(gateway)) == 2)
        assert well in workers(gateway), "the other one was left alone"

        async def is_ready() -> bool:
            async with httpx2.AsyncClient(base_url=url, trust_env=False) as http:
                return (await http.get("/readyz")).status_code == 200

        await until(is_ready)
        os.kill(gateway.process.pid, signal.SIGTERM)
        assert await gateway.ended() == 0
        await gateway.nothing_left()
    assert "a process hangs and is killed" in said(gateway)
    assert "Traceback" not in gateway.errors
