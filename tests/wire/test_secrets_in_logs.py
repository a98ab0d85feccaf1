"""Tokens, tickets, cookies and the data of events never get into the log, whatever is asked and fails (PROTOCOL §3)."""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2
import pytest
import structlog

from realtime.auth import Credentials
from realtime.config import load
from tests.support.gateway import SECRET, gateway
from tests.support.program import program
from tests.support.redis import RedisServer
from tests.support.waiting import PATIENCE_S, patience
from tests.wire.support import (
    BROWSER,
    EVENTS,
    HISTORY,
    LONG_POLL,
    NEGOTIATE,
    POLL,
    STREAM,
    TICKET,
    check_problem,
    unique,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from structlog.typing import EventDict

pytestmark = pytest.mark.asyncio(loop_scope="session")

DATA = "what-nobody-else-may-read"
HEALTH = f"{EVENTS}/health"
REPORT = f"{EVENTS}/report"
BAD = {
    "token": "eyJhbGciOiJIUzI1NiJ9.c2VjcmV0LXBheWxvYWQtb2YtYS1iYWQtdG9rZW4.c2lnbmF0dXJlLW9mLWEtYmFkLXRva2Vu",
    "ticket": "bWFkZS11cC10aWNrZXQtdGhhdC1pcy1uby1nb29k.c2lnbmF0dXJlLW9mLWEtYmFkLXRpY2tldA",
}


@dataclass
class Secrets:
    """What was sent and given in a session, and must not be seen elsewhere."""

    texts: set[str] = field(default_factory=lambda: {DATA, SECRET})

    def add(self, credential: str) -> str:
        """Remember a credential by each of its parts, for half of one is a leak too; return it."""
        parts = [part for part in credential.split(".") if len(part) > 20]
        self.texts.update(part[:30] for part in parts if not part.startswith("eyJhbGciOi"))
        return credential

    def check_absent(self, log: str) -> None:
        found = [text for text in self.texts if text in log]
        assert not found, (found, log[:4000])


class Session:
    """Everything a client can ask, well and badly, at one address."""

    def __init__(self, url: str, secrets: Secrets) -> None:
        self.url = url
        self.secrets = secrets
        self._credentials = Credentials(load(environ={"GAPLESS_AUTH__SECRET": SECRET}), SECRET)

    def bearer(self, sub: str, *roles: str, ttl_s: float = 600) -> dict[str, str]:
        token = self._credentials.mint(sub, roles=roles, ttl_s=ttl_s)
        return {"Authorization": f"Bearer {self.secrets.add(token)}"}

    async def run(self, http: httpx2.AsyncClient) -> None:
        headers = self.bearer("42")
        given = await http.post(TICKET, json={"cookie": True}, headers=headers)
        cookie = given.headers["set-cookie"].split(";")[0]
        self.secrets.add(cookie.removeprefix("gapless_ticket="))
        session = (await http.post(NEGOTIATE, json={"client": {"id": DATA}}, headers=headers)).json()
        ticket = self.secrets.add(session["ticket"])
        await self._publish(http)
        comers: list[tuple[Mapping[str, str], Mapping[str, str]]] = [
            (headers, {}),
            ({}, {"ticket": ticket}),
            ({"Cookie": cookie}, {}),
            ({"Authorization": f"Bearer {self.secrets.add(BAD['token'])}"}, {}),
            ({"Authorization": f"Basic {DATA}"}, {}),
            ({}, {"ticket": self.secrets.add(BAD["ticket"])}),
            ({"Cookie": f"gapless_ticket={BAD['ticket']}"}, {}),
            ({"Cookie": cookie, "Origin": "https://evil.example.com"}, {}),
        ]
        for fields, query in comers:
            await self._ask_all(http, fields, query)
            await self._report(http, fields, query)
        self.secrets.check_absent((await http.get("/metrics")).text)

    async def _publish(self, http: httpx2.AsyncClient) -> None:
        headers = self.bearer("p", "publisher")
        good = {"event": "a.b", "scope": "user:42", "data": {"secret": DATA}, "idempotency_key": unique()}
        bodies: list[object] = [
            good,
            good | {"data": [DATA]},
            good | {"event": DATA, "idempotency_key": None},
            good | {"version": DATA},
            good | {"data": DATA * 5000},
            {"events": [DATA]},
        ]
        for body in bodies:
            await http.post(EVENTS, json=body, headers=headers)
        await http.post(EVENTS, content=f'{{"data":"{DATA}",'.encode(), headers=headers)
        await http.post(EVENTS, json=good, headers=self.bearer("p"))

    async def _report(self, http: httpx2.AsyncClient, headers: Mapping[str, str], query: Mapping[str, str]) -> None:
        good = {"session": DATA, "transport": "sse", "outcome": "failed", "reason": "http-418", "connect_ms": 5}
        for body in (good, good | {"transport": DATA}, good | {"reason": DATA}, good | {"latency_ms": [DATA]}):
            await http.post(REPORT, json=body, params=query, headers=headers)

    async def _ask_all(self, http: httpx2.AsyncClient, headers: Mapping[str, str], query: Mapping[str, str]) -> None:
        for path in (POLL, LONG_POLL, HISTORY, STREAM):
            for more in ({"cursor": "earliest", "hold_ms": "0"}, {"cursor": DATA}, {"scopes": f"user:{DATA}"}):
                params = {**query, **more}
                asked = http.stream("GET", path, params=params, headers={**headers, **BROWSER})
                async with patience(), asked as answer:
                    await anext(answer.aiter_text(), None)
        await http.get(HEALTH, params=query, headers={**headers, "traceparent": DATA})
        for path in (NEGOTIATE, TICKET, EVENTS, REPORT, f"/nope/{DATA}"):
            await http.post(path, params=query, headers=headers, content=DATA.encode())
            await http.put(path, params=query, headers=headers, content=DATA.encode())


class _Raw(logging.Handler):
    """Every line as it was given to a logger, before anything is redacted."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self._format = logging.Formatter("%(name)s %(message)s")

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(("httpx2", "httpcore2", "asyncio")):  # the client's, in this process
            self.lines.append(self._format.format(record))


@contextmanager
def all_that_is_logged() -> Iterator[list[str]]:
    """Collect what the service gives to structlog and to the standard library, at every level, unredacted."""
    handler, root = _Raw(), logging.getLogger()
    loggers = {root: logging.DEBUG} | {logging.getLogger(name): logging.WARNING for name in ("httpx2", "httpcore2")}
    before = {logger: logger.level for logger in loggers}
    events: list[EventDict]
    with structlog.testing.capture_logs(processors=[structlog.processors.format_exc_info]) as events:
        root.addHandler(handler)
        for logger, level in loggers.items():
            logger.setLevel(level)
        said: list[str] = []
        try:
            yield said
        finally:
            root.removeHandler(handler)
            for logger, level in before.items():
                logger.setLevel(level)
            said += handler.lines
            said += [repr(event) for event in events]


@pytest.mark.parametrize("anonymous", [False, True])
async def test_nothing_is_given_to_a_logger(tmp_path: Path, anonymous: bool) -> None:
    server = RedisServer(tmp_path / "redis")
    await server.start()
    settings = {
        "TRANSPORTS__PLUGINS": '["tests.wire.broken:Broken"]',
        "POLICY__PREFERENCE": '["sse","long-poll","polling","broken"]',
        "REDIS__TIMEOUT": "500ms",
        "AUTH__ANONYMOUS_SCOPES": '["broadcast"]' if anonymous else "[]",
    }
    secrets = Secrets()
    try:
        with all_that_is_logged() as said:
            async with gateway(tmp_path / "gateway", server.url, settings) as running:
                session = Session(running.url, secrets)
                await session.run(running.http)
                broken = await running.http.get(f"{EVENTS}/broken", headers=session.bearer("42"), params={"limit": "1"})
                check_problem(broken, 500, "internal-error")
                assert "broken" not in broken.json()["detail"], "what failed is the operator's to read"
                server.kill()
                check_problem(await running.http.get(HISTORY, headers=session.bearer("42")), 503, "log-unavailable")
                body = {"event": "a.b", "scope": "user:42", "data": DATA}
                answer = await running.http.post(EVENTS, json=body, headers=session.bearer("p", "publisher"))
                check_problem(answer, 503, "log-unavailable")
    finally:
        server.stop()
    log = "\n".join(said)
    assert "the transport is broken" in log, "what is looked for would be found"
    assert "log away" in log
    secrets.check_absent(log)


async def send_nonsense(url: str) -> None:
    """Send what is no HTTP, with a token in it, and wait for the answer."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(f"GET {POLL}?ticket={BAD['ticket']} HTTP/9.9\r\nAuthorization: Bearer {BAD['token']}\r\n\r\n".encode())
    assert b" 400 " in await reader.readline()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def test_nothing_comes_out_of_a_running_service(tmp_path: Path) -> None:
    environ = {
        "GAPLESS_AUTH__SECRET": SECRET,
        "GAPLESS_LOG__LEVEL": "debug",
        "GAPLESS_SSE__LIFETIME": "300ms",
    }
    secrets = Secrets()
    async with program(tmp_path, "serve", "--port", "0", environ=environ) as serving:
        url = await serving.address()
        async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE_S) as http:
            await Session(url, secrets).run(http)
        await send_nonsense(url)
        serving.interrupt()
        assert await serving.ended() == 0
    log = "\n".join([*serving.said, serving.errors])
    assert url.removeprefix("http://") in log or "listening" in log
    secrets.check_absent(log)
