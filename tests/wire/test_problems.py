"""Errors as problems (RFC 9457), and requests that nobody sends on purpose (PROTOCOL §4)."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from realtime import errors
from tests.support.waiting import at_once, patience
from tests.wire.support import (
    BROWSER,
    EVENTS,
    HISTORY,
    LONG_POLL,
    NEGOTIATE,
    POLL,
    SDK,
    STREAM,
    TICKET,
    bare,
    check_problem,
    request,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

DOCS = Path(__file__).parents[2] / "docs" / "protocol.md"
METHODS = {
    STREAM: {"GET"},
    LONG_POLL: {"GET"},
    POLL: {"GET"},
    EVENTS: {"POST"},
    HISTORY: {"GET", "HEAD", "OPTIONS"},
    NEGOTIATE: {"POST", "OPTIONS"},
    TICKET: {"POST", "DELETE", "OPTIONS"},
    "/livez": {"GET", "HEAD", "OPTIONS"},
    "/readyz": {"GET", "HEAD", "OPTIONS"},
}


@pytest.mark.parametrize("path", METHODS)
async def test_another_method_is_405_with_those_that_are(plain: Gateway, path: str) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"):
        if method in METHODS[path]:
            continue
        answer = await plain.http.request(method, path, headers={**plain.bearer(), **BROWSER})
        assert set(answer.headers["allow"].split(", ")) == METHODS[path]
        if method == "HEAD":
            assert (answer.status_code, answer.content) == (405, b"")
        else:
            check_problem(answer, 405, "method-not-allowed")


@pytest.mark.parametrize(
    "path",
    [
        "/nope", "/api", "/api/v1", "/api/v2/events", f"{EVENTS}/", f"{EVENTS}/nope", f"{STREAM}/", f"{POLL}/1",
        f"{NEGOTIATE}/", "/api/v1/events/Poll", "/api//v1/events/poll", "/%00", "/%ff", "/%2e%2e/etc", "/livez/",
        f"{EVENTS}%2Fpoll%2F", "/api/v1//events/history",
    ],
)  # fmt: skip
async def test_what_is_not_there_is_404(plain: Gateway, path: str) -> None:
    for method in ("GET", "POST"):
        answer = await bare(plain, request(method, path, plain.bearer()))
        assert answer.status == 404, answer.body
        assert answer.headers["content-type"] == "application/problem+json"
        assert json.loads(answer.body)["code"] == "not-found"


async def test_an_escaped_path_is_the_path(plain: Gateway) -> None:
    assert (await bare(plain, request("GET", "/api/v1/events/%70oll", plain.bearer()))).status == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_it_lives_and_is_ready_for_anybody(plain: Gateway, path: str) -> None:
    answer = await plain.http.get(path, headers={"Authorization": "Bearer x"})
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")


ODD_QUERIES = {
    "cursor=%zz": 400,
    "cursor=%": 400,
    "cursor=%ff": 400,
    "cursor=%00": 400,
    "cursor=1-1%0a": 400,
    "cursor=+1-1": 400,
    f"cursor={'9' * 60_000}": 400,
    "cursor": 400,
    "events=%ff.*": 400,
    "scopes=user:%ff": 400,
    "scopes=user:%ed%a0%80": 400,
    "scopes=" + "topic:" + "x" * 60_000: 400,
    "limit=%ff": 400,
    "audience=%ff": 400,
    "ticket=%ff": None,  # the header comes first
    "%ff=%ff": 200,
    "x=%zz": 200,
    "&&&=&=": 200,
    "&".join(f"x{number}=%41" for number in range(300)): 200,
    "cursor=bad&cursor=": 400,
    "x=" + "y" * 60_000: 200,
}


@pytest.mark.parametrize("query", ODD_QUERIES, ids=lambda query: query[:24])
async def test_odd_queries(plain: Gateway, query: str) -> None:
    for path in (POLL, LONG_POLL, STREAM):
        if path == STREAM and ODD_QUERIES[query] != 400:
            continue
        answer = await bare(plain, request("GET", f"{path}?{query}", {**plain.bearer(), **SDK}))
        assert answer.status == (ODD_QUERIES[query] or 200), answer.body
        if answer.status == 400:
            problem = json.loads(answer.body)
            assert problem["code"] == "malformed-parameter"
            assert len(problem["detail"]) < 500, "what was sent is quoted in part only"


async def test_of_equal_parameters_the_last_counts(plain: Gateway) -> None:
    answer = await plain.http.get(f"{POLL}?cursor=bad&cursor=1-1", headers=plain.bearer())
    assert answer.json()["control"][0]["data"]["requested"] == "1-1"
    check_problem(
        await plain.http.get(f"{POLL}?cursor=1-1&cursor=bad", headers=plain.bearer()), 400, "malformed-parameter"
    )


@pytest.mark.parametrize("name", ["scopes", "events"])
async def test_a_list_has_a_hundred_items_at_most(plain: Gateway, name: str) -> None:
    item = {"scopes": "broadcast", "events": "task.*"}[name]
    for count, status in ((100, 200), (101, 400)):
        params = {name: ",".join([item] * count)}
        answer = await plain.http.get(POLL, params=params, headers=plain.bearer())
        assert answer.status_code == status


async def test_bytes_that_are_no_ascii_in_a_query(plain: Gateway) -> None:
    head = f"GET {POLL}?x=".encode() + "ü".encode() + b"\xff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    head += f"Authorization: {plain.bearer()['Authorization']}\r\n\r\n".encode()
    assert (await bare(plain, head)).status in {200, 400}


@pytest.mark.parametrize("size", [9_000, 30_000])
async def test_large_headers_are_no_trouble(plain: Gateway, size: int) -> None:
    answer = await plain.http.get(POLL, headers={**plain.bearer(), "X-Odd": "x" * size, "Cookie": "a=" + "x" * size})
    assert answer.status_code == 200
    answer = await plain.http.get(POLL, headers={"Authorization": f"Bearer {'x' * size}"})
    check_problem(answer, 401, "bad-credential")
    answer = await plain.http.get(POLL, params={"ticket": "x" * size})
    check_problem(answer, 401, "bad-credential")
    answer = await plain.http.get(STREAM, headers={"Cookie": f"gapless_ticket={'x' * size}", **BROWSER})
    check_problem(answer, 401, "bad-credential")


async def test_bytes_that_are_no_ascii_in_headers(plain: Gateway) -> None:
    for name in (b"Authorization: Bearer \xff\xfe", b"Cookie: gapless_ticket=\xff", b"Authorization: \xc3\xbc"):
        head = f"GET {POLL} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode() + name + b"\r\n\r\n"
        answer = await bare(plain, head)
        assert (answer.status, json.loads(answer.body)["code"]) == (401, "bad-credential")


async def test_a_body_with_a_get_is_ignored(plain: Gateway) -> None:
    answer = await bare(plain, request("GET", POLL, plain.bearer(), b'{"cursor":"bad"}'))
    assert answer.status == 200


async def test_one_connection_carries_one_answer_after_the_other(plain: Gateway) -> None:
    """A refusal in between, with a body that nobody read, does not break it."""
    url = urlsplit(plain.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    refused = request("POST", EVENTS, {"Connection": "keep-alive"}, b"x" * 100_000)
    good = request("GET", "/livez", {"Connection": "keep-alive"})
    for sent, status in ((good, 200), (refused, 401), (good, 200)):
        writer.write(sent)
        async with patience():
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
            assert length, head
            await reader.readexactly(int(length[1]))
        assert head.startswith(f"HTTP/1.1 {status} ")
    writer.close()
    await writer.wait_closed()


REFUSED = {EVENTS: 413, NEGOTIATE: 413, TICKET: 413, POLL: 405, "/nope": 404}


@pytest.mark.parametrize("path", REFUSED)
async def test_who_sends_much_and_then_closes_is_told_why_it_was_refused(plain: Gateway, path: str) -> None:
    """Closed with bytes unread, the connection would be reset before the client has read the answer."""
    body = b" " * (12 * 1024 * 1024)
    answer = await bare(plain, request("POST", path, plain.bearer(roles=("publisher",)), body))
    assert answer.status == REFUSED[path]
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await bare(plain, request("POST", path, {}, body))).status in {401, 404, 405}


async def test_who_asks_before_it_sends_is_refused_at_once(plain: Gateway) -> None:
    headers = {"Expect": "100-continue", "Content-Length": "9000000"}
    assert (await at_once(bare(plain, request("POST", EVENTS, headers)))).status == 401


async def test_who_never_sends_its_body_is_answered_all_the_same(plain: Gateway) -> None:
    assert (await bare(plain, request("POST", POLL, {"Content-Length": "10"}, b""))).status == 405


@pytest.mark.parametrize("host", ["a" * 5000, "a b", "..", "\xe9", ""])
async def test_an_odd_host_is_no_fault_of_ours(plain: Gateway, host: str) -> None:
    for method, path in (("GET", POLL), ("GET", HISTORY), ("POST", NEGOTIATE), ("GET", "/nope")):
        answer = await bare(plain, request(method, path, {"Host": host, **plain.bearer()}))
        assert answer.status in {200, 400, 404}, answer.body
        assert answer.status == 200 or answer.headers["content-type"] == "application/problem+json"


async def test_http_1_0_is_served(plain: Gateway) -> None:
    head = f"GET {POLL} HTTP/1.0\r\nAuthorization: {plain.bearer()['Authorization']}\r\n\r\n"
    answer = await bare(plain, head.encode())
    assert (answer.status, len(answer.body)) == (200, int(answer.headers["content-length"]))


def all_errors(kind: type[errors.GaplessError] = errors.GaplessError) -> Iterator[type[errors.GaplessError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from all_errors(below)


async def test_every_code_is_in_the_documentation_with_its_status() -> None:
    kinds = [kind for kind in all_errors() if "code" in vars(kind) and not issubclass(kind, errors.StartError)]
    answered = {kind.code: kind.status for kind in kinds}
    table = dict(re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    assert {code: int(status) for code, status in table.items()} == answered
