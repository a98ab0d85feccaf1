"""Runs one SSE client of PyPI: ``python clients.py NAME URL``, with the interpreter that has them.

Prints each event that the client hands to its application, one JSON array a line: type, id, data. ``"again"`` is
printed whenever we, not the client, had to begin anew.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
import time
from contextlib import redirect_stdout
from datetime import timedelta
from importlib.metadata import distribution
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

_PAUSE_S = 0.1
_OUT = os.fdopen(os.dup(1), "w", encoding="utf-8")

Event = tuple[str, str, str]


def say(value: object) -> None:
    _OUT.write(json.dumps(value) + "\n")
    _OUT.flush()


def fields(last: str) -> dict[str, str]:
    """Return the header fields of an event stream's request."""
    return {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}


def sseclient(url: str, last: str) -> Iterator[Event]:
    """Read by the module of ``sseclient``, which ``sseclient-py`` hides behind a package of the same name."""
    file = next(str(one.locate()) for one in distribution("sseclient").files or () if one.name == "sseclient.py")
    spec = importlib.util.spec_from_file_location("sseclient_module", file)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # It reads the chunked coding as text: its last chunk as an empty message, and beyond it what never comes.
    for event in module.SSEClient(url, last_id=last or None, retry=100, headers={"Connection": "close"}):
        if event.data:
            yield event.event, event.id or "", event.data


def sseclient_py(url: str, last: str) -> Iterator[Event]:
    import requests
    import sseclient

    for event in sseclient.SSEClient(requests.get(url, stream=True, headers=fields(last), timeout=30)).events():
        yield event.event, event.id or "", event.data


def httpx_sse(url: str, last: str) -> Iterator[Event]:
    import httpx
    from httpx_sse import connect_sse

    with httpx.Client(timeout=30) as client, connect_sse(client, "GET", url, headers=fields(last)) as source:
        for event in source.iter_sse():
            yield event.event, event.id, event.data


def requests_sse(url: str, last: str) -> Iterator[Event]:
    from requests_sse import EventSource

    with EventSource(url, latest_event_id=last, reconnection_time=timedelta(seconds=_PAUSE_S), timeout=30) as source:
        for event in source:
            yield event.type or "", event.last_event_id or "", event.data or ""


def launchdarkly_eventsource(url: str, last: str) -> Iterator[Event]:
    from ld_eventsource import SSEClient
    from ld_eventsource.config import ErrorStrategy

    again = ErrorStrategy.always_continue()
    delays = {"initial_retry_delay": _PAUSE_S, "retry_delay_reset_threshold": 0.5}
    for event in SSEClient(url, last_event_id=last or None, error_strategy=again, **delays).events:
        yield event.event, event.id or event.last_event_id or "", event.data


async def aiohttp_sse_client(url: str, last: str) -> AsyncIterator[Event]:
    from aiohttp_sse_client.client import EventSource

    async with EventSource(url, headers=fields(last)) as source:
        async for event in source:
            yield event.type or "", event.last_event_id, event.data


async def aiohttp_sse_client2(url: str, last: str) -> AsyncIterator[Event]:
    from aiohttp_sse_client2.client import EventSource

    async with EventSource(url, headers=fields(last)) as source:
        async for event in source:
            yield event.type or "", event.last_event_id, event.data


async def aiosseclient(url: str, last: str) -> AsyncIterator[Event]:
    from aiosseclient import aiosseclient as stream

    async for event in stream(url, last_id=last or None):
        yield event.event, event.id or "", event.data


THREADED: dict[str, Callable[[str, str], Iterator[Event]]] = {
    "sseclient": sseclient,
    "sseclient-py": sseclient_py,
    "httpx-sse": httpx_sse,
    "requests-sse": requests_sse,
    "launchdarkly-eventsource": launchdarkly_eventsource,
}
ASYNCHRONOUS: dict[str, Callable[[str, str], AsyncIterator[Event]]] = {
    "aiohttp-sse-client": aiohttp_sse_client,
    "aiohttp-sse-client2": aiohttp_sse_client2,
    "aiosseclient": aiosseclient,
}


def follow(client: Callable[[str, str], Iterator[Event]], url: str) -> None:
    """Hand on what a client gives; begin anew with the last id whenever it stops."""
    last = ""
    while True:
        try:
            for event in client(url, last):
                last = event[1] or last
                say(event)
        except Exception as error:  # noqa: BLE001 - whatever stops a client, its user begins anew
            print(repr(error), file=sys.stderr)
        say("again")
        time.sleep(_PAUSE_S)


async def follow_async(client: Callable[[str, str], AsyncIterator[Event]], url: str) -> None:
    """Do as `follow` does."""
    last = ""
    while True:
        try:
            async for event in client(url, last):
                last = event[1] or last
                say(event)
        except Exception as error:  # noqa: BLE001 - whatever stops a client, its user begins anew
            print(repr(error), file=sys.stderr)
        say("again")
        await asyncio.sleep(_PAUSE_S)


if __name__ == "__main__":
    name, where = sys.argv[1:]
    with redirect_stdout(sys.stderr):  # one of them prints
        if name in THREADED:
            follow(THREADED[name], where)
        else:
            asyncio.run(follow_async(ASYNCHRONOUS[name], where))
