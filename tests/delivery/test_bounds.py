"""What a request may take before it is complete: bytes, fields and time, on both lanes."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.delivery.lanes import Lanes, answered, connected, listening
from tests.support.gateway import gateway
from tests.support.waiting import interlude, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support.redis import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENTS = "/api/v1/events"
LIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
BODY = b'{"event":"test.happened","scope":"broadcast","data":"%b"}' % (b"x" * 200)
PAST_ALL_S = 0.4
"""Longer than every time that these settings give; a slow machine makes it longer still, and changes nothing."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tight(valkey: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lanes]:
    settings = {
        "LIMITS__HEAD_BYTES": "4KiB",
        "LIMITS__HEAD_FIELDS": "20",
        "LIMITS__HEAD_TIMEOUT": "150ms",
        "LIMITS__BODY_TIMEOUT": "150ms",
        "LIMITS__BODY_RATE": "2B",
        "LONG_POLL__HOLD": "2s",
    }
    async with (
        gateway(tmp_path_factory.mktemp("tight"), valkey.database(), settings) as served,
        listening(served) as asgi,
    ):
        yield Lanes(served, int(served.url.rpartition(":")[2]), asgi)


async def refused(port: int, parts: Iterator[bytes] | list[bytes], before: int = 0) -> tuple[int, str]:
    """Send parts until the server has enough; return the status and code that the connection ended with."""
    async with connected(port) as (reader, writer):

        async def send() -> None:
            with suppress(ConnectionError):
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0)  # the server's turn: it runs in this loop

        sending = asyncio.create_task(send())
        for _ in range(before):
            assert (await answered(reader)).status == 200
        told = await answered(reader)
        assert told.fields["connection"] == "close"
        assert await reader.read() == b""
        sending.cancel()
    return told.status, json.loads(told.body)["code"]


def publisher(lanes: Lanes) -> bytes:
    return lanes.served.bearer("42", roles=("publisher",))["Authorization"].encode()


def endless(first: bytes, then: bytes) -> Iterator[bytes]:
    yield first
    while True:
        yield then


POST = f"POST {EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: TOKEN\r\n".encode()
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
TOO_LARGE = (431, "head-too-large")
FLOODS = {
    "fields": (b"GET /livez HTTP/1.1\r\n", b"X-1: a\r\n" * 10, TOO_LARGE),
    "a field's name": (b"GET /livez HTTP/1.1\r\n", b"X" * 100, TOO_LARGE),
    "a field's value": (b"GET /livez HTTP/1.1\r\nX: ", b"x" * 100, TOO_LARGE),
    "a target": (b"GET /", b"x" * 100, (414, "target-too-long")),
    "a query": (f"GET {EVENTS}/poll?cursor=".encode(), b"1" * 100, (414, "target-too-long")),
    "empty lines": (b"\r\n", b"\r\n" * 50, TOO_LARGE),
    "trailer fields": (CHUNKED + b"0\r\n", b"X-1: a\r\n" * 10, TOO_LARGE),
    "a trailer field": (CHUNKED + b"0\r\nX: ", b"x" * 100, TOO_LARGE),
    "a chunk's extension": (CHUNKED + b"1;x=", b"x" * 100, TOO_LARGE),
    "the digits of a chunk's size": (CHUNKED, b"0" * 100, TOO_LARGE),
}


@pytest.mark.parametrize(("first", "then", "told"), FLOODS.values(), ids=FLOODS.keys())
async def test_what_is_never_to_end_is_refused(tight: Lanes, first: bytes, then: bytes, told: tuple[int, str]) -> None:
    first = first.replace(b"TOKEN", publisher(tight))
    for port in tight[1:]:
        assert await refused(port, endless(first, then)) == told
        assert await refused(port, endless(LIVE + LIVE + first, then), before=2) == told


async def test_a_head_has_its_bound_whole_too(tight: Lanes) -> None:
    for port in tight[1:]:
        assert await refused(port, [LIVE[:-2] + b"X: a\r\n" * 20 + b"\r\n"]) == TOO_LARGE
        assert await refused(port, [LIVE[:-2] + b"X: " + b"a" * 4096 + b"\r\n\r\n"]) == TOO_LARGE
        assert await refused(port, [LIVE.replace(b"livez", b"x" * 4096)]) == (414, "target-too-long")
        fast = f"GET {EVENTS}/poll?cursor=1-1&x={'x' * 4096} HTTP/1.1\r\nHost: x\r\n\r\n"
        assert await refused(port, [fast.encode()]) == (414, "target-too-long")
        fast = f"GET {EVENTS}/poll?cursor=1-1 HTTP/1.1\r\nHost: x\r\n" + "".join(f"X-{n}: a\r\n" for n in range(20))
        assert await refused(port, [f"{fast}\r\n".encode()]) == TOO_LARGE
        async with connected(port) as (reader, writer):
            writer.write(LIVE[:-2] + b"X: a\r\n" * 19 + b"\r\n")
            assert (await answered(reader)).status == 200


