"""The fast lane against ASGI: the same bytes to one service through both, and the same answers, whatever was asked."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from realtime.delivery.heading import Framing
from tests.delivery.lanes import ask
from tests.support.waiting import patience

if TYPE_CHECKING:
    from tests.delivery.lanes import Lanes

PATHS = (
    "/api/v1/events/poll",
    "/api/v1/events/stream",
    "/api/v1/events/long-poll",
    "/api/v1/events",
    "/api/v1/events/history",
    "/livez",
    "/api/v1/events/poll/",
    "/api/v1/events/p%6Fll",
    "//api/v1/events/poll",
    "*",
)
CURSORS = ("", "1-1", "earliest", "tail", "nonsense", "99999999999999-0", "%31-1", "1-1&cursor=2-2")

names = st.sampled_from(
    ["Accept", "Authorization", "Host", "Last-Event-ID", "If-None-Match", "Origin", "Cookie", "X-Odd", "Expect",
     "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Via", "X-Forwarded-For", "accept"]
)  # fmt: skip
values = st.sampled_from(
    ["text/event-stream", "*/*", "text/event-stream, application/problem+json", "token", "Bearer nonsense",
     "1-1", '"1-1"', "", "0", "5", "chunked", "100-continue", "close", "keep-alive", "websocket", "http://elsewhere.test",
     "gapless_ticket=x", "\x80\xff", "192.0.2.1", "tail"]
)  # fmt: skip
parameters = st.sampled_from(
    ["events=task.*", "events=*", "events=Bad", "scopes=broadcast", "scopes=user:7", "limit=1", "limit=0", "limit=x",
     "hold_ms=0", "hold_ms=10", "hold_ms=-1", "audience=public", "audience=x", "ticket=nonsense", "x=%zz", "&&"]
)  # fmt: skip


@settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    method=st.sampled_from(["GET", "GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "get"]),
    path=st.sampled_from(PATHS) | st.sampled_from(PATHS[:3]),
    cursor=st.sampled_from(CURSORS),
    query=st.lists(parameters, max_size=3),
    headers=st.lists(st.tuples(names, values), max_size=4),
    version=st.sampled_from(["1.1", "1.1", "1.1", "1.0", "2.0"]),
    token=st.booleans(),
    body=st.sampled_from([b"", b"", b"", b"hello"]),
)
@pytest.mark.asyncio(loop_scope="module")
async def test_the_same_bytes_get_the_same_answer(  # noqa: PLR0917 - one for each part of a request
    lanes: Lanes, method: str, path: str, cursor: str, query: list[str], headers: list[tuple[str, str]],
    version: str, token: bool, body: bytes,
) -> None:  # fmt: skip
    tail = (await lanes.served.http.get(PATHS[0], headers=lanes.served.bearer())).json()["cursor"]
    given_query = "&".join([*([f"cursor={cursor}"] if cursor else []), *query]).replace("tail", tail)
    fields = [("Host", "127.0.0.1"), *headers, *([("Authorization", lanes.served.bearer()["Authorization"])] * token)]
    if body:  # what follows a request without one is another request, and no HTTP: uvicorn's tasks come too late for it
        fields.append(("Content-Length", str(len(body))))
    lines = [f"{method} {path}{'?' * bool(given_query)}{given_query} HTTP/{version}"]
    lines += [f"{name}: {value.replace('tail', tail)}" for name, value in fields]
    raw = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
    direct, asgi, known = await ask(lanes.direct, raw), await ask(lanes.asgi, raw), await ask(lanes.direct, raw)
    assert direct == asgi == known, raw


@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_pipelined_is_answered_in_order(lanes: Lanes) -> None:
    authorization = lanes.served.bearer()["Authorization"]
    one = f"GET /api/v1/events/poll?cursor=%s HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n\r\n"
    last = one.replace("Host: x", "Host: x\r\nConnection: close")
    requests = [one % "1-1", "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", one % "earliest", last % "bad"]
    answers = []
    for port in (lanes.direct, lanes.asgi):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write("".join(requests).encode())
        text = (await reader.read()).decode()
        writer.close()
        answers.append(re.findall(r"HTTP/1\.1 (\d+)", text))
    assert answers[0] == answers[1] == ["200", "200", "200", "400"]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_stream_whose_client_sends_more_goes_on(lanes: Lanes) -> None:
    authorization = lanes.served.bearer()["Authorization"]
    fields = f"Host: x\r\nAccept: text/event-stream\r\nAuthorization: {authorization}\r\n\r\n"
    stream = f"GET /api/v1/events/stream HTTP/1.1\r\n{fields}"
    reader, writer = await asyncio.open_connection("127.0.0.1", lanes.direct)
    async with patience():
        writer.write(stream.encode())
        await reader.readuntil(b"connection.established")
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        await lanes.served.publish({"event": "still.open"})
        await reader.readuntil(b"still.open")
    writer.close()


def test_the_same_bytes_are_framed_once() -> None:
    framing, data = Framing(), b"x" * 300
    first = framing.chunk(data)
    assert first == b"12c\r\n" + data + b"\r\n"
    assert framing.chunk(data) is first
    assert framing.chunk(b"other") == b"5\r\nother\r\n"
