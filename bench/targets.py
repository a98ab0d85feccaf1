"""What is asked: a server that runs on its core, and the requests that it understands."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import psutil

from bench.machine import SERVER_CORE, on_core
from bench.meter import Processes
from realtime.embedded import lifeline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from bench.plan import Client

_PATIENCE_S: Final = 30.0


class Poll(NamedTuple):
    """A request that is answered at once, and how."""

    request: bytes
    status: int
    wanted: bytes


@dataclass(frozen=True, slots=True)
class Target(ABC):
    """A server that is ready."""

    name: str
    port: int
    processes: Processes
    pace: float = field(default=1.0, kw_only=True)
    """What a rate of load is multiplied by: see `bench.pace`."""

    kind = "sse"
    published = 201
    """The status of an answer to a publication that nobody waits for."""

    def store_us(self) -> float:
        """Return the CPU of the store behind it, if there is one: on the load's core, and not counted as the server."""
        return 0.0

    @abstractmethod
    def stream(self, user: int) -> Client:
        """Write the request of a user's stream."""

    @abstractmethod
    def publication(self) -> bytes:
        """Write the request that publishes one event to everyone."""


@dataclass(frozen=True, slots=True)
class Polled(Target):
    """One that can be polled too, at once and with a wait."""

    @abstractmethod
    def nothing_new(self) -> Poll:
        """Write a poll that finds nothing."""

    @abstractmethod
    def one_event(self) -> Poll:
        """Write a poll that finds one event."""

    @abstractmethod
    def long_poll(self, user: int) -> Client:
        """Write the requests of a user that waits."""


class Peer(Protocol):
    """What can be started to be asked."""

    @property
    def name(self) -> str:
        """What it is called in tables."""

    def missing(self) -> str | None:
        """Install it where that may be done; tell what is missing otherwise."""

    def version(self) -> str:
        """Tell what it is made of, by its own words."""

    def running(self) -> AbstractContextManager[Target]:
        """Run it on the server's core."""


@contextmanager
def started(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Processes]:
    """Run a server on its core; it ends with this block, and with this process."""
    launcher = [sys.executable, "-I", "-S", lifeline.__file__, str(os.getpid())]
    with on_core(SERVER_CORE):
        child = subprocess.Popen(
            [*launcher, *command],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    try:
        yield Processes(child.pid)
    finally:
        child.terminate()
        try:
            child.wait(_PATIENCE_S)
        finally:
            child.kill()


def until_it_listens(port: int, processes: Processes) -> None:
    """Wait until a port takes connections.

    Raises:
        RuntimeError: it didn't in time, or its process ended.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        if _ended(processes.pid):
            break
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}: the server ended, or did not come up in {_PATIENCE_S:g} s")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
