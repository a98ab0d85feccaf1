"""Ours: one gateway with everything on, and its Valkey beside the load."""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx2
import jwt
import structlog
from redis import Redis

from bench import events
from bench.http import get, post
from bench.machine import LOAD_CORE, on_core
from bench.meter import Processes
from bench.plan import Client
from bench.targets import Poll, Polled, Target, free_port, started, until_it_listens
from realtime.embedded import Embedded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SECRET: Final = "the benchmark's own secret, 32 bytes"  # noqa: S105 - of a server that lives for a minute
_EVENTS: Final = "/api/v1/events"
_EXPIRES: Final = 4102444800
_STREAM: Final = "text/event-stream"
_PATIENCE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Gateway(Polled):
    """A gateway that is ready."""

    store: Processes
    redis: Redis
    publisher: str
    """The token that publishes."""
    tokens: dict[tuple[int, tuple[str, ...]], str] = field(default_factory=dict)

    def store_us(self) -> float:
        """Return the CPU of Valkey."""
        return self.store.cpu_us()

    def token(self, user: int, scopes: Iterable[str] = ()) -> str:
        """Return the token of a user, made once."""
        key = user, tuple(scopes)
        if key not in self.tokens:
            self.tokens[key] = token(f"u-{user:05}", scopes=key[1])
        return self.tokens[key]

    def stream(self, user: int, cursor: str = "", scopes: Iterable[str] = ()) -> Client:
        """Write the request of a user's stream."""
        last = f"Last-Event-ID: {cursor}\r\n" if cursor else ""
        return Client(get(f"{_EVENTS}/stream", self.token(user, scopes), _STREAM, last), user=user)

    def publication(self, count: int = 1, scope: str = "broadcast") -> bytes:
        """Write the request that publishes events."""
        return post(_EVENTS, events.publication(count, scope), self.publisher)

    def nothing_new(self) -> Poll:
        """Write a poll at the tail."""
        return Poll(get(f"{_EVENTS}/poll?cursor={self.tail()}", self.token(0)), 200, b'"events":[]')

    def one_event(self) -> Poll:
        """Write a poll just before the last event."""
        cursor = self.tail()
        self.publish()
        return Poll(get(f"{_EVENTS}/poll?cursor={cursor}", self.token(0)), 200, b'"tick":"')

    def long_poll(self, user: int) -> Client:
        """Write the requests of a user that waits from here on."""
        return self.polling("long-poll", user, self.tail())

    def polling(self, name: str, user: int, cursor: str) -> Client:
        """Write the requests of a user on a transport that answers and is asked again."""
        first, again = (get(f"{_EVENTS}/{name}?cursor={at}", self.token(user)) for at in (cursor, "{cursor}"))
        return Client(first, again, user)

    def tail(self) -> str:
        """Return the cursor of now."""
        with self._http() as http:
            answer = http.post(f"{_EVENTS}/negotiate", json={})
            return str(answer.raise_for_status().json()["cursor"])

    def publish(self, count: int = 1, scope: str = "broadcast") -> None:
        """Publish events that no load has sent, and wait until the gateway has them."""
        with self._http() as http:
            body = events.publication(count, scope)
            answer = http.post(_EVENTS, content=body, headers={"Content-Type": "application/json"})
            last = answer.raise_for_status().json()["events"][-1]["id"]
        deadline = time.monotonic() + _PATIENCE_S
        while self.tail() != last:
            if time.monotonic() > deadline:
                raise TimeoutError("the gateway's tail did not reach the event that was published")

    def calls(self) -> dict[str, int]:
        """Return how often Redis has been asked what."""
        told = self.redis.info("commandstats")
        return {name.removeprefix("cmdstat_"): int(stats["calls"]) for name, stats in told.items()}

    def _http(self) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {self.publisher}"}
        return httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=_PATIENCE_S)


def token(sub: str, *roles: str, scopes: Iterable[str] = ()) -> str:
    """Sign a token."""
    claims = {"sub": sub, "exp": _EXPIRES, "roles": list(roles), "scopes": list(scopes)}
    return jwt.encode(claims, SECRET, "HS256")


@contextmanager
def gateway(settings: Mapping[str, str] | None = None) -> Iterator[Gateway]:
    """Run one on a fresh log; settings, without GAPLESS_, may be given. All others are the defaults."""
    with tempfile.TemporaryDirectory(prefix="gapless-bench-") as directory, _valkey(Path(directory)) as (url, store):
        port = free_port()
        environment = {"DATA_DIR": directory, "AUTH__SECRET": SECRET, "REDIS__URL": url, "LOG__LEVEL": "warning"}
        environment = {f"GAPLESS_{name}": value for name, value in {**environment, **(settings or {})}.items()}
        command = [str(Path(sys.executable).with_name("gapless")), "serve", "--port", str(port)]
        with started(command, environment) as processes, Redis.from_url(url) as redis:
            until_it_listens(port, processes)
            _until_ready(port)
            yield Gateway("gapless", port, processes, store, redis, token("publisher", "publisher"))


@contextmanager
def _valkey(directory: Path) -> Iterator[tuple[str, Processes]]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    valkey = Embedded()
    with on_core(LOAD_CORE):
        url = asyncio.run(valkey.start(directory))
    try:
        yield url, Processes(valkey.pid or 0)
    finally:
        asyncio.run(valkey.stop())


def _until_ready(port: int) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        if httpx2.get(f"http://127.0.0.1:{port}/readyz").status_code == httpx2.codes.OK:
            return
        time.sleep(0.02)
    raise TimeoutError(f"the gateway was not ready within {_PATIENCE_S:g} s")


class Gapless:
    """Ours, as a peer among peers."""

    name = "gapless"

    def missing(self) -> None:
        """Nothing is."""

    def version(self) -> str:
        """Return ours, and what it runs on."""
        told = ", ".join(f"{name} {version(name)}" for name in ("quart", "uvicorn", "uvloop", "redis"))
        return f"gapless {version('gapless')} ({told})"

    @contextmanager
    def running(self) -> Iterator[Target]:
        """Run one."""
        with gateway() as one:
            yield one
