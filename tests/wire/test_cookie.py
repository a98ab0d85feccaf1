"""The ticket cookie, for a stock EventSource: its attributes, and where it counts (PROTOCOL §3)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.clock import stopped_clock
from tests.support.gateway import gateway
from tests.wire.support import (
    APP,
    BROWSER,
    EVENTS,
    HISTORY,
    LONG_POLL,
    NEGOTIATE,
    POLL,
    STREAM,
    TICKET,
    check_problem,
)

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2

    from tests.support.gateway import Gateway
    from tests.support.redis import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def ask_for_one(gateway: Gateway, **claims: Any) -> httpx2.Response:  # noqa: ANN401 - as `mint` takes them
    answer = await gateway.http.post(TICKET, json={"cookie": True}, headers=gateway.bearer(**claims))
    assert answer.status_code == 200, answer.text
    return answer


async def jar(gateway: Gateway, **claims: Any) -> dict[str, str]:  # noqa: ANN401 - as `mint` takes them
    return {"Cookie": (await ask_for_one(gateway, **claims)).headers["set-cookie"].split(";")[0]}


def attributes(answer: httpx2.Response) -> set[str]:
    """Return what follows the name and the value."""
    (line,) = answer.headers.get_list("set-cookie")
    return {part.strip() for part in line.split(";")[1:]}


async def test_it_is_a_session_cookie_that_no_script_reads(plain: Gateway) -> None:
    answer = await ask_for_one(plain)
    assert answer.headers["set-cookie"].startswith("gapless_ticket=")
    assert attributes(answer) == {"HttpOnly", "Path=/api/v1/events", "SameSite=Lax"}
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json().keys() == {"expires_in_ms"}, "what no script may read is not in the body either"


async def test_it_lives_as_long_as_the_token(plain: Gateway) -> None:
    answer = await ask_for_one(plain, ttl_s=300)
    assert 298_000 < answer.json()["expires_in_ms"] <= 301_000


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"COOKIE_SECURE": "always"}, {"SameSite=Lax", "Secure"}),
        ({"COOKIE_SAME_SITE": "strict"}, {"SameSite=Strict"}),
        ({"COOKIE_SAME_SITE": "none", "COOKIE_SECURE": "always"}, {"SameSite=None", "Secure", "Partitioned"}),
    ],
)
async def test_its_attributes_are_configurable(
    wire_valkey: RedisServer, tmp_path: Path, settings: dict[str, str], expected: set[str]
) -> None:
    overrides = {f"AUTH__{name}": value for name, value in settings.items()}
    async with gateway(tmp_path, wire_valkey.database(), overrides) as running:
        expected = {"HttpOnly", "Path=/api/v1/events", *expected}
        assert attributes(await ask_for_one(running)) == expected
        assert attributes(await running.http.delete(TICKET)) == {*expected, "Max-Age=0"}


async def test_delete_clears_it(plain: Gateway) -> None:
    answer = await plain.http.delete(TICKET)
    assert answer.status_code == 204
    assert answer.headers["set-cookie"].startswith("gapless_ticket=;")
    assert attributes(answer) == {"HttpOnly", "Path=/api/v1/events", "SameSite=Lax", "Max-Age=0"}
    assert answer.headers["cache-control"] == "no-store"
    assert "content-length" not in answer.headers, "RFC 9110 §8.6: none with 204"


async def test_it_counts_for_every_get(plain: Gateway) -> None:
    cookie = await jar(plain)
    for path in (POLL, LONG_POLL, HISTORY):
        assert (await plain.http.get(path, headers=cookie)).status_code == 200, path
    async with plain.stream({**cookie, **BROWSER}) as stream:
        assert (await stream.envelope())["event"] == "connection.established"


async def test_it_does_not_count_where_something_is_done(plain: Gateway) -> None:
    cookie = await jar(plain, roles=("publisher",))
    body = {"event": "a.b", "scope": "broadcast", "data": 1}
    headers = {**cookie, "Origin": plain.url}
    check_problem(await plain.http.post(EVENTS, json=body, headers=headers), 401, "credential-required")
    check_problem(await plain.http.post(TICKET, json={}, headers=headers), 401, "credential-required")
    assert (await plain.http.post(NEGOTIATE, json={}, headers=headers)).status_code == 200


ALLOWED = [
    {},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": APP},
    {"Origin": APP, "Sec-Fetch-Site": "cross-site"},
    {"Origin": APP, "Sec-Fetch-Site": "same-site"},
]
FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "odd"},
    {"Origin": "https://evil.example.com"},
    {"Origin": "https://evil.example.com", "Sec-Fetch-Site": "same-origin"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": f"{APP}.evil.example.com"},
    {"Origin": f"{APP}/"},
    {"Origin": "http://app.example.com"},
]


@pytest.mark.parametrize("headers", ALLOWED)
async def test_it_counts_for_pages_that_are_allowed(public: Gateway, headers: dict[str, str]) -> None:
    cookie = await jar(public)
    answer = await public.http.get(POLL, params={"scopes": "user:42"}, headers={**cookie, **headers})
    assert answer.status_code == 200
    assert (await public.http.post(NEGOTIATE, json={}, headers={**cookie, **headers})).status_code == 200


async def test_it_counts_for_the_services_own_pages(public: Gateway) -> None:
    headers = {**await jar(public), "Origin": public.url}
    assert (await public.http.get(POLL, params={"scopes": "user:42"}, headers=headers)).status_code == 200


@pytest.mark.parametrize("headers", FOREIGN)
async def test_elsewhere_it_is_as_if_it_were_not_there(
    plain: Gateway, public: Gateway, headers: dict[str, str]
) -> None:
    for path in (POLL, LONG_POLL, HISTORY):
        answer = await plain.http.get(path, headers={**await jar(plain), **headers})
        check_problem(answer, 401, "credential-required")
    check_problem(
        await plain.http.get(STREAM, headers={**await jar(plain), **headers, **BROWSER}), 401, "credential-required"
    )
    answer = await public.http.get(POLL, params={"scopes": "user:42"}, headers={**await jar(public), **headers})
    check_problem(answer, 403, "scope-not-held")


async def test_it_is_found_among_others(plain: Gateway) -> None:
    cookie = (await jar(plain))["Cookie"]
    for text in (f"theme=dark; {cookie}", f"{cookie}; theme=dark", f"xgapless_ticket=1; {cookie}"):
        assert (await plain.http.get(POLL, headers={"Cookie": text})).status_code == 200, text
    apart = [("Cookie", "theme=dark"), ("Cookie", cookie)]
    for path in (POLL, HISTORY):
        assert (await plain.http.get(path, headers=apart)).status_code == 200, path


async def test_a_stream_by_cookie_ends_with_ticket_expired(plain: Gateway) -> None:
    with stopped_clock() as clock:
        cookie = await jar(plain, ttl_s=1)
        async with plain.stream({**cookie, **BROWSER}) as stream:
            assert [one.event for one in await stream.rest()] == ["connection.established", "ticket.expired"]
        clock.forward(1000)
        check_problem(await plain.http.get(STREAM, headers={**cookie, **BROWSER}), 401, "bad-credential")


async def test_answers_to_it_carry_no_ticket_and_set_no_cookie(quick: Gateway) -> None:
    cookie = await jar(quick, ttl_s=30)
    answer = await quick.http.get(POLL, headers=cookie)
    assert "ticket" not in answer.json()
    assert "set-cookie" not in answer.headers


async def test_a_query_ticket_and_the_cookies_do_not_stand_for_each_other(plain: Gateway) -> None:
    text = (await jar(plain))["Cookie"].removeprefix("gapless_ticket=")
    check_problem(await plain.http.get(POLL, params={"ticket": text}), 401, "bad-credential")
    ticket = (await plain.negotiate())["ticket"]
    headers = {"Cookie": f"gapless_ticket={ticket}"}
    check_problem(await plain.http.get(POLL, headers=headers), 401, "bad-credential")


async def test_more_scopes_than_a_cookie_holds_are_said(plain: Gateway) -> None:
    scopes = tuple(f"topic:{'x' * 40}.{number}" for number in range(80))
    answer = await plain.http.post(TICKET, json={"cookie": True}, headers=plain.bearer(scopes=scopes))
    assert check_problem(answer, 422, "invalid-field")["field"] == "cookie"
    assert json.loads((await plain.http.post(TICKET, headers=plain.bearer(scopes=scopes))).content)["ticket"]
