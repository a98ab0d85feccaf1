"""One foreign client: a process that prints what it hears."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

FOLDER: Final = Path(__file__).parent
PYTHON: Final = Path(sys.prefix) / "foreign" / "bin" / "python"
_AGAIN: Final = "again"
_CONTROLS: Final = {"connection.established", "connection.deferred", "heartbeat.sent", "gateway.drain-started"}
_LARGEST_LINE: Final = 2**20


@dataclass(frozen=True, slots=True)
class Client:
    """A package, and how it is run."""

    package: str
    registry: str
    with_cursor: bool = False
    """Whether its URL has a ``?cursor=``, which it repeats when it comes back."""

    def __str__(self) -> str:
        return f"{self.package} ({self.registry}{', ?cursor=' if self.with_cursor else ''})"

    def command(self, url: str) -> Sequence[str]:
        """Return the command that runs it."""
        if self.registry == "npm":
            return (shutil.which("node") or "node", str(FOLDER / "clients.mjs"), self.package, url)
        return (str(PYTHON), str(FOLDER / "clients.py"), self.package, url)


CLIENTS: Final = (
    Client("@microsoft/fetch-event-source", "npm"),
    Client("event-source-polyfill", "npm"),
    Client("event-source-polyfill", "npm", with_cursor=True),
    Client("eventsource", "npm"),
    Client("eventsource-client", "npm"),
    Client("eventsource-parser", "npm"),
    Client("extended-eventsource", "npm"),
    Client("fetch-event-stream", "npm"),
    Client("launchdarkly-eventsource", "npm"),
    Client("reconnecting-eventsource", "npm"),
    Client("reconnecting-eventsource", "npm", with_cursor=True),
    Client("aiohttp-sse-client", "PyPI"),
    Client("aiohttp-sse-client2", "PyPI"),
    Client("aiosseclient", "PyPI"),
    Client("httpx-sse", "PyPI"),
    Client("launchdarkly-eventsource", "PyPI"),
    Client("requests-sse", "PyPI"),
    Client("sseclient", "PyPI"),
    Client("sseclient-py", "PyPI"),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the events at one client."""

    missed: int
    repeated: int
    wrong: Sequence[str]
    """What was handed to the application that nobody published or said: empty messages, forged events."""
    anew: int
    """How often its user had to begin anew."""


@dataclass
class Reader:
    """One that runs."""

    client: Client
    heard: list[tuple[str, str, str]] = field(default_factory=list)
    anew: int = 0
    errors: str = ""

    @property
    def is_established(self) -> bool:
        """Whether a stream has begun."""
        return any(event == "connection.established" for event, _, _ in self.heard)

    def has(self, id_: str) -> bool:
        """Tell whether an event has come."""
        return any(last == id_ and event not in _CONTROLS for event, last, _ in self.heard)

    def outcome(self, published: Mapping[str, Any]) -> Outcome:
        """Compare what was heard with what was published: ``data`` by id, in order."""
        wrong, seen = [], []
        for event, id_, data in self.heard:
            envelope = _parsed(data)
            if event in _CONTROLS and envelope.get("event") == event:
                continue
            if envelope.get("event") != event or envelope.get("id") != id_ or published.get(id_) != envelope["data"]:
                wrong.append(f"{event} {id_} {data[:200]!r}")
            else:
                seen.append(id_)
        in_order = [id_ for id_ in published if id_ in set(seen)]
        if list(dict.fromkeys(seen)) != in_order:
            wrong.append("events out of order")
        return Outcome(len(published) - len(in_order), len(seen) - len(in_order), wrong, self.anew)

    async def read(self, process: asyncio.subprocess.Process) -> None:
        """Take down what it prints."""
        assert process.stdout is not None
        async for line in process.stdout:
            said = json.loads(line)
            if said == _AGAIN:
                self.anew += 1
            else:
                event, id_, data = said
                self.heard.append((event, id_, data))

    async def complain(self, process: asyncio.subprocess.Process) -> None:
        """Take down what it says of errors."""
        assert process.stderr is not None
        async for line in process.stderr:
            self.errors = (self.errors + line.decode(errors="replace"))[-4000:]


def _parsed(data: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


@asynccontextmanager
async def reading(client: Client, url: str) -> AsyncIterator[Reader]:
    """Run a client until the block ends."""
    pipe = asyncio.subprocess.PIPE
    command = client.command(url)
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, limit=_LARGEST_LINE)
    reader = Reader(client)
    listening = [asyncio.create_task(reader.read(process)), asyncio.create_task(reader.complain(process))]
    try:
        yield reader
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await asyncio.gather(*listening)
