"""The peers in Python, on the same uvicorn as ours."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from bench import events
from bench.http import get, post
from bench.plan import Client
from bench.targets import Target, free_port, started, until_it_listens

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Running(Target):
    """One that is ready."""

    def stream(self, user: int) -> Client:
        """Write the request of a stream."""
        return Client(get("/stream", accept="text/event-stream"), user=user)

    def publication(self) -> bytes:
        """Write the request that publishes one event to everyone."""
        return post("/publish", events.envelope())


@dataclass(frozen=True, slots=True)
class Uvicorn:
    """An application, as its framework's documentation would write it."""

    name: str
    application: str
    packages: tuple[str, ...]

    def missing(self) -> str | None:
        """Tell which package is missing: all are in the group `bench`, which `make bench` installs."""
        try:
            self.version()
        except PackageNotFoundError as error:
            return f"the package {error.name} is missing: `make bench` installs it"
        return None

    def version(self) -> str:
        """Return the versions of the packages."""
        return ", ".join(f"{name} {version(name)}" for name in (*self.packages, "uvicorn"))

    @contextmanager
    def running(self) -> Iterator[Target]:
        """Run one."""
        port = free_port()
        options = ["--no-access-log", "--log-level", "warning", "--http", "httptools", "--loop", "uvloop"]
        backlog = ["--backlog", "4096", "--timeout-keep-alive", "300"]
        command = [sys.executable, "-m", "uvicorn", self.application, "--port", str(port), *options, *backlog]
        with started(command, {}) as processes:
            until_it_listens(port, processes)
            yield Running(self.name, port, processes)
