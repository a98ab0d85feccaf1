"""The least rights that docs/operations.md gives a user of Redis are enough, and the server has refused nothing."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from realtime.cli.doctor import store
from realtime.cli.doctor.findings import PROBLEM
from tests.support.gateway import gateway, settings
from tests.support.operator import Operator
from tests.support.redis import RedisServer
from tests.wire.support import HISTORY, POLL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

_PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


def rights() -> list[str]:
    """Return the command of the page, as one types it."""
    found = re.search(r"^ACL SETUSER .*?(?=```)", _PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return shlex.split(found[0])


async def run(client: Redis, *command: str) -> Any:  # noqa: ANN401 - what the command returns
    return await client.execute_command(*command)  # type: ignore[no-untyped-call]


@pytest.fixture(params=["valkey", "redis"])
async def server(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[RedisServer]:
    one = RedisServer(tmp_path / "server", request.param)
    await one.start()
    try:
        async with one.client as client:
            await run(client, *rights(), *(("+client|setinfo",) if one.kind == "valkey" else ()))
        yield one
    finally:
        one.stop()


async def test_the_least_rights_are_enough_for_everything(tmp_path: Path, server: RedisServer) -> None:
    url = f"redis://gapless:a-long-password@127.0.0.1:{server.port}/1"
    limits = {
        "LIMITS__PUBLISH_RATE": "1000/minute",
        "LIMITS__STREAMS_PER_USER": "1",
        "LIMITS__ON_LIMIT": "replace",
    }
    async with gateway(tmp_path, url, limits) as one:
        alice = Operator.at(one)
        async with one.stream(one.bearer()) as first, one.stream(one.bearer()):
            await one.publish(
                {"event": "a.b", "scope": "user:42", "data": 1}, {"event": "c.d", "scope": "topic:t", "data": 2}
            )
            await first.rest()
        await one.negotiate()
        await alice.prefer("polling", "sse")
        await alice.get("/connections")
        assert (await alice.call("POST", "/revocations", {"sub": "7"})).status_code == 201
        assert (await alice.call("DELETE", "/revocations/sub/7")).status_code == 204
        await alice.get("/policy/revisions")
        history = await one.http.get(HISTORY, params={"scope": "user:42"}, headers=one.bearer())
        assert history.status_code == 200, history.text
        polled = await one.http.get(POLL, params={"cursor": "begin"}, headers=one.bearer())
        assert polled.status_code < 500
        assert (await one.http.get("/api/v1/events/health", headers=one.bearer(roles=("admin",)))).status_code == 200
    found = await asyncio.to_thread(lambda: list(store.examine(settings(tmp_path, url))))
    assert [finding for finding in found if finding.state == PROBLEM] == []
    async with server.client as client:
        refused = await run(client, "ACL", "LOG")
    assert refused == [], "nothing was refused"
