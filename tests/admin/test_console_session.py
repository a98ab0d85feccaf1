"""The console's door: who is let in, by what, for how long; and what another site's page can't make it do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.admin.console import HTMX, browser, signed_in
from tests.support.clock import stopped_clock
from tests.support.gateway import Gateway, gateway

if TYPE_CHECKING:
    from pathlib import Path

OFF = {"act": "switch", "name": "sse", "enabled": "off", "revision": "0", "reason": "trial"}
ELSEWHERE = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}


@pytest.mark.parametrize("role", ["admin", "viewer"])
async def test_an_admin_and_a_viewer_come_in(served: Gateway, role: str) -> None:
    async with signed_in(served, role) as person:
        page = await person.get("")
        assert page.status_code == 200
        assert f'<span class="badge">{role}</span>' in page.text


async def test_others_are_told_why_not(served: Gateway) -> None:
    async with browser(served) as http:
        plain = await http.post("/admin/sign-in", data={"token": served.token("olga")})
        broken = await http.post("/admin/sign-in", data={"token": "no.token.atall"})
        empty = await http.post("/admin/sign-in", data={})
        assert (plain.status_code, broken.status_code, empty.status_code) == (403, 401, 401)
        assert "among its roles" in plain.text
        assert not http.cookies


async def test_a_token_may_be_pasted_as_a_header_has_it(served: Gateway) -> None:
    async with browser(served) as http:
        token = served.token("olga", roles=("admin",))
        assert (await http.post("/admin/sign-in", data={"token": f" Bearer {token}\n"})).status_code == 303


async def test_the_cookie_is_for_the_console_alone(served: Gateway) -> None:
    async with browser(served) as http:
        answer = await http.post("/admin/sign-in", data={"token": served.token("olga", roles=("admin",), ttl_s=600)})
        name, _, rest = answer.headers["Set-Cookie"].partition("=")
        value, *attributes = rest.split("; ")
        assert name == "gapless_console"
        assert {"Path=/admin", "HttpOnly", "SameSite=Strict"} <= set(attributes)
        assert "Secure" not in attributes
        assert 590 <= int(next(one for one in attributes if one.startswith("Max-Age="))[8:]) <= 600
        assert (await http.get("/api/v1/admin/policy", headers={"Cookie": f"{name}={value}"})).status_code == 401
        assert (await http.get("/api/v1/events/poll", headers={"Cookie": f"gapless_ticket={value}"})).status_code == 401
        assert (await http.get(f"/api/v1/events/poll?ticket={value}")).status_code == 401


async def test_over_https_the_cookie_is_secure(served: Gateway) -> None:
    async with browser(served) as http:
        token = served.token("olga", roles=("admin",))
        headers = {"X-Forwarded-Proto": "https"}
        answer = await http.post("/admin/sign-in", data={"token": token}, headers=headers)
        assert answer.headers["Set-Cookie"].endswith("; Secure")


async def test_a_ticket_cookie_does_not_open_the_console(served: Gateway) -> None:
    bearer = served.bearer("olga", roles=("admin",))
    given = await served.http.post("/api/v1/auth/ticket", json={"cookie": True}, headers=bearer)
    text = given.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
    for name in ("gapless_console", "gapless_ticket"):
        answer = await served.http.get("/admin/parts/status", headers={"Cookie": f"{name}={text}"})
        assert answer.status_code == 401


async def test_who_is_not_signed_in_is_led_to_the_door(served: Gateway) -> None:
    async with browser(served) as http:
        assert (await http.get("/admin")).headers["Location"] == "/admin/"
        assert (await http.get("/admin/")).headers["Location"] == "/admin/sign-in"
        part = await http.get("/admin/parts/gateways", headers=HTMX)
        assert (part.status_code, part.headers["HX-Trigger"]) == (401, "console-over")
        assert (await http.get("/admin/events")).status_code == 401


async def test_a_session_ends_with_its_token(served: Gateway) -> None:
    with stopped_clock() as clock:
        async with signed_in(served, ttl_s=60) as person:
            cookie = {"Cookie": "; ".join(f"{name}={text}" for name, text in person.http.cookies.items())}
            assert (await served.http.get("/admin/parts/status", headers=cookie)).status_code == 200
            clock.forward(70_000)
            assert (await served.http.get("/admin/parts/status", headers=cookie)).status_code == 401
        leads_to = (await served.http.get("/admin/", headers=cookie)).headers["Location"]
        assert leads_to == "/admin/sign-in?why=over"


async def test_signing_out_forgets_the_session(served: Gateway) -> None:
    async with signed_in(served) as person:
        refused = await person.http.post("/admin/sign-out", data={"csrf": "another"})
        assert refused.status_code == 401
        answer = await person.http.post("/admin/sign-out", data={"csrf": person.csrf})
        assert answer.headers["Location"] == "/admin/sign-in?why=out"
        assert "Max-Age=0" in answer.headers["Set-Cookie"]
        assert not person.http.cookies


@pytest.mark.parametrize("kind", ["sub", "jti"])
async def test_the_revoked_are_out_and_their_feed_ends(served: Gateway, kind: str) -> None:
    async with signed_in(served, sub="mallory") as person:
        async with person.http.stream("GET", "/admin/events?cursor=earliest") as feed:
            lines = feed.aiter_lines()
            async for line in lines:
                if line == "event: gateway.sampled":
                    break
            known = served.worker.credentials.bearer(person.token)
            body = {"sub": "mallory"} if kind == "sub" else {"jti": known.jti}
            given = await served.http.post(
                "/api/v1/admin/revocations", json=body, headers=served.bearer("root", roles=("admin",))
            )
            assert given.status_code == 201
            rest = [line async for line in lines]
        assert any('"credential-revoked"' in line for line in rest)
        assert (await person.get("parts/status")).status_code == 401


@pytest.mark.parametrize("path", ["ask", "act"])
@pytest.mark.parametrize("token", ["", "another", "é"])
async def test_a_change_wants_the_sessions_own_text(served: Gateway, path: str, token: str) -> None:
    async with signed_in(served) as person, signed_in(served, sub="ida") as other:
        for text in (token, other.csrf):
            answer = await person.http.post(f"/admin/{path}", data={**OFF, "csrf": text}, headers=HTMX)
            assert answer.status_code == 401
        assert served.worker.desk.revisions.current.number == 0


@pytest.mark.parametrize(
    "headers",
    [
        ELSEWHERE,
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    ],
)
async def test_another_sites_page_changes_nothing_and_signs_nobody_in(served: Gateway, headers: dict[str, str]) -> None:
    async with signed_in(served) as person:
        answer = await person.post("act", OFF, **headers)
        assert answer.status_code == 401
        assert served.worker.desk.revisions.current.number == 0
    async with browser(served) as http:
        token = served.token("mallory", roles=("admin",))
        answer = await http.post("/admin/sign-in", data={"token": token}, headers=headers)
        assert answer.status_code == 401
        assert not http.cookies


async def test_another_sites_page_reads_nothing_even_one_that_may_call_the_service(
    tmp_path: Path, redis_url: str
) -> None:
    friend = "https://app.example.com"
    async with (
        gateway(tmp_path, redis_url, {"CORS__ORIGINS": f'["{friend}"]'}) as served,
        signed_in(served) as person,
    ):
        for path in ("", "parts/gateways", "sign-in", "events"):
            answer = await person.http.get(
                f"/admin/{path}?audience=public", headers={"Origin": friend, "Sec-Fetch-Site": "same-site"}
            )
            assert "access-control-allow-origin" not in answer.headers
            assert answer.status_code in {200, 303, 401}
            assert "X-CSRF-Token" not in answer.text


async def test_a_link_from_elsewhere_shows_the_page(served: Gateway) -> None:
    async with signed_in(served) as person:
        visit = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        assert (await person.get("", **visit)).status_code == 200
        frame = {**visit, "Sec-Fetch-Dest": "iframe"}
        assert (await person.get("", **frame)).status_code == 303


@pytest.mark.parametrize("path", ["", "sign-in", "parts/gateways", "static/console.js", "parts/none"])
async def test_nothing_is_kept_framed_or_fed_from_elsewhere(served: Gateway, path: str) -> None:
    async with signed_in(served) as person:
        answer = await person.get(path)
    policy = answer.headers.get("Content-Security-Policy", "")
    if path != "parts/none":
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == ("no-cache" if path.startswith("static") else "no-store")


async def test_the_feed_names_no_client(served: Gateway) -> None:
    async with signed_in(served) as person:
        await person.post("clients", {"who": "somebody-private"})
        asked_ms = time.time_ns() // 1_000_000
        events = set()
        async with person.http.stream("GET", "/admin/events?cursor=earliest") as feed:
            async for line in feed.aiter_lines():
                assert "somebody-private" not in line
                if line.startswith("event: "):
                    events.add(line[7:])
                if line.startswith("id: ") and int(line[4:].partition("-")[0]) > asked_ms:
                    break
    assert events <= {"connection.established", "gateway.sampled"}
