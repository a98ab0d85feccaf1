"""Requests that come between listening and a filled window: they wait, for a while, and are then served."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx2
import pytest
import uvicorn

from realtime.app import Worker
from realtime.delivery.direct import lane
from tests.support.gateway import Gateway, QuietServer, settings
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.redis import RedisServer

EVENTS = "/api/v1/events"


@pytest.fixture
async def early(valkey: RedisServer, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway that listens, and whose worker has not been started."""
    url = valkey.database()
    worker, port = Worker(settings(tmp_path, url), url), free_port()
    http = lane(worker.taker, worker.engine.watch)
    server = QuietServer(uvicorn.Config(worker.asgi, port=port, http=http, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        yield Gateway(str(client.base_url), worker, client)
    await worker.stop()
    server.should_exit = True
    await serving


ASKED = {
    "a poll": ("GET", "poll", {}),
    "a long-poll": ("GET", "long-poll", {}),
    "history": ("GET", "history", {}),
    "negotiation": ("POST", "negotiate", {}),
    "an EventSource": ("GET", "stream", {"Accept": "text/event-stream"}),
}


@pytest.mark.parametrize(("method", "path", "headers"), ASKED.values(), ids=ASKED.keys())
async def test_who_comes_early_waits(early: Gateway, method: str, path: str, headers: dict[str, str]) -> None:
    async def ask() -> tuple[int, str]:
        async with early.http.stream(method, f"{EVENTS}/{path}", headers={**early.bearer(), **headers}) as answer:
            return answer.status_code, await anext(answer.aiter_text())

    asking = asyncio.create_task(ask())
    assert (await early.http.get("/livez")).status_code == 200
    assert (await early.http.get(f"{EVENTS}/health")).json() == {"status": "degraded"}
    assert not asking.done()
    await early.worker.start()
    status, text = await asking
    assert status == 200
    assert "connection.established" in text or path != "stream"


async def test_nobody_waits_for_long(early: Gateway) -> None:
    answer = await early.http.get(f"{EVENTS}/poll", headers=early.bearer())
    assert (answer.status_code, answer.json()["code"]) == (503, "log-unavailable")
    assert int(answer.headers["retry-after"]) in range(1, 6)
