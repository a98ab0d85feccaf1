"""The service below a path of a real nginx, which cuts the prefix off or leaves it (PROTOCOL §4, Negotiate)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import httpx2
import pytest
import pytest_asyncio

from realtime.auth import Content
from realtime.cli.remote import client
from realtime.cli.session import negotiate
from tests.deploy.nginx import Nginx, nginx
from tests.support.gateway import Gateway, Stream, gateway
from tests.support.operator import Operator
from tests.wire.support import BROWSER, LONG_POLL, NEGOTIATE, POLL, SDK, STREAM, TICKET, check_problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.redis import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

PREFIX = "/rt"
CLEARED = 'proxy_set_header X-Forwarded-Prefix "";'
TOLD = f'proxy_set_header X-Forwarded-Prefix "{PREFIX}";'
PLAIN = "    location / {\n        return 404;"
CUT = f"    location {PREFIX}/ {{\n        proxy_pass http://gapless/;\n    }}\n{PLAIN}"
LEFT = f"    location {PREFIX}/ {{\n        proxy_pass http://gapless;\n    }}\n{PLAIN}"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def told(valkey: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """A gateway that is told its prefix by each request."""
    settings = {"POLLING__INTERVAL": "300ms"}
    async with gateway(tmp_path_factory.mktemp("told"), valkey.empty(), settings) as running:
        yield running


@pytest_asyncio.fixture(params=["cut off", "left"], loop_scope="session")
async def front(request: pytest.FixtureRequest, told: Gateway, tmp_path: Path) -> AsyncIterator[Nginx]:
    """A proxy that tells the prefix, and cuts it off or leaves it."""
    changes = {CLEARED: TOLD, PLAIN: CUT if request.param == "cut off" else LEFT}
    async with nginx(tmp_path / "nginx", urlsplit(told.url).port or 0, changes) as running:
        yield running


async def test_a_client_follows_the_urls_that_it_is_told(front: Nginx, told: Gateway) -> None:
    async with front.client() as http:
        agreed = await http.post(f"{PREFIX}{NEGOTIATE}", json={}, headers=told.bearer())
        offers = agreed.json()["decision"]["transports"]
        assert [offer["url"] for offer in offers] == [f"{PREFIX}{path}" for path in (STREAM, LONG_POLL, POLL)]
        query = {"ticket": agreed.json()["ticket"], "cursor": agreed.json()["cursor"]}
        await told.publish({"scope": "user:42", "data": "below"})
        for offer in offers[1:]:
            answer = await http.get(urljoin(str(agreed.url), offer["url"]), params=query)
            assert [event["data"] for event in answer.json()["events"]] == ["below"]
        async with http.stream("GET", urljoin(str(agreed.url), offers[0]["url"]), params=query, headers=SDK) as answer:
            assert (await Stream(answer).next()).event == "connection.established"


async def test_the_cookie_comes_back(front: Nginx, told: Gateway) -> None:
    async with front.client() as http:
        given = await http.post(f"{PREFIX}{TICKET}", json={"cookie": True}, headers=told.bearer())
        assert f"Path={PREFIX}/api/v1/events;" in given.headers["set-cookie"]
        assert (await http.get(f"{PREFIX}{POLL}")).status_code == 200
        cleared = await http.delete(f"{PREFIX}{TICKET}")
        assert f"Path={PREFIX}/api/v1/events;" in cleared.headers["set-cookie"]
        assert (await http.get(f"{PREFIX}{POLL}")).status_code == 401


async def test_who_is_sent_elsewhere_is_told_where_below_the_prefix(front: Nginx, told: Gateway) -> None:
    operator = Operator.at(told)
    async with front.client() as http:
        asked = http.build_request("GET", f"{PREFIX}{STREAM}", headers={**SDK, **told.bearer()})
        opened = await http.send(asked, stream=True)
        stream = Stream(opened)
        assert (await stream.next()).event == "connection.established"
        await operator.switch("sse", enabled=False)
        try:
            changed = await stream.envelope("transport.changed")
            assert changed["data"]["decision"]["transports"][0]["url"] == f"{PREFIX}{LONG_POLL}"
            refused = await http.get(f"{PREFIX}{STREAM}", headers={**SDK, **told.bearer()})
            problem = check_problem(refused, 409, "transport-not-offered")
            assert problem["decision"]["transports"][0]["url"] == f"{PREFIX}{LONG_POLL}"
        finally:
            await opened.aclose()
            await operator.switch("sse", enabled=True)


async def test_the_reference_names_the_prefix_as_its_server(front: Nginx) -> None:
    async with front.client() as http:
        page = await http.get(f"{PREFIX}/docs")
        assert page.status_code == 200
        assert (await http.get(urljoin(str(page.url), "docs/static/docs.js"))).status_code == 200
        document = await http.get(urljoin(str(page.url), "openapi.json"))
        assert document.json()["servers"][0]["url"] == PREFIX


async def test_the_console_is_signed_in_to_below_the_prefix(front: Nginx, told: Gateway) -> None:
    async with front.client() as http:
        door = await http.get(f"{PREFIX}/admin", follow_redirects=True)
        assert door.url.path == f"{PREFIX}/admin/sign-in"
        token = told.token("olga", roles=("admin",))
        home = await http.post(str(door.url), data={"token": token}, follow_redirects=True)
        assert (home.url.path, home.status_code) == (f"{PREFIX}/admin/", 200)
        assert '<span class="badge">admin</span>' in home.text
        async with http.stream("GET", f"{PREFIX}/admin/events", headers=BROWSER) as feed:
            assert feed.status_code == 200


async def test_the_command_line_takes_an_address_with_a_path(front: Nginx, told: Gateway) -> None:
    def agreed() -> list[int]:
        with client(f"{front.url}{PREFIX}") as plain:
            http = httpx2.Client(base_url=plain.base_url, verify=False)
            with http:
                session = negotiate(http, told.token(), ["polling"], None)
                query = {"ticket": session.ticket}
                return [http.get(session.offer.url, params=query).status_code]

    assert await asyncio.to_thread(agreed) == [200]


async def test_the_setting_serves_a_proxy_that_tells_nothing(valkey: RedisServer, tmp_path: Path) -> None:
    async with gateway(tmp_path, valkey.empty(), {"SERVER__ROOT_PATH": PREFIX}) as served:
        changes = {PLAIN: CUT}
        async with nginx(tmp_path / "nginx", urlsplit(served.url).port or 0, changes) as front, front.client() as http:
            answer = await http.post(f"{PREFIX}{NEGOTIATE}", json={}, headers=served.bearer())
            assert answer.json()["decision"]["transports"][0]["url"] == f"{PREFIX}{STREAM}"
        for path in (NEGOTIATE, f"{PREFIX}{NEGOTIATE}"):
            agreed = await served.http.post(path, json={}, headers=served.bearer())
            assert agreed.json()["decision"]["transports"][0]["url"] == f"{PREFIX}{STREAM}"
        elsewhere = {"X-Forwarded-Prefix": "/other", **served.bearer()}
        other = await served.http.post(NEGOTIATE, json={}, headers=elsewhere)
        assert other.json()["decision"]["transports"][0]["url"] == f"/other{STREAM}", "the header counts first"


async def test_what_a_client_claims_is_not_passed_on(told: Gateway, tmp_path: Path) -> None:
    async with nginx(tmp_path, urlsplit(told.url).port or 0) as shipped, shipped.client() as http:
        claimed = {"X-Forwarded-Prefix": "/elsewhere", **told.bearer()}
        agreed = await http.post(NEGOTIATE, json={}, headers=claimed)
        assert agreed.json()["decision"]["transports"][0]["url"] == STREAM


@pytest.mark.parametrize(
    "prefix",
    ["//evil.example", "/\\evil.example", "/a;Domain=b", "/..", "https://evil.example", "/a?b", f"/{'a' * 300}"],
)
async def test_a_prefix_that_could_lead_elsewhere_is_ignored(told: Gateway, prefix: str) -> None:
    headers = {"X-Forwarded-Prefix": prefix}
    assert (await told.http.get("/admin/", headers=headers)).headers["location"] == "/admin/sign-in"
    assert (await told.http.get("/openapi.json", headers=headers)).json()["servers"][0]["url"] == "/"


async def test_a_ticket_from_before_is_told_below_the_prefix(told: Gateway) -> None:
    """Who polls is told by its next answer, made of its own request, on the fast lane too."""
    known = told.worker.credentials.bearer(told.token())
    content = Content(session="moved", transports=("long-poll", "polling"), first="polling", revision=0)
    ticket = told.worker.credentials.seal(known, content, 60_000)
    (cursor,) = await told.publish({"scope": "user:42"})
    query = {"ticket": ticket.text, "cursor": cursor}
    answer = await told.http.get(POLL, params=query, headers={"X-Forwarded-Prefix": PREFIX})
    assert answer.status_code == 200, answer.text
    (changed,) = (one for one in answer.json()["control"] if one["event"] == "transport.changed")
    assert changed["data"]["decision"]["transports"][0]["url"] == f"{PREFIX}{LONG_POLL}", json.dumps(changed)
