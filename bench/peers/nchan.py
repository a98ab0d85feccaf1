"""nchan, the module of nginx in C: the peer that is hardest to match. From Debian's packages."""

from __future__ import annotations

import re
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx2

from bench import events
from bench.http import get, post
from bench.machine import FILES
from bench.peers.packages import find_program, install
from bench.plan import Client
from bench.targets import Poll, Polled, Target, free_port, started, until_it_listens

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODULE: Final = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
_PACKAGES: Final = ("nginx", "libnginx-mod-nchan")
_POSITION: Final = "If-None-Match: {cursor}\r\nIf-Modified-Since: {stamp}\r\n"


@dataclass(frozen=True, slots=True)
class Running(Polled):
    """One that is ready. Everyone is on one channel; polls have channels of their own."""

    published = 202

    def stream(self, user: int) -> Client:
        """Write the request of a stream."""
        return Client(get("/stream?channel=all", accept="text/event-stream"), user=user)

    def publication(self) -> bytes:
        """Write the request that publishes one event to everyone."""
        return post("/publish?channel=all", events.envelope())

    def nothing_new(self) -> Poll:
        """Write a poll of a channel without an event."""
        return Poll(get("/poll?channel=nothing"), 304, b"")

    def one_event(self) -> Poll:
        """Write a poll of a channel with one event."""
        httpx2.post(f"http://127.0.0.1:{self.port}/publish?channel=one", content=events.envelope()).raise_for_status()
        return Poll(get("/poll?channel=one"), 200, b'"tick":"')

    def long_poll(self, user: int) -> Client:
        """Write the requests of one that waits."""
        return Client(get("/long-poll?channel=all"), get("/long-poll?channel=all", fields=_POSITION), user)


class Nchan:
    """nginx with nchan."""

    name = "nchan"

    def missing(self) -> str | None:
        """Install it, or tell what is missing."""
        return install(_PACKAGES, (_MODULE, "nginx"))

    def version(self) -> str:
        """Return the versions of both packages."""
        told = subprocess.run(["dpkg-query", "-W", *_PACKAGES], check=True, capture_output=True, text=True).stdout
        return ", ".join(re.sub(r"\t", " ", line) for line in told.splitlines())

    @contextmanager
    def running(self) -> Iterator[Target]:
        """Run one."""
        port = free_port()
        with tempfile.TemporaryDirectory(prefix="gapless-bench-nchan-") as directory:
            text = (Path(__file__).parent / "nchan.conf").read_text()
            file = Path(directory) / "nginx.conf"
            file.write_text(text.format(module=_MODULE, directory=directory, port=port, files=FILES))
            command = [
                find_program("nginx") or "nginx",
                "-e",
                f"{directory}/error.log",
                "-p",
                directory,
                "-c",
                str(file),
            ]
            with started(command, {}) as processes:
                until_it_listens(port, processes)
                yield Running(self.name, port, processes)
