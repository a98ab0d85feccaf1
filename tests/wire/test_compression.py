"""Compression: gzip where it pays, and where it tells nobody anything."""

from __future__ import annotations

import gzip
import json
import re
from typing import TYPE_CHECKING

import pytest

from realtime.compression import LEAST, packed, takes_gzip
from tests.support.clock import stopped_clock
from tests.wire.support import APP, BROWSER, HISTORY, LONG_POLL, NEGOTIATE, POLL, STREAM, bare, request, unique
from transports.transport import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.gateway import Gateway
    from tests.wire.support import Bare

pytestmark = pytest.mark.asyncio(loop_scope="session")

GZIP = {"Accept-Encoding": "gzip"}


async def asked(on: Gateway, path: str, headers: Mapping[str, str], **query: str) -> Bare:
    joined = "&".join(f"{name}={value}" for name, value in query.items())
    return await bare(on, request("GET", f"{path}?{joined}", headers))


async def published(on: Gateway, events: int = 30) -> str:
    """Publish events to a topic of the news that nobody else uses; return its scope."""
    scope = unique("topic:news.compressed-")
    await on.publish(*[{"scope": scope, "data": {"number": number}} for number in range(events)])
    return scope


def token(on: Gateway, scope: str) -> dict[str, str]:
    return on.bearer(scopes=(scope,))


@pytest.mark.parametrize("path", [POLL, LONG_POLL, HISTORY])
async def test_it_is_compressed_for_who_takes_it(plain: Gateway, path: str) -> None:
    scope = await published(plain)
    query = {"cursor": "earliest", "scopes": scope, "since_id": "earliest"}
    small = await asked(plain, path, {**token(plain, scope), **GZIP}, **query)
    large = await asked(plain, path, token(plain, scope), **query)
    assert small.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in large.headers
    assert small.headers["vary"].lower() == large.headers["vary"].lower() == "accept-encoding"
    assert int(small.headers["content-length"]) == len(small.body) < len(large.body) / 3
    unpacked = json.loads(gzip.decompress(small.body))
    assert [event["data"]["number"] for event in unpacked["events"]] == list(range(30))
    assert unpacked["events"] == json.loads(large.body)["events"]
    assert small.headers["content-type"] == "application/json"