async def test_a_connection_that_asks_nothing_is_closed(tight: Lanes) -> None:
    for port in tight[1:]:
        for said in (b"", b"\r\n"):
            async with connected(port) as (reader, writer):
                writer.write(said)
                assert await reader.read() == b""


@pytest.mark.parametrize("said", [b"G", LIVE[:-2], POST, CHUNKED + b"5\r\n", POST + b"Content-Length: 50\r\n\r\nx"])
async def test_a_request_that_does_not_come_whole_is_told_so(tight: Lanes, said: bytes) -> None:
    said = said.replace(b"TOKEN", publisher(tight))
    for port in tight[1:]:
        assert await refused(port, [said]) == (408, "request-timeout")
        assert await refused(port, [LIVE, said], before=1) == (408, "request-timeout")


async def test_a_body_may_take_longer_as_long_as_it_comes(tight: Lanes) -> None:
    head = POST.replace(b"TOKEN", publisher(tight)) + b"Content-Length: %d\r\n\r\n" % len(BODY)
    for port in tight[1:]:
        async with connected(port) as (reader, writer):
            writer.write(head + BODY[:-1])  # at 2 B/s it has two minutes for the last one
            await interlude(PAST_ALL_S)
            writer.write(BODY[-1:])
            assert (await answered(reader)).status == 201


async def test_a_connection_that_has_asked_is_kept(tight: Lanes) -> None:
    poll = f"GET {EVENTS}/poll HTTP/1.1\r\nHost: x\r\nAuthorization: {tight.served.bearer()['Authorization']}\r\n\r\n"
    for port in tight[1:]:
        for request in (LIVE, poll.encode()):
            async with connected(port) as (reader, writer):
                for _ in range(2):
                    writer.write(request)
                    assert (await answered(reader)).status == 200
                    await interlude(PAST_ALL_S)


async def test_what_we_do_not_read_has_no_deadline(tight: Lanes) -> None:
    bearer, hub = tight.served.bearer()["Authorization"], tight.served.worker.engine.hub
    tail = (await tight.served.http.get(f"{EVENTS}/poll", headers={"Authorization": bearer})).json()["cursor"]
    held = f"GET {EVENTS}/long-poll?cursor={tail} HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\n\r\n"
    async with connected(tight.direct) as (reader, writer):
        writer.write(held.encode())
        await until(lambda: hub.size == 1)
        writer.write(CHUNKED.replace(b"TOKEN", publisher(tight)))
        await interlude(PAST_ALL_S)
        writer.write(b"2\r\n{}\r\n0\r\n\r\n")
        assert (await answered(reader)).status == 200
        assert (await answered(reader)).status == 422


async def test_nothing_is_owed_by_those_who_were_answered(lanes: Lanes) -> None:
    watch = lanes.served.worker.engine.watch
    for port in lanes[1:]:
        before = watch.size
        async with connected(port) as (reader, writer):
            await until(lambda before=before: watch.size == before + 1)  # type: ignore[misc] # bound here
            writer.write(LIVE)
            await answered(reader)
            assert watch.size == before
            writer.write(LIVE[:5])
            await until(lambda before=before: watch.size == before + 1)  # type: ignore[misc] # bound here
        await until(lambda before=before: watch.size == before)  # type: ignore[misc] # bound here


async def test_who_owes_a_request_counts_as_a_client(
    valkey: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    limits = {"LIMITS__MAX_CLIENTS": "2", "LONG_POLL__HOLD": "50ms"}
    async with gateway(tmp_path_factory.mktemp("few"), valkey.database(), limits) as served:
        watch, port = served.worker.engine.watch, int(served.url.rpartition(":")[2])
        bearer = served.bearer()
        tail = (await served.http.get(f"{EVENTS}/poll", headers=bearer)).json()["cursor"]
        held = f"{EVENTS}/long-poll?cursor={tail}"
        async with connected(port), connected(port) as (_, writer):
            writer.write(LIVE[:5])
            await until(lambda: watch.size == 2)
            answer = await served.http.get(held, headers=bearer)
            assert (answer.status_code, answer.json()["code"]) == (503, "at-capacity")
            assert (await served.http.get(f"{EVENTS}/poll?cursor={tail}", headers=bearer)).status_code == 200
        await until(lambda: not watch.size)
        for _ in range(3):  # one's own request is owed no longer when it is looked at
            assert (await served.http.get(held, headers=bearer)).status_code == 200
