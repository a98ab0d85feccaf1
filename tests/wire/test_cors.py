"""Cross-origin requests: which pages may call, and what their browsers are told (WHATWG Fetch §3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.wire.support import (
    APP,
    BROWSER,
    EVENTS,
    HISTORY,
    LONG_POLL,
    NEGOTIATE,
    POLL,
    SDK,
    STREAM,
    TICKET,
    check_problem,
)

if TYPE_CHECKING:
    import httpx2

    from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

FOREIGN = ["https://evil.example.com", "null", f"{APP}.evil.example.com", APP.upper(), f"{APP}:8443", f"{APP}/", "*"]


def check_allowed(answer: httpx2.Response) -> None:
    assert answer.headers.get_list("access-control-allow-origin") == [APP]
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "origin" in answer.headers["vary"].lower()
    exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].lower().split(",")}
    assert {"etag", "retry-after"} <= exposed


def check_not_allowed(answer: httpx2.Response) -> None:
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", [POLL, LONG_POLL, HISTORY, "/livez"])
async def test_pages_of_a_configured_site_may_read(public: Gateway, path: str) -> None:
    answer = await public.http.get(path, headers={**public.bearer(), "Origin": APP})
    assert answer.status_code == 200
    check_allowed(answer)


async def test_they_may_stream_negotiate_and_publish(public: Gateway) -> None:
    headers = {**public.bearer(roles=("publisher",)), "Origin": APP}
    async with public.stream({**headers, **BROWSER}) as stream:
        check_allowed(stream.answer)
        assert (await stream.next()).event == "connection.established"
    check_allowed(await public.http.post(NEGOTIATE, headers=headers))
    check_allowed(await public.http.post(TICKET, json={"cookie": True}, headers=headers))
    body = {"event": "a.b", "scope": "topic:cors", "data": 1}
    check_allowed(await public.http.post(EVENTS, json=body, headers=headers))


async def test_they_may_read_what_went_wrong(public: Gateway) -> None:
    headers = {"Authorization": "Bearer x", "Origin": APP, **SDK}
    for path in (POLL, STREAM, HISTORY):
        answer = await public.http.get(path, headers=headers)
        check_problem(answer, 401, "bad-credential")
        check_allowed(answer)
    answer = await public.http.get("/nope", headers=headers)
    check_problem(answer, 404, "not-found")
    check_allowed(answer)


@pytest.mark.parametrize("origin", FOREIGN)
async def test_other_pages_are_told_nothing(public: Gateway, origin: str) -> None:
    headers = {**public.bearer(), "Origin": origin}
    for path in (POLL, HISTORY, STREAM + "?cursor=bad"):
        check_not_allowed(await public.http.get(path, headers=headers))
    check_not_allowed(await public.http.post(NEGOTIATE, headers=headers))
    check_not_allowed(await preflight(public, POLL, origin))


async def test_without_an_origin_nothing_is_said(public: Gateway) -> None:
    check_not_allowed(await public.http.get(POLL, headers=public.bearer()))


async def test_none_is_configured_by_default(plain: Gateway) -> None:
    check_not_allowed(await plain.http.get(POLL, headers={**plain.bearer(), "Origin": APP}))
    check_not_allowed(await preflight(plain, POLL, APP))


async def preflight(gateway: Gateway, path: str, origin: str, method: str = "GET") -> httpx2.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type,last-event-id",
    }
    return await gateway.http.options(path, headers=headers)


@pytest.mark.parametrize(
    ("path", "method"),
    [
        (POLL, "GET"),
        (LONG_POLL, "GET"),
        (STREAM, "GET"),
        (HISTORY, "GET"),
        (EVENTS, "POST"),
        (NEGOTIATE, "POST"),
        (TICKET, "DELETE"),
    ],
)
async def test_a_preflight_of_a_configured_site_is_answered(public: Gateway, path: str, method: str) -> None:
    answer = await preflight(public, path, APP, method)
    assert answer.status_code == 204
    assert answer.content == b""
    assert "content-length" not in answer.headers, "RFC 9110 §8.6: none with 204"
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert method in answer.headers["access-control-allow-methods"].split(", ")
    allowed = {name.strip() for name in answer.headers["access-control-allow-headers"].lower().split(",")}
    assert {"authorization", "content-type", "if-none-match", "last-event-id", "cache-control"} <= allowed
    assert {"traceparent", "tracestate", "baggage"} <= allowed
    assert int(answer.headers["access-control-max-age"]) > 0
    assert "*" not in "".join(value for name, value in answer.headers.items() if name.startswith("access-control"))


async def test_a_preflight_needs_no_credential_and_options_alone_is_none(public: Gateway) -> None:
    answer = await public.http.options(POLL, headers={"Origin": APP})
    check_problem(answer, 405, "method-not-allowed")
    check_allowed(answer)
