"""What HTTP/1 leaves to a server, on both lanes: offers to upgrade, trailers, old versions, hosts, half-closing."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.delivery.lanes import answered, connected
from tests.support.waiting import interlude, until

if TYPE_CHECKING:
    from tests.delivery.lanes import Lanes

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENTS = "/api/v1/events"
BODY = b'{"event":"test.happened","scope":"broadcast","data":1}'
LIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
OFFERS = (
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n",
    "Connection: Upgrade\r\nUpgrade: TLS/1.0, HTTP/2.0\r\nuPGRADE: h2c\r\n",
    "Upgrade: h2c\r\n",
)
TAKE_BODIES = (EVENTS, f"{EVENTS}/negotiate", f"{EVENTS}/report", "/api/v1/auth/ticket", "/api/v1/admin/explain")
DONE = {EVENTS: 201, f"{EVENTS}/report": 202}


async def all_of(port: int, *parts: bytes) -> list[int]:
    """Send parts, each after the last has surely been read; return the statuses of all answers until the close."""
    async with connected(port) as (reader, writer):
        for part in parts:
            writer.write(part)
            await writer.drain()
            await interlude(0.02)  # so that it is likely a segment of its own: the test holds without that too
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", await reader.read())]


def body_of(path: str) -> bytes:
    report = {"session": "s", "transport": "sse", "outcome": "connected"}
    bodies = {EVENTS: BODY, f"{EVENTS}/report": json.dumps(report).encode()}
    return bodies.get(path, b'{"sub":"7"}' if path.endswith("explain") else b"{}")


def post(lanes: Lanes, path: str, fields: str, body: bytes) -> bytes:
    """Write a request that is allowed, with a body."""
    bearer = lanes.served.bearer("olga", roles=("publisher", "admin"))["Authorization"]
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\n{fields}\r\n".encode() + body


@pytest.mark.parametrize("path", TAKE_BODIES)
@pytest.mark.parametrize("offer", OFFERS)
async def test_an_offer_to_upgrade_is_ignored_whatever_the_segments(lanes: Lanes, path: str, offer: str) -> None:
    body = body_of(path)
    whole = post(lanes, path, f"{offer}Content-Length: {len(body)}\r\n", body) + LAST
    cut = whole.index(b"\r\n\r\n") + 4
    for port in lanes[1:]:
        for parts in (
            [whole],
            [whole[:cut], whole[cut:]],
            [whole[:30], whole[30:]],
            [whole[:cut], LAST[:0], whole[cut:]],
        ):
            assert await all_of(port, *parts) == [DONE.get(path, 200), 200]


async def test_a_body_behind_an_offer_is_no_request(lanes: Lanes) -> None:
    hidden = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
    request = post(lanes, EVENTS, f"{OFFERS[0]}Content-Length: {len(hidden)}\r\n", b"")
    for port in lanes[1:]:
        assert await all_of(port, request, hidden + LAST) == [400, 200]


async def test_a_chunked_body_behind_an_offer_is_read(lanes: Lanes) -> None:
    request = post(lanes, EVENTS, f"{OFFERS[0]}Transfer-Encoding: chunked\r\n", b"")
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    for port in lanes[1:]:
        assert await all_of(port, request, chunks, LAST) == [201, 200]


@pytest.mark.parametrize("offer", OFFERS)
async def test_what_is_pipelined_behind_an_offer_is_answered(
    lanes: Lanes, offer: str, caplog: pytest.LogCaptureFixture
) -> None:
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\n" + offer.encode() + b"\r\n"
    for port in lanes[1:]:
        assert await all_of(port, request + LIVE + request + LAST) == [200, 200, 200, 200]
    assert not [one for one in caplog.records if one.name.startswith("uvicorn")]


async def test_a_tunnel_is_refused(lanes: Lanes) -> None:
    for port in lanes[1:]:
        assert await all_of(port, b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n" + LIVE) == [400]


async def test_trailer_fields_change_nothing(lanes: Lanes) -> None:
    bearer = lanes.served.bearer("42", roles=("publisher",))["Authorization"]
    head = f"POST {EVENTS} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    trailer = f"0\r\nAuthorization: {bearer}\r\nHost: y\r\nOrigin: https://app.example\r\n\r\n".encode()
    chunks = b"%x\r\n%b\r\n" % (len(BODY), BODY)
    for port in lanes[1:]:  # as an anonymous client, who may do something here, but not publish
        assert await all_of(port, head + chunks + trailer + LAST) == [403, 200]
        assert await all_of(port, head + chunks, trailer, LAST) == [403, 200]


async def test_http_1_0_gets_plain_bytes_until_the_connection_closes(lanes: Lanes) -> None:
    bearer = lanes.served.bearer()["Authorization"]
    fields = f"Authorization: {bearer}\r\nAccept: text/event-stream\r\nConnection: keep-alive\r\n\r\n"
    for port in lanes[1:]:
        async with connected(port) as (reader, writer):
            writer.write(f"GET {EVENTS}/stream HTTP/1.0\r\n{fields}".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"connection: close" in head
            assert b"transfer-encoding" not in head
            assert re.fullmatch(rb"(?:[a-z]+: ?.*\n)+\n", await reader.readuntil(b"\n\n"))
            await lanes.served.publish({"event": "old.way"})
            await reader.readuntil(b"event: old.way\n")


@pytest.mark.parametrize("target", ["/livez", f"{EVENTS}/poll", "/openapi.json"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_answers_end_as_their_version_has_it(lanes: Lanes, target: str, version: str) -> None:
    bearer = lanes.served.bearer()["Authorization"]
    request = f"GET {target} HTTP/{version}\r\nHost: x\r\nAuthorization: {bearer}\r\nConnection: close\r\n\r\n"
    for port in lanes[1:]:
        async with connected(port) as (reader, writer):
            writer.write(request.encode())
            told = await answered(reader)
            assert (told.status, told.fields["connection"], await reader.read()) == (200, "close", b"")


HOSTLESS = {
    "missing": "",
    "doubled": "Host: x\r\nHost: x\r\n",
    "two in one": "Host: a, b\r\n",
    "a space": "Host: a b\r\n",
    "empty": "Host:\r\n",
    "a user": "Host: user@x\r\n",
    "a path": "Host: x/y\r\n",
    "a port that is none": "Host: x:99999\r\n",
    "not closed": "Host: [::1\r\n",
}
ADDRESSES = (
    "GET /livez",
    "GET /readyz",
    "GET /metrics",
    "GET /nowhere",
    "GET /docs",
    "GET /admin/",
    f"GET {EVENTS}/poll",
    f"GET {EVENTS}/long-poll",
    f"GET {EVENTS}/stream",
    f"GET {EVENTS}/history",
    f"GET {EVENTS}/health",
    f"POST {EVENTS}",
    f"POST {EVENTS}/negotiate",
    "POST /api/v1/auth/ticket",
    f"OPTIONS {EVENTS}",
    "GET /api/v1/admin/policy",
)


@pytest.mark.parametrize("host", HOSTLESS.values(), ids=HOSTLESS.keys())
@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_request_for_no_host_is_malformed(lanes: Lanes, address: str, host: str) -> None:
    bearer = lanes.served.bearer("42", roles=("publisher", "admin"))["Authorization"]
    length = f"Content-Length: {len(BODY)}\r\n" if address.startswith("POST") else ""
    body = BODY if length else b""
    request = f"{address} HTTP/1.1\r\n{host}Authorization: {bearer}\r\n{length}\r\n".encode() + body
    for port in lanes[1:]:
        async with connected(port) as (reader, writer):
            writer.write(request)
            told = await answered(reader)
            assert (told.status, json.loads(told.body)["code"]) == (400, "malformed-parameter")


@pytest.mark.parametrize("host", ["x", "x:1", "127.0.0.1", "[::1]:8000", "EXAMPLE.com"])
@pytest.mark.parametrize("path", ["/livez", f"{EVENTS}/poll", f"{EVENTS}/history"])
async def test_any_name_will_do(lanes: Lanes, path: str, host: str) -> None:
    bearer = lanes.served.bearer()["Authorization"]
    for port in lanes[1:]:
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {bearer}\r\nConnection: close\r\n\r\n"
        assert await all_of(port, request.encode()) == [200]


@pytest.mark.parametrize("path", ["/livez", f"{EVENTS}/poll", f"{EVENTS}/history", "/metrics"])
async def test_http_1_0_need_not_name_a_host(lanes: Lanes, path: str) -> None:
    bearer = lanes.served.bearer()["Authorization"]
    for port in lanes[1:]:
        assert await all_of(port, f"GET {path} HTTP/1.0\r\nAuthorization: {bearer}\r\n\r\n".encode()) == [200]


async def test_the_absolute_form_names_path_and_host(lanes: Lanes) -> None:
    for port in lanes[1:]:
        for target, status in {
            "http://x/livez": 200,
            "http://x": 404,
            "http://x?a=b": 404,
            "http://[::1]:80/livez": 200,
            "http://a b/livez": 400,
            "http:///livez": 400,
            "http://user@x/livez": 400,
        }.items():
            request = f"GET {target} HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n"
            assert await all_of(port, request.encode()) == [status], target


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /livez",
        f"GET {EVENTS}/poll?cursor=earliest",
        f"GET {EVENTS}/long-poll?cursor=tail&hold_ms=1000000",
        f"GET {EVENTS}/history",
        f"POST {EVENTS}",
    ],
)
async def test_a_half_closed_client_is_answered(lanes: Lanes, request_line: str) -> None:
    bearer = lanes.served.bearer("42", roles=("publisher",))["Authorization"]
    tail = (await lanes.served.http.get(f"{EVENTS}/poll", headers={"Authorization": bearer})).json()["cursor"]
    body = BODY if request_line.startswith("POST") else b""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    line = request_line.replace("tail", tail)
    request = f"{line} HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\n{length}\r\n".encode() + body
    for port in lanes[1:]:
        for pieces in ([request], [LIVE, request], [LIVE + request]):
            async with connected(port) as (reader, writer):
                for piece in pieces:
                    writer.write(piece)
                writer.write_eof()
                statuses = re.findall(rb"HTTP/1\.1 (\d+) ", await reader.read())
                assert set(statuses) <= {b"200", b"201"}
                assert len(statuses) == 1 + (LIVE in b"".join(pieces))


async def test_a_half_closed_client_gets_the_begin_of_its_stream_and_no_more(lanes: Lanes) -> None:
    bearer = lanes.served.bearer()["Authorization"]
    fields = f"Host: x\r\nAccept: text/event-stream\r\nAuthorization: {bearer}\r\n\r\n"
    for port in lanes[1:]:
        async with connected(port) as (reader, writer):
            writer.write(f"GET {EVENTS}/stream HTTP/1.1\r\n{fields}".encode())
            writer.write_eof()
            assert b"connection.established" in await reader.read()
    await until(lambda: not lanes.served.worker.engine.hub.size)


async def test_what_is_no_http_is_said_in_a_problem_behind_the_answers_before_it(lanes: Lanes) -> None:
    for port in lanes[1:]:
        for noise in (
            b"\x16\x03\x01\x02\x00\x01",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET /livez HTTP/1.1\r\nHost : x\r\n\r\n",
        ):
            async with connected(port) as (reader, writer):
                writer.write(LIVE + noise)
                assert (await answered(reader)).status == 200
                told = await answered(reader)
                assert (told.status, told.fields["connection"]) == (400, "close")
                assert json.loads(told.body)["code"] == "malformed-request"
                assert await reader.read() == b""


async def test_under_pressure_nobody_is_served_who_has_left(lanes: Lanes) -> None:
    stretch = lanes.served.worker.engine.load.stretch
    bearer = lanes.served.bearer("42", roles=("publisher",))["Authorization"]
    head = f"POST {EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\nContent-Length: {len(BODY)}\r\n\r\n"
    for port in lanes[1:]:
        for factor, answer in ((1.0, 1), (2.0, 0)):
            stretch.factor = factor
            async with connected(port) as (reader, writer):
                writer.write(head.encode() + BODY)
                writer.write_eof()  # with the request: it is there when that is read
                with suppress(ConnectionError):
                    assert (await reader.read()).count(b"HTTP/1.1 201") == answer
        async with connected(port) as (reader, writer):  # who stays is served
            writer.write(head.encode() + BODY)
            assert (await answered(reader)).status == 201
    stretch.factor = 1.0
