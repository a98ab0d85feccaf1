"""One service behind two listeners, the fast lane and ASGI alone: what both are sent, and what comes back."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import uvicorn

from realtime.delivery.connection import connection
from tests.support.gateway import Gateway, QuietServer
from tests.support.ports import free_port
from tests.support.waiting import patience, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATIENCE_S = 10


class Answer(NamedTuple):
    """What came back, without what is drawn by lot or is the time."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str


class Lanes(NamedTuple):
    """One service behind two listeners."""

    served: Gateway
    direct: int
    asgi: int


@asynccontextmanager
async def listening(served: Gateway) -> AsyncIterator[int]:
    """Serve the same service by ASGI, on another port."""
    config = uvicorn.Config(
        served.worker.asgi,
        port=free_port(),
        http=connection(served.worker.engine.watch),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
    )
    server = QuietServer(config)
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    yield config.port
    server.should_exit = True
    await serving


async def ask(port: int, raw: bytes) -> Answer | None:
    """Send bytes; read one answer, of a stream its first part. `None`: the connection was closed without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with patience():
            writer.write(raw)
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            except asyncio.IncompleteReadError:
                return None
            status, *lines = head.strip().split("\r\n")
            fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
            is_bare = raw.startswith(b"HEAD ")
            body = b"" if is_bare else await _body(reader, dict(fields), int(status.split(" ")[1]))
    finally:
        writer.close()
    kept = tuple(sorted((name, _drawn(value)) for name, value in fields if name not in {"date", "x-request-id"}))
    return Answer(int(status.split(" ")[1]), kept, _drawn(body.decode("utf-8", "replace")))


async def _body(reader: asyncio.StreamReader, fields: dict[str, str], status: int) -> bytes:
    if "content-length" in fields:
        return await reader.readexactly(int(fields["content-length"]))
    if status in {204, 304}:
        return b""
    if "transfer-encoding" not in fields:  # HTTP/1.0
        return await reader.readuntil(b"\n\n")
    size = int(await reader.readline(), 16)
    return await reader.readexactly(size)


def _drawn(text: str) -> str:
    """Put a mark for what is jittered, made up or of this moment."""
    text = re.sub(r'"session":"[0-9a-f]{32}"', '"session":…', text)
    text = re.sub(r'"time":"[^"]+"(,"event":"(?:connection|history|heartbeat))', r'"time":…\1', text)
    text = re.sub(r'("next_poll_ms":|retry: )\d+', r"\1…", text)
    return re.sub(r"^\d+$", "…", text) if text.isdigit() and len(text) < 3 else text


class Told(NamedTuple):
    """One answer of several on a connection."""

    status: int
    fields: dict[str, str]
    body: bytes


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with patience():
            yield reader, writer
    finally:
        writer.close()


async def answered(reader: asyncio.StreamReader) -> Told:
    """Read one answer that says how long it is."""
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(fields.get("content-length", 0)))
    return Told(int(status.split(" ")[1]), fields, body)
