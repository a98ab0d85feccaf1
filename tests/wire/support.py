"""What the tests of the wire share: a client that hides nothing, and what every answer of a kind has."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from tests.support.waiting import patience

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2

    from tests.support.gateway import Gateway

APP = "https://app.example.com"
EVENTS = "/api/v1/events"
STREAM = f"{EVENTS}/stream"
LONG_POLL = f"{EVENTS}/long-poll"
POLL = f"{EVENTS}/poll"
HISTORY = f"{EVENTS}/history"
NEGOTIATE = f"{EVENTS}/negotiate"
TICKET = "/api/v1/auth/ticket"

BROWSER = {"Accept": "text/event-stream"}
"""What a stock EventSource sends."""
SDK = {"Accept": "text/event-stream, application/problem+json"}

CURSOR = re.compile(r"(0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})")
_numbers = count(1)


def unique(kind: str = "") -> str:
    """Return a name that no other test of this process has."""
    return f"{kind}{next(_numbers)}"


def parsed(cursor: str) -> tuple[int, int]:
    """Return a cursor's two numbers, to be compared."""
    assert CURSOR.fullmatch(cursor), cursor
    ms, seq = cursor.split("-")
    return int(ms), int(seq)


def check_problem(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """Check that an answer is the problem of a code, in every member and field; return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    value: dict[str, Any] = answer.json()
    assert value["code"] == code, value
    assert value["status"] == status
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", value["code"])
    for member in ("type", "title", "detail"):
        assert isinstance(value[member], str), member
        assert value[member], member
    assert "no-store" in answer.headers["cache-control"]
    assert "set-cookie" not in answer.headers
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
    if status in {429, 503}:
        assert re.fullmatch(r"[1-9][0-9]*", answer.headers["retry-after"])
    return value


class Bare(NamedTuple):
    """An answer as it came over the socket."""

    status: int
    headers: dict[str, str]
    body: bytes


async def bare(gateway: Gateway, request: bytes) -> Bare:
    """Send bytes on a connection of their own, and read the answer to its end; the request must ask to close."""
    url = urlsplit(gateway.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        async with patience():
            writer.write(request)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    status, *lines = head.decode("latin-1").strip().split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        assert name.lower() not in headers, f"{name} came twice"
        headers[name.lower()] = value.strip()
    return Bare(int(status.split(" ")[1]), headers, body)


def request(method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """Write a request as it goes over the wire."""
    fields = {"Host": "127.0.0.1", "Connection": "close", **headers}
    if body:
        fields["Content-Length"] = str(len(body))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass(frozen=True)
class Block:
    """One block of an event stream: its fields in order, as they were written."""

    fields: tuple[tuple[str, str], ...]

    def __getitem__(self, name: str) -> str:
        return dict(self.fields)[name]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.fields)

    @property
    def envelope(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self["data"])
        return value


def blocks(text: str) -> list[Block]:
    """Split an event stream into its blocks, strictly: every line ends with LF, every block with an empty line."""
    assert text.endswith("\n\n"), text
    assert "\r" not in text
    return [Block(tuple(_field(line) for line in part.split("\n"))) for part in text.removesuffix("\n\n").split("\n\n")]


def _field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    assert colon, line
    return name, value.removeprefix(" ")
