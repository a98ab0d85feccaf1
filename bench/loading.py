"""Runs a load beside a target, and measures both from the moment when everyone is there."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, NamedTuple, cast

import msgspec

from bench.machine import LOAD_CORE, on_core
from bench.programs import build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.plan import Audience, Requests
    from bench.targets import Target

_PATIENCE_S = 180.0


class Spread(msgspec.Struct, frozen=True):
    """How long something took, in ms."""

    count: int = 0
    p50: float = 0
    p95: float = 0
    p99: float = 0
    max: float = 0


class Report(msgspec.Struct, frozen=True):
    """What a load tells in the end; the fields that its program doesn't have are 0."""

    seconds: float
    cpu_seconds: float
    sent: int = 0
    due: int = 0
    received: int = 0
    missing: int = 0
    repeated: int = 0
    disordered: int = 0
    garbled: int = 0
    lost: int = 0
    refused: int = 0
    refusal: str = ""
    turns: int = 0
    reads: int = 0
    answers: int = 0
    bad: int = 0
    unanswered: int = 0
    connect_seconds: float = 0
    served_seconds: float = 0
    publish_seconds: float = 0
    latency_ms: dict[str, Spread] = {}
    publish_ms: Spread = Spread()
    answer_ms: Spread = Spread()

    @property
    def faults(self) -> int:
        """Everything that was not as it must be."""
        told = (self.missing, self.repeated, self.disordered, self.garbled, self.lost, self.refused)
        return sum(told) + self.bad + self.unanswered

    def latency(self, kind: str) -> Spread:
        """Return the time from publishing to receiving, of one kind of client."""
        return self.latency_ms.get(kind, Spread())


class Measured(NamedTuple):
    """A report, and the CPU that was used for it."""

    report: Report
    server_us: float
    store_us: float

    @property
    def load(self) -> float:
        """How busy the load's core was with the load and the store: above 0.9, it was the limit."""
        return self.report.cpu_seconds / self.report.seconds + self.store_us / 1e6 / self.report.seconds

    @property
    def server(self) -> float:
        """How busy the server's core was with the server."""
        return self.server_us / 1e6 / self.report.seconds


class Running:
    """A load whose clients are all there."""

    def __init__(self, process: subprocess.Popen[bytes], target: Target) -> None:
        """Take one that has been started."""
        self._process = process
        self._target = target
        self._in = cast("IO[bytes]", process.stdin)
        self._out = cast("IO[bytes]", process.stdout)

    def until_ready(self) -> None:
        """Wait until all its clients are there."""
        self._expect(b"ready\n", self._out.readline())

    def go(self) -> Measured:
        """Let it do its work."""
        target = self._target
        server_us, store_us = target.processes.cpu_us(), target.store_us()
        self._in.write(b"go\n")
        self._in.flush()
        line = self._out.readline()
        server_us, store_us = target.processes.cpu_us() - server_us, target.store_us() - store_us
        self._expect(b"{", line)
        return Measured(msgspec.json.decode(line, type=Report), server_us, store_us)

    def _expect(self, beginning: bytes, line: bytes) -> None:
        if not line.startswith(beginning):
            raise RuntimeError(f"the load of {self._target.name} ended: {line!r}; what it said stands above")


@contextmanager
def loading(plan: Audience | Requests, target: Target) -> Iterator[Running]:
    """Start a load; its clients leave at the end of the block."""
    program = build(plan.program)
    with on_core(LOAD_CORE):
        process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    running = Running(process, target)
    try:
        stdin = cast("IO[bytes]", process.stdin)
        stdin.write(plan.text())
        stdin.flush()
        running.until_ready()
        yield running
    finally:
        try:
            process.communicate(timeout=_PATIENCE_S)
        finally:
            process.kill()


def measure(plan: Audience | Requests, target: Target) -> Measured:
    """Run a load to its end."""
    with loading(plan, target) as running:
        return running.go()
