"""`deploy/nginx.conf` in a real nginx: streams unbuffered, crowds as one, credentials apart (PROTOCOL §4)."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from datetime import datetime
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from realtime.config import load
from realtime.errors import Draining
from tests.deploy.nginx import SHIPPED, Nginx, nginx
from tests.support.gateway import Gateway, Stream, gateway
from tests.support.ports import free_port
from tests.support.stream import EventStream, Message
from tests.support.waiting import patience, until
from tests.wire.support import BROWSER, EVENTS, HISTORY, LONG_POLL, POLL, SDK, STREAM, TICKET, check_problem, unique

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    import httpx2

    from tests.support.redis import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

CROWD = 500
HANDFUL = 5
HEARTBEAT_S = 0.2
BUFFERED = {"proxy_buffering off;": "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(valkey: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """A gateway that shows broadcasts and the news to everybody, and has a quick heart."""
    settings = {
        "AUTH__ANONYMOUS_SCOPES": json.dumps(["broadcast", "topic:news.*"]),
        "SSE__HEARTBEAT": f"{HEARTBEAT_S * 1000:.0f}ms",
        "LONG_POLL__HOLD": "500ms",
    }
    async with gateway(tmp_path_factory.mktemp("behind"), valkey.empty(), settings) as running:
        yield running


def port(running: Gateway) -> int:
    found = urlsplit(running.url).port
    assert found is not None
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def front(service: Gateway, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Nginx]:
    """The shipped configuration in front of it."""
    async with nginx(tmp_path_factory.mktemp("nginx"), port(service)) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def http(front: Nginx) -> AsyncIterator[httpx2.AsyncClient]:
    async with front.client() as client:
        client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # keep none: each test sends its own
        yield client


@asynccontextmanager
async def stream(http: httpx2.AsyncClient, headers: Mapping[str, str], **query: str) -> AsyncIterator[Stream]:
    async with http.stream("GET", STREAM, params=query, headers=dict(headers)) as answer:
        yield Stream(answer)


def news() -> str:
    return unique("topic:news.d")


async def test_a_stream_arrives_as_it_is_written(service: Gateway, http: httpx2.AsyncClient) -> None:
    async with stream(http, {**SDK, **service.bearer("42")}) as one:
        assert one.answer.status_code == 200
        assert (await one.next()).event == "connection.established"
        for _ in range(3):
            (published,) = await service.publish({"scope": "user:42"})
            while (message := await one.next()).event == "heartbeat.sent":
                pass
            assert message.last_event_id == published


async def test_heartbeats_arrive_one_by_one(service: Gateway, http: httpx2.AsyncClient) -> None:
    async with stream(http, {**SDK, **service.bearer("43")}, events="none.of-these") as one:
        assert (await one.next()).event == "connection.established"
        came_first = []
        for _ in range(100):
            arrived = time.time()
            made = datetime.fromisoformat((await one.envelope("heartbeat.sent"))["time"]).timestamp()
            came_first.append(arrived < made)
            if came_first.count(True) == 4:
                break
    assert came_first.count(True) == 4, "had they been held back, each would be made before the one ahead of it came"


@asynccontextmanager
async def held(front: Nginx, service: Gateway, sub: str) -> AsyncIterator[tuple[asyncio.Task[httpx2.Response], str]]:
    """Ask for a stream through a proxy, and wait until others have long had the event whose id is given."""
    headers, cursor = {**SDK, **service.bearer(sub)}, (await service.negotiate(sub))["cursor"]
    query = {"scopes": f"user:{sub}", "cursor": cursor}
    async with front.client() as client, service.stream(headers, **query) as direct:
        asked = client.build_request("GET", STREAM, params=query, headers=headers)
        opening = asyncio.create_task(client.send(asked, stream=True))
        (published,) = await service.publish({"scope": f"user:{sub}"})
        await said_many_things(direct)
        yield opening, published


async def test_through_a_proxy_that_buffers_a_client_hears_nothing_while_all_seems_well(
    service: Gateway, tmp_path: Path
) -> None:
    async with nginx(tmp_path, port(service), BUFFERED) as buffering:
        async with held(buffering, service, "44") as (opening, _):
            assert not opening.done(), "over HTTP/1.1 not even the head arrives"
            opening.cancel()
        (line,) = await buffering.logged(1, STREAM)
        assert line.upstream == "200", "the gateway has answered all along"


async def test_through_a_proxy_that_buffers_all_arrives_at_once_when_its_buffer_is_full(
    service: Gateway, tmp_path: Path
) -> None:
    async with (
        nginx(tmp_path, port(service), BUFFERED) as buffering,
        held(buffering, service, "47") as (opening, published),
    ):
        assert not opening.done()
        await service.publish({"scope": "user:47", "data": "x" * 60_000})
        late = Stream(await opening)
        assert late.answer.status_code == 200
        seen = [await late.next() for _ in range(8)]
        assert published in {one.last_event_id for one in seen}, "late, and not lost"
        await late.answer.aclose()


async def said_many_things(direct: Stream) -> None:
    """Wait until a stream without a proxy had an event, and eight heartbeats after it."""
    while (await direct.next()).event != "test.happened":
        pass
    for _ in range(8):
        await direct.next()


async def test_a_held_long_poll_is_answered_with_the_event(service: Gateway, http: httpx2.AsyncClient) -> None:
    headers = service.bearer("45")
    cursor = (await http.get(POLL, headers=headers)).json()["cursor"]
    waiting = asyncio.create_task(http.get(LONG_POLL, params={"cursor": cursor}, headers=headers))
    (published,) = await service.publish({"scope": "user:45"})
    assert [one["id"] for one in (await waiting).json()["events"]] == [published]


async def test_its_times_fit_the_services_defaults() -> None:
    settings, conf = load(environ={}), SHIPPED.read_text()
    read_ms = 1000 * int(conf.partition("proxy_read_timeout ")[2].partition("s;")[0])
    kept_ms = 1000 * int(conf.partition("    keepalive_timeout ")[2].partition("s;")[0])
    again_ms = 1000 * int(conf.partition('"304 " ')[2].partition(";")[0])
    assert read_ms > max(settings.sse.heartbeat, settings.long_poll.hold)
    assert kept_ms < settings.server.keep_alive
    assert again_ms == settings.polling.interval


@pytest.mark.parametrize("path", [POLL, HISTORY])
async def test_a_crowd_reaches_the_service_as_a_handful(
    service: Gateway, front: Nginx, http: httpx2.AsyncClient, path: str
) -> None:
    scope = news()
    ids = await service.publish({"scope": scope}, {"scope": scope})
    target = f"{path}?audience=public&scopes={scope}&{'since_id' if path == HISTORY else 'cursor'}={ids[0]}"
    before = await front.counted(path)
    clock = asyncio.get_running_loop().time
    begun = clock()
    answers = await asyncio.gather(*(http.get(target) for _ in range(CROWD)))
    seconds = clock() - begun
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert [one["id"] for one in answers[0].json()["events"]] == [ids[1]]
    asked = [line for line in (await front.logged(before + CROWD, path))[before:] if line.upstream != "-"]
    assert 1 <= len(asked) <= HANDFUL + seconds, "one a second, and whoever came just as it had passed"


async def test_a_second_later_a_shared_answer_is_a_new_one(service: Gateway, http: httpx2.AsyncClient) -> None:
    scope = news()
    (first,) = await service.publish({"scope": scope})
    target = f"{POLL}?audience=public&scopes={scope}&cursor={first}"
    assert (await http.get(target)).json()["events"] == []
    (second,) = await service.publish({"scope": scope})
    events: list[str] = []

    async def arrives() -> bool:
        events[:] = [one["id"] for one in (await http.get(target)).json()["events"]]
        return events != []

    await until(arrives)
    assert events == [second]


async def test_a_conditional_poll_of_the_crowd_is_304_and_says_when_to_come_again(
    service: Gateway, http: httpx2.AsyncClient
) -> None:
    scope = news()
    (first,) = await service.publish({"scope": scope})
    target = f"{POLL}?audience=public&scopes={scope}&cursor={first}"
    etag = (await http.get(target)).headers["etag"]
    for _ in range(2):
        answer = await http.get(target, headers={"If-None-Match": etag})
        assert answer.status_code == 304
        assert answer.headers["etag"] == etag
        assert answer.headers.get_list("retry-after") == ["5"]
    (second,) = await service.publish({"scope": scope})

    async def arrives() -> bool:
        answer = await http.get(target, headers={"If-None-Match": etag})
        return answer.status_code == 200 and [one["id"] for one in answer.json()["events"]] == [second]

    await until(arrives)


async def test_a_poll_with_a_credential_has_the_services_own_304(service: Gateway, http: httpx2.AsyncClient) -> None:
    headers = service.bearer("46")
    cursor = (await http.get(POLL, headers=headers)).json()["cursor"]
    answer = await http.get(
        POLL, params={"cursor": cursor, "events": "none.of-these"}, headers={**headers, "If-None-Match": f'"{cursor}"'}
    )
    assert answer.status_code == 304
    assert len(answer.headers.get_list("retry-after")) == 1


@pytest.mark.parametrize("path", [POLL, HISTORY])
async def test_two_users_never_share_an_answer(
    service: Gateway, front: Nginx, http: httpx2.AsyncClient, path: str
) -> None:
    marker = unique("events-of-users.n")
    ids = await service.publish(
        *({"scope": scope, "event": marker} for scope in ("broadcast", "user:51", "user:52", "broadcast"))
    )
    query = {"since_id" if path == HISTORY else "cursor": ids[0], "events": marker}
    expected = {"51": [ids[1], ids[3]], "52": [ids[2], ids[3]]}
    before = await front.counted(path)
    subs = ["51", "52"] * 10
    answers = await asyncio.gather(*(http.get(path, params=query, headers=service.bearer(sub)) for sub in subs))
    for sub, answer in zip(subs, answers, strict=True):
        assert answer.status_code == 200, answer.text
        assert [one["id"] for one in answer.json()["events"]] == expected[sub]
        assert answer.headers["cache-control"] == "private, no-store"
    lines = (await front.logged(before + len(subs), path))[before:]
    assert {(line.upstream, line.cache) for line in lines} == {("200", "-")}, "each was asked for, none kept"


async def credentials(service: Gateway, http: httpx2.AsyncClient) -> list[tuple[dict[str, str], str]]:
    """Return each kind of credential: the header fields, and what is added to the query."""
    bearer = service.bearer("53")
    given = await http.post(TICKET, json={"cookie": True}, headers=bearer)
    ticket = (await service.negotiate("53"))["ticket"]
    return [
        (bearer, ""),
        ({"Cookie": given.headers["set-cookie"].split(";")[0]}, ""),
        ({}, f"&ticket={ticket}"),
        ({}, f"&tick%65t={ticket}"),
        ({"Authorization": "Bearer no-good"}, ""),
    ]


@pytest.mark.parametrize("path", [POLL, HISTORY])
async def test_a_credential_and_the_public_never_share_an_answer(
    service: Gateway, front: Nginx, http: httpx2.AsyncClient, path: str
) -> None:
    scope = news()
    ids = await service.publish({"scope": scope}, {"scope": scope})
    target = f"{path}?audience=public&scopes={scope}&{'since_id' if path == HISTORY else 'cursor'}={ids[0]}"
    for headers, query in await credentials(service, http):
        before = await front.counted(path)
        answers = [await http.get(target), await http.get(target + query, headers=headers), await http.get(target)]
        assert {answer.content for answer in answers} == {answers[0].content}, "the public's, whoever asks for it"
        lines = (await front.logged(before + 3, path))[before:]
        assert lines[1].cache == "-", "neither given from the cache nor kept in it"
        assert lines[1].upstream == "200"
        assert lines[0].cache in {"MISS", "HIT", "EXPIRED"}


@pytest.mark.parametrize("query", ["", "AUDIENCE=public", "x=audience=public", "audience=publicity", "audience="])
async def test_only_the_audience_itself_is_shared(
    service: Gateway, front: Nginx, http: httpx2.AsyncClient, query: str
) -> None:
    before = await front.counted(POLL)
    for headers in ({}, service.bearer("54"), {}):
        await http.get(f"{POLL}?{query}", headers=headers)
    assert {line.cache for line in (await front.logged(before + 3, POLL))[before:]} == {"-"}


async def test_a_refusal_is_not_shared(service: Gateway, front: Nginx, http: httpx2.AsyncClient) -> None:
    target = f"{POLL}?audience=public&cursor=1-1&scopes={news()}"
    before = await front.counted(POLL)
    for _ in range(3):
        check_problem(await http.get(target), 410, "history-truncated")
    assert [line.upstream for line in (await front.logged(before + 3, POLL))[before:]] == ["410"] * 3


async def test_a_long_poll_of_the_public_is_not_shared(
    service: Gateway, front: Nginx, http: httpx2.AsyncClient
) -> None:
    scope = news()
    (first,) = await service.publish({"scope": scope})
    before = await front.counted(LONG_POLL)
    target = f"{LONG_POLL}?audience=public&scopes={scope}&cursor={first}"
    waiting = [asyncio.create_task(http.get(target)) for _ in range(3)]
    (second,) = await service.publish({"scope": scope})
    for one in waiting:
        assert [event["id"] for event in (await one).json()["events"]] == [second]
    assert {line.cache for line in (await front.logged(before + 3, LONG_POLL))[before:]} == {"-"}


async def test_the_cookie_is_secure_and_counts_for_pages_of_the_same_host(
    service: Gateway, front: Nginx, http: httpx2.AsyncClient
) -> None:
    given = await http.post(TICKET, json={"cookie": True}, headers=service.bearer("55"))
    assert "; Secure" in given.headers["set-cookie"], "the service was told of https"
    cookie = given.headers["set-cookie"].split(";")[0]
    own = await http.get(POLL, params={"scopes": "user:55"}, headers={"Cookie": cookie, "Origin": front.url})
    assert own.status_code == 200
    other = {"Cookie": cookie, "Origin": "https://evil.example.com"}
    check_problem(await http.get(POLL, params={"scopes": "user:55"}, headers=other), 403, "scope-not-held")


async def test_a_body_over_the_limit_is_refused_in_the_services_words(
    service: Gateway, http: httpx2.AsyncClient
) -> None:
    headers = service.bearer("p", roles=("publisher",))
    answer = await http.post(EVENTS, content=b" " * (4 * 1024 * 1024 + 1), headers=headers)
    check_problem(answer, 413, "body-too-large")


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/metrics", "/docs"])
async def test_only_the_api_is_passed_on(http: httpx2.AsyncClient, front: Nginx, path: str) -> None:
    before = await front.counted(f'"GET {path} ')
    assert (await http.get(path)).status_code == 404
    (line,) = (await front.logged(before + 1, f'"GET {path} '))[before:]
    assert line.upstream == "-"


async def test_an_operator_signs_in_to_the_console_and_its_feed_is_live(
    service: Gateway, http: httpx2.AsyncClient
) -> None:
    assert (await http.get("/admin")).status_code == 301, "to /admin/"
    assert "Sign in" in (await http.get("/admin/sign-in")).text
    signed_in = await http.post("/admin/sign-in", data={"token": service.token("olga", roles=("viewer",))})
    assert signed_in.status_code == 303
    given = signed_in.headers["set-cookie"]
    assert "; Secure" in given
    session = {"Cookie": given.partition(";")[0], "Sec-Fetch-Site": "same-origin"}
    assert "olga" in (await http.get("/admin/", headers=session)).text
    async with http.stream("GET", "/admin/events", headers={**session, **BROWSER}) as answer:
        assert answer.status_code == 200
        samples = Stream(answer)
        while (await samples.next()).event != "gateway.sampled":
            pass


async def test_the_console_is_for_the_addresses_that_are_allowed(service: Gateway, tmp_path: Path) -> None:
    elsewhere = {"allow 127.0.0.1;": "allow 192.0.2.1;"}
    async with nginx(tmp_path, port(service), elsewhere) as running, running.client() as http:
        for path in ("/admin/", "/admin/sign-in", "/admin/events"):
            assert (await http.get(path)).status_code == 403
        assert [line.upstream for line in await running.logged(3, '"GET /admin/')] == ["-"] * 3
        assert (await http.get(POLL)).status_code == 200


async def curl(front: Nginx, headers: Mapping[str, str], target: str, *options: str) -> asyncio.subprocess.Process:
    fields = (word for name, value in headers.items() for word in ("-H", f"{name}: {value}"))
    return await asyncio.create_subprocess_exec(
        *("curl", "--no-progress-meter", "--http2", "--cacert", str(front.certificate), *fields, *options),
        front.url + target,
        stdout=asyncio.subprocess.PIPE,
    )


async def test_http_2_to_the_client(front: Nginx, service: Gateway) -> None:
    process = await curl(front, service.bearer(), POLL, "--write-out", "\n%{http_version} %{http_code}")
    out, _ = await process.communicate()
    body, _, version = out.decode().rpartition("\n")
    assert version == "2 200"
    assert json.loads(body)["events"] == []


async def test_a_stream_over_http_2_arrives_as_it_is_written(front: Nginx, service: Gateway) -> None:
    before = await front.counted(STREAM)
    process = await curl(front, service.bearer("56"), f"{STREAM}?scopes=user:56", "--no-buffer")
    try:
        assert process.stdout is not None
        parser, seen = EventStream(), list[Message]()
        async with patience():
            while not seen:
                seen += parser.feed((await process.stdout.readline()).decode())
            assert seen.pop().event == "connection.established"
            (published,) = await service.publish({"scope": "user:56"})
            while not any(one.last_event_id == published and one.event == "test.happened" for one in seen):
                seen += parser.feed((await process.stdout.readline()).decode())
    finally:
        process.terminate()
        await process.wait()
    (line,) = (await front.logged(before + 1, STREAM))[before:]
    assert line.request.endswith("HTTP/2.0")


async def test_while_no_gateway_answers_an_event_source_is_sent_away_and_the_rest_get_a_problem(
    tmp_path: Path,
) -> None:
    async with nginx(tmp_path, free_port()) as alone, alone.client() as client:
        async with stream(client, BROWSER) as one:
            assert one.answer.status_code == 200, "any other status would be final"
            assert one.answer.headers["content-type"] == "text/event-stream; charset=utf-8"
            (deferred,) = await one.rest()
            told = json.loads(deferred.data)
            assert (deferred.event, deferred.last_event_id) == ("connection.deferred", ""), "it stays where it was"
            assert datetime.fromisoformat(told["time"]).tzinfo is not None
            assert told["data"] == {"code": "draining", "retry_ms": one.parser.retry_ms}
            assert 3000 <= (one.parser.retry_ms or 0) <= 7000
        for answer in (
            await client.get(STREAM, headers=SDK),
            await client.get(POLL, headers=BROWSER),
            await client.get(f"{POLL}?audience=public"),
            await client.post(EVENTS, json={}),
        ):
            assert check_problem(answer, 503, "draining")["title"] == Draining.title


ORIGIN = "https://app.example.com"
ALLOWED = {'# "https://app.example.com" $http_origin;': '"https://app.example.com" $http_origin;'}
PREFLIGHT = {
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Headers": "authorization,cache-control,traceparent,tracestate",
}


@pytest.mark.parametrize("origin", [ORIGIN, "https://other.example", None])
@pytest.mark.parametrize("query", ["?", "?audience=public&"])
async def test_while_no_gateway_answers_pages_are_told_what_the_gateway_would_tell_them(
    tmp_path: Path, valkey: RedisServer, origin: str | None, query: str
) -> None:
    """The gateway and nginx are asked alike: what one says of origins the other says too."""
    settings = {"CORS__ORIGINS": json.dumps([ORIGIN]), "AUTH__ANONYMOUS_SCOPES": '["broadcast"]'}
    said = []
    async with gateway(tmp_path / "gateway", valkey.database(), settings) as running:
        (tmp_path / "nginx").mkdir()
        async with nginx(tmp_path / "nginx", free_port(), ALLOWED) as alone, alone.client() as away:
            for client in (running.http, away):
                sent = {} if origin is None else {"Origin": origin}
                event_source = await client.get(f"{STREAM}{query}limit=x", headers={**BROWSER, **sent})
                poll = await client.get(f"{POLL}{query}limit=x", headers=sent)
                said.append([cross_origin(answer) for answer in (event_source, poll)])
    here, there = said
    assert here == there


async def test_while_no_gateway_answers_a_preflight_is_answered_as_the_gateway_does(
    tmp_path: Path, valkey: RedisServer
) -> None:
    said = []
    async with gateway(tmp_path / "gateway", valkey.database(), {"CORS__ORIGINS": json.dumps([ORIGIN])}) as running:
        (tmp_path / "nginx").mkdir()
        async with nginx(tmp_path / "nginx", free_port(), ALLOWED) as alone, alone.client() as away:
            for client in (running.http, away):
                answer = await client.options(STREAM, headers={"Origin": ORIGIN, **PREFLIGHT})
                said.append((answer.status_code, cross_origin(answer)))
            assert (await away.options(STREAM, headers={"Origin": "https://other.example", **PREFLIGHT})).is_error
    here, there = said
    assert here == there
    assert here[0] == 204
    assert here[1]["access-control-allow-origin"] == ORIGIN


def cross_origin(answer: httpx2.Response) -> dict[str, str]:
    """Return what an answer says of origins."""
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


async def test_no_credential_gets_into_its_logs(service: Gateway, tmp_path: Path) -> None:
    secrets = [service.token("57"), (await service.negotiate("57"))["ticket"]]
    for upstream in (port(service), free_port()):
        async with nginx(tmp_path / str(upstream), upstream) as one, one.client() as client:
            for path in (POLL, HISTORY, f"{LONG_POLL}?hold_ms=0&"):
                await client.get(f"{path}{'' if '?' in path else '?'}ticket={secrets[1]}")
                await client.get(path, headers={"Authorization": f"Bearer {secrets[0]}"})
            await one.logged(6, "GET")
            assert [secret for secret in secrets if secret in one.logs] == []


async def test_an_offer_to_upgrade_through_a_location_for_websockets_loses_no_body(
    service: Gateway, tmp_path: Path
) -> None:
    fields = 'proxy_set_header Connection "upgrade"; proxy_set_header Upgrade $http_upgrade;'
    upgrades = {'proxy_set_header Connection "";': fields}
    async with nginx(tmp_path, port(service), upgrades) as before, before.client() as http:
        for number in range(3):
            body = {"event": "up.graded", "scope": "broadcast", "data": number}
            headers = {"Upgrade": "h2c", "Connection": "Upgrade", **service.bearer("p", roles=("publisher",))}
            answer = await http.post(EVENTS, json=body, headers=headers)
            assert answer.status_code == 201
            assert len(answer.json()["events"]) == 1
