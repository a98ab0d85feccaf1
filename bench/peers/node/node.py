"""Installs and runs a server of this folder."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench import events
from bench.http import get, post
from bench.peers.packages import find_program, install
from bench.plan import Client
from bench.targets import Target, free_port, started, until_it_listens

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER: Final = Path(__file__).parent
_MODULES: Final = _FOLDER / "node_modules"
_STAMP: Final = _MODULES / ".package-lock.json"
_UPGRADE: Final = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@dataclass(frozen=True, slots=True)
class Running(Target):
    """One that is ready."""

    kind: str = "sse"

    def stream(self, user: int) -> Client:
        """Write the request of a stream, or of a WebSocket."""
        if self.kind == "websocket":
            return Client(get("/socket.io/?EIO=4&transport=websocket", fields=_UPGRADE), user=user)
        return Client(get("/stream", accept="text/event-stream"), user=user)

    def publication(self) -> bytes:
        """Write the request that publishes one event to everyone."""
        return post("/publish", events.envelope())


@dataclass(frozen=True, slots=True)
class Node:
    """One of the servers."""

    name: str
    script: str
    package: str
    kind: str

    def missing(self) -> str | None:
        """Install Node and the packages, or tell what is missing."""
        lacking = install(("nodejs", "npm"), ("node", "npm"))
        if lacking is not None or (_STAMP.exists() and _STAMP.stat().st_mtime >= _lock().stat().st_mtime):
            return lacking
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(command, cwd=_FOLDER, check=False, capture_output=True, text=True)
        return None if done.returncode == 0 else f"npm ci failed: {done.stderr.strip()[-300:]}"

    def version(self) -> str:
        """Return the versions of Node and of the package."""
        node = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout.strip()
        if not self.package:
            return f"node {node}"
        lock = json.loads(_lock().read_text())
        return f"{self.package} {lock['packages'][f'node_modules/{self.package}']['version']}, node {node}"

    @contextmanager
    def running(self) -> Iterator[Target]:
        """Run one."""
        port = free_port()
        command = [find_program("node") or "node", str(_FOLDER / self.script), str(port)]
        with started(command, {"NODE_ENV": "production"}) as processes:
            until_it_listens(port, processes)
            yield Running(self.name, port, processes, self.kind)


def _lock() -> Path:
    return _FOLDER / "package-lock.json"
