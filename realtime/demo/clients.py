"""A few clients of the demo, on each transport, so that the console shows something real at once.

Clients like any other: each negotiates over HTTP with what it supports and says of itself, attaches to what it is
offered, and when it is told that its transport has changed it negotiates anew, with the cursor at hand. Number 42 sits
behind a proxy that holds streams back: it reports that, and so it is on polling.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, cast

import httpx2
import structlog

from realtime.demo.outbox import FIRST_WAIT_S, LONGEST_WAIT_S

NEGOTIATE: Final = "/api/v1/events/negotiate"

_SCOPES: Final = ("topic:host",)
_ALL: Final = ("sse", "long-poll", "polling")
_HELD: Final = ("long-poll", "polling")
_PATIENCE_S: Final = 40.0
_LONGEST_MOVE_S: Final = 30.0

_log = structlog.get_logger(__name__)

Mint = Callable[..., str]


class Kind(NamedTuple):
    """One client: who it is, what it can do, what it says of itself, and what has failed for it."""

    sub: str
    supports: tuple[str, ...]
    client: Mapping[str, str]
    failed: tuple[str, ...] = ()


CLIENTS: Final = (
    Kind("36", _ALL, {"platform": "web", "app_version": "5.2", "sdk": "demo/1"}),
    Kind("37", _ALL, {"platform": "web", "app_version": "5.1", "sdk": "demo/1"}),
    Kind("38", _ALL, {"platform": "android", "app_version": "5.2", "network": "wifi", "sdk": "demo/1"}),
    Kind("39", _HELD, {"platform": "ios", "app_version": "4.9", "network": "wifi", "sdk": "demo/1"}),
    Kind("40", _HELD, {"platform": "android", "app_version": "4.8", "network": "cellular", "sdk": "demo/1"}),
    Kind("41", ("polling",), {"platform": "ios", "network": "cellular", "state": "background", "sdk": "demo/1"}),
    Kind("42", _ALL, {"platform": "web", "network": "office", "sdk": "demo/1"}, ("sse", "long-poll")),
)


class _Moved(Exception):
    """The client is to negotiate anew, after a while."""

    def __init__(self, wait_s: float) -> None:
        super().__init__()
        self.wait_s = wait_s


@dataclass(slots=True)
class Client:
    """One of them, from session to session; what lasts is its cursor."""

    http: httpx2.AsyncClient
    kind: Kind
    mint: Mint
    cursor: str | None = None
    ticket: str = ""
    received: int = 0
    _failures: int = field(default=0)

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            try:
                offer = await self._negotiate()
                await _CARRIERS[offer["name"]](self, offer)
            except _Moved as moved:
                await asyncio.sleep(moved.wait_s)
            except httpx2.HTTPError as error:
                await self._pause(type(error).__name__)

    async def _negotiate(self) -> Mapping[str, Any]:
        token = self.mint(self.kind.sub, scopes=_SCOPES)
        body: dict[str, Any] = {
            "transports": self.kind.supports,
            "client": {"id": f"demo-{self.kind.sub}", **self.kind.client},
            "failed": [{"transport": name, "reason": "buffered"} for name in self.kind.failed],
        }
        if self.cursor is not None:
            body["cursor"] = self.cursor
        answer = await self.http.post(NEGOTIATE, json=body, headers={"Authorization": f"Bearer {token}"})
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        self.ticket, self.cursor = told["ticket"], told["cursor"]
        offer: dict[str, Any] = told["decision"]["transports"][0]
        return offer

    async def stream(self, offer: Mapping[str, Any]) -> None:
        """Take a stream until it ends, as all do; then begin anew."""
        parameters = {"ticket": self.ticket, "cursor": self.cursor or ""}
        accept = {"Accept": "text/event-stream, application/problem+json"}
        async with self.http.sse(offer["url"], params=parameters, headers=accept) as source:
            source.response.raise_for_status()
            async for message in source:
                self._failures = 0
                if message.id:
                    self.cursor = message.id
                if message.data:
                    self._take(cast("Mapping[str, Any]", message.json()))

    async def pull(self, offer: Mapping[str, Any]) -> None:
        """Ask again and again, waiting as it is told to."""
        while True:
            parameters = {"ticket": self.ticket, "cursor": self.cursor or ""}
            answer = await self.http.get(offer["url"], params=parameters)
            answer.raise_for_status()
            self._failures = 0
            body = answer.json()
            self.cursor, self.ticket = body["cursor"], body.get("ticket") or self.ticket
            for envelope in (*body["events"], *body["control"]):
                self._take(envelope)
            if not body["more"]:
                await asyncio.sleep(body.get("next_poll_ms", 0) / 1000)

    def _take(self, envelope: Mapping[str, Any]) -> None:
        """Count an event, or obey what the service says."""
        if "id" in envelope:
            self.received += 1
            return
        if envelope["event"] in {"transport.changed", "gateway.drain-started", "ticket.expired"}:
            within_s = min(envelope.get("data", {}).get("within_ms", 0) / 1000, _LONGEST_MOVE_S)
            raise _Moved(random.uniform(0, within_s) + FIRST_WAIT_S)
        if envelope["event"] in {"connection.closed", "connection.replaced"}:  # a person would come back some time
            raise _Moved(_LONGEST_MOVE_S)

    async def _pause(self, reason: str) -> None:
        if self._failures == 0:
            _log.info("demo client waits", sub=self.kind.sub, reason=reason)
        self._failures += 1
        longest_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(self._failures, 10))
        await asyncio.sleep(longest_s * random.uniform(0.5, 1))


_CARRIERS: Final = {"sse": Client.stream, "long-poll": Client.pull, "polling": Client.pull}


async def run_http(base_url: str, mint: Mint) -> None:
    """Keep all of them connected until cancelled; `mint` gives a token for a subject and its scopes."""
    # Proxies from the environment are for the world outside, not for the service next door.
    http = httpx2.AsyncClient(base_url=base_url, timeout=_PATIENCE_S, trust_env=False)
    async with http, asyncio.TaskGroup() as group:
        for kind in CLIENTS:
            group.create_task(Client(http, kind, mint).run())
