"""Server processes under measurement: pinned to one core, watched by the kernel's own accounts."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import psutil

from realtime.embedded import Embedded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

SECRET = "the benchmark's own secret, 32 bytes"  # noqa: S105 - of a server that lives for a minute
WANTED_FILES = 16_384
_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is ready: where, and which process does its work."""

    name: str
    port: int
    process: psutil.Process

    def cpu_s(self) -> float:
        """Return the seconds of CPU that the process has used."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def memory_kb(self) -> float:
        """Return the memory that is resident, in kB."""
        return float(self.process.memory_info().rss) / 1024


def raise_file_limit() -> int:
    """Let this process and its children hold enough connections, or say why not; return how many files they may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)
    if wanted < WANTED_FILES:
        print(f"note: the system allows {hard} open files (ulimit -Hn); {WANTED_FILES} are wanted")
    allowed = max(soft, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


def pin_load() -> None:
    """Keep the load off the servers' core."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, set(cores[1:]))


@asynccontextmanager
async def gapless(overrides: Mapping[str, str] | None = None) -> AsyncIterator[Server]:
    """Run one gateway on one core, and its Valkey beside the load; settings without GAPLESS_ may be overridden."""
    with tempfile.TemporaryDirectory(prefix="gapless-bench-") as directory:
        valkey = Embedded()
        url = await valkey.start(Path(directory))
        environment = {"DATA_DIR": directory, "AUTH__SECRET": SECRET, "REDIS__URL": url, "LOG__LEVEL": "warning"}
        environment.update(overrides or {})
        port = _free_port()
        command = [str(Path(sys.executable).with_name("gapless")), "serve", "--port", str(port)]
        try:
            async with _running(
                "gapless", command, port, {f"GAPLESS_{k}": v for k, v in environment.items()}
            ) as server:
                yield server
        finally:
            await valkey.stop()


@asynccontextmanager
async def peer(name: str, application: str) -> AsyncIterator[Server]:
    """Run another ASGI application on the same uvicorn."""
    port = _free_port()
    options = ["--port", str(port), "--no-access-log", "--log-level", "warning", "--http", "httptools"]
    command = [sys.executable, "-m", "uvicorn", application, *options]
    async with _running(name, command, port, {}) as server:
        yield server


@asynccontextmanager
async def _running(
    name: str, command: Sequence[str], port: int, environment: Mapping[str, str]
) -> AsyncIterator[Server]:
    child = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)  # noqa: ASYNC220
    os.sched_setaffinity(child.pid, {0})
    try:
        await _until_ready(port, child)
        for process in psutil.Process(child.pid).threads():
            os.sched_setaffinity(process.id, {0})
        yield Server(name, port, psutil.Process(child.pid))
    finally:
        child.terminate()
        child.wait()


async def _until_ready(port: int, child: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(_PATIENCE_S), httpx2.AsyncClient() as http:
        while True:
            if child.poll() is not None:
                raise RuntimeError(f"the server ended with {child.returncode}")
            try:
                if (await http.get(f"http://127.0.0.1:{port}/readyz")).status_code == httpx2.codes.OK:
                    return
            except httpx2.TransportError:
                pass
            await asyncio.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
