"""The floor: a C program that only calls send(): `bench/load/floor.c`. No server can be cheaper on this machine."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import events
from bench.http import get, post
from bench.plan import Client
from bench.programs import NoCompiler, build
from bench.targets import Target, free_port, started, until_it_listens

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Running(Target):
    """One that is ready."""

    def stream(self, user: int) -> Client:
        """Write the request of a stream."""
        return Client(get("/stream"), user=user)

    def publication(self) -> bytes:
        """Write the request that publishes: the whole frame, which is passed on as it is."""
        return post("/publish", events.frame())


class Floor:
    """The C program."""

    name = "floor"

    def missing(self) -> str | None:
        """Compile it, or tell why not."""
        try:
            build("floor")
        except NoCompiler as error:
            return str(error)
        return None

    def version(self) -> str:
        """Tell where it is."""
        return "bench/load/floor.c"

    @contextmanager
    def running(self) -> Iterator[Target]:
        """Run one."""
        port = free_port()
        with started([str(build("floor")), str(port)], {}) as processes:
            until_it_listens(port, processes)
            yield Running(self.name, port, processes)