async def test_admins_answers_are_compressed_too(plain: Gateway) -> None:
    for _ in range(3):
        await published(plain, 1)
    admin = plain.bearer("root", roles=("admin",))
    openings = [plain.stream(plain.bearer(unique("sub-"))) for _ in range(6)]
    streams = [await opening.__aenter__() for opening in openings]
    for stream in streams:
        await stream.envelope("connection.established")
    answer = await bare(plain, request("GET", "/api/v1/admin/connections", {**admin, **GZIP}))
    assert answer.headers["content-encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(answer.body))["connections"]) >= 6
    for opening in openings:
        await opening.__aexit__(None, None, None)


@pytest.mark.parametrize("accepted", ["", "identity", "br", "gzip;q=0", "gzip;q=0.000, br", "*;q=0"])
async def test_who_does_not_take_it_gets_it_as_it_is(plain: Gateway, accepted: str) -> None:
    scope = await published(plain)
    headers = {**token(plain, scope), "Accept-Encoding": accepted}
    answer = await asked(plain, POLL, headers, cursor="earliest", scopes=scope)
    assert "content-encoding" not in answer.headers
    assert len(json.loads(answer.body)["events"]) == 30


async def test_a_small_answer_is_left_alone(plain: Gateway) -> None:
    scope = await published(plain, 2)
    answer = await asked(plain, POLL, {**token(plain, scope), **GZIP}, cursor="earliest", scopes=scope)
    assert "content-encoding" not in answer.headers
    assert "vary" not in answer.headers
    assert len(answer.body) < LEAST


async def test_a_poll_keeps_its_tag_and_its_304(plain: Gateway) -> None:
    scope = await published(plain)
    headers = {**token(plain, scope), **GZIP}
    answer = await asked(plain, POLL, headers, cursor="earliest", scopes=scope)
    tag, cursor = answer.headers["etag"], json.loads(gzip.decompress(answer.body))["cursor"]
    assert tag == f'W/"{cursor}"'
    for sent in (tag, tag.removeprefix("W/")):
        again = await asked(plain, POLL, {**headers, "If-None-Match": sent}, cursor=cursor, scopes=scope)
        assert (again.status, again.body) == (304, b"")
        assert again.headers["etag"] == tag
        assert "content-encoding" not in again.headers


async def test_a_stream_is_never_compressed(plain: Gateway) -> None:
    scope = await published(plain)
    headers = {**token(plain, scope), **GZIP, **BROWSER}
    async with plain.stream(headers, cursor="earliest", scopes=scope) as stream:
        assert "content-encoding" not in stream.answer.headers
        assert "vary" not in stream.answer.headers
        await stream.envelope("test.happened")


async def test_a_poll_over_the_streams_address_is_not_either(moved: Gateway) -> None:
    scope = await published(moved)
    answer = await asked(moved, STREAM, {**token(moved, scope), **GZIP, **BROWSER}, cursor="earliest", scopes=scope)
    assert "content-encoding" not in answer.headers
    assert answer.body.count(b"event: test.happened") == 30


async def test_an_answer_with_a_ticket_is_not(quick: Gateway) -> None:
    scope = await published(quick)
    body = json.dumps({"client": {"id": "x" * 255, "platform": "y" * 255, "sdk": "z" * 255}}).encode()
    headers = {**token(quick, scope), **GZIP}
    with stopped_clock() as clock:
        negotiated = await bare(quick, request("POST", NEGOTIATE, headers, body))
        assert len(negotiated.body) > LEAST
        assert "content-encoding" not in negotiated.headers
        ticket = json.loads(negotiated.body)["ticket"]
        first = await asked(quick, POLL, GZIP, ticket=ticket, cursor="earliest", scopes=scope)
        assert "ticket" not in json.loads(gzip.decompress(first.body))
        clock.forward(501)  # past half of its second, it is renewed
        answer = await asked(quick, POLL, GZIP, ticket=ticket, cursor="earliest", scopes=scope)
        assert "content-encoding" not in answer.headers
        assert "ticket" in json.loads(answer.body)


@pytest.mark.parametrize("path", [POLL, LONG_POLL, HISTORY])
async def test_answers_for_everybody_are_left_to_the_cache_before_us(public: Gateway, path: str) -> None:
    scope = await published(public)
    query = {"audience": "public", "cursor": "earliest", "since_id": "earliest", "scopes": scope}
    answer = await asked(public, path, GZIP, **query)
    assert len(json.loads(answer.body)["events"]) == 30
    assert "content-encoding" not in answer.headers
    assert "vary" not in answer.headers
    assert "x-request-id" not in answer.headers


async def test_a_page_of_another_origin_reads_it_too_and_the_answer_varies_by_both(public: Gateway) -> None:
    scope = await published(public)
    headers = {**token(public, scope), **GZIP, "Origin": APP}
    answer = await asked(public, POLL, headers, cursor="earliest", scopes=scope)
    assert answer.headers["content-encoding"] == "gzip"
    assert set(re.split(r",\s*", answer.headers["vary"].lower())) == {"accept-encoding", "origin"}


async def test_metrics_are_compressed(plain: Gateway) -> None:
    answer = await bare(plain, request("GET", "/metrics", GZIP))
    assert b"gapless_connections" in gzip.decompress(answer.body)


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("gzip ; q=1", True),
        ("*", True),
        ("*;q=0, gzip", True),
        ("gzip;q=0, *", False),
        ("gzip;q=0.0", False),
        ("deflate", False),
        ("", False),
    ],
)
async def test_what_is_accepted_is_read_as_http_has_it(accepted: str, takes: bool) -> None:
    assert takes_gzip(accepted) is takes


async def test_equal_answers_are_equal_when_packed() -> None:
    answer = Answer(200, ((b"content-type", b"application/json"),), b"[" + b"1," * LEAST + b"1]")
    assert packed(answer, takes_gzip=True) == packed(answer, takes_gzip=True)
