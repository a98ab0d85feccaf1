"""All clients of one gateway, its operator, and its publisher."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

import httpx2

from bench.gateway import token
from bench.migration.client import EVENTS, Client

if TYPE_CHECKING:
    from collections.abc import Callable

WITHIN_S: Final = 20.0
"""The time over which a move is spread."""
_EVENT_EVERY_S: Final = 4.0
_NEGOTIATES: Final = 4
_AT_ONCE: Final = 64
_PATIENCE_S: Final = 120.0


class Moved(NamedTuple):
    """How long after the change the clients had moved: half of them, 95 % and all; in seconds."""

    to: str
    half_s: float
    most_s: float
    all_s: float
    refusals: int


class Crowd:
    """The clients of one gateway, its operator, and its publisher."""

    def __init__(self, port: int, count: int) -> None:
        """Have so many clients at a port."""
        self._http = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=_PATIENCE_S)
        self.clients = [Client(port, token(f"bench-{n}"), n % _NEGOTIATES == 0) for n in range(count)]
        self.published: list[str] = []
        self._living: list[asyncio.Task[None]] = []
        self._silent = False

    async def begin(self) -> None:
        """Let all of them negotiate and attach."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def begin(client: Client) -> None:
            async with slots:
                await client.begin()
                self._living.append(asyncio.create_task(client.live()))

        await asyncio.gather(*map(begin, self.clients))
        self._living.append(asyncio.create_task(self._publish()))
        await self._until(lambda: all(client.moved_at for client in self.clients))

    async def _publish(self) -> None:
        """Publish an event again and again, until the last flip is made."""
        headers = {"Authorization": f"Bearer {token('publisher', 'publisher')}"}
        event = {"event": "bench.ticked", "scope": "broadcast", "data": {"text": "x" * 120}}
        while not self._silent:
            answer = await self._http.post(EVENTS, json=event, headers=headers)
            self.published += [one["id"] for one in answer.json()["events"]]
            await asyncio.sleep(_EVENT_EVERY_S)

    async def flip(self, preference: tuple[str, ...]) -> Moved:
        """Put another order in force, and wait until everybody has moved."""
        headers = {"Authorization": f"Bearer {token('operator', 'admin')}", "If-Match": "*"}
        policy = {"preference": preference, "move_within": f"{int(WITHIN_S)}s"}
        refused = sum(client.refusals for client in self.clients)
        changed_at = time.monotonic()
        answer = await self._http.put("/api/v1/admin/policy", json={"policy": policy}, headers=headers)
        assert answer.status_code == httpx2.codes.OK, answer.text
        to = preference[0]

        def is_there(client: Client) -> bool:
            return client.on == to and client.moved_at > changed_at

        await self._until(lambda: all(map(is_there, self.clients)))
        moments = sorted(client.moved_at - changed_at for client in self.clients)
        refused = sum(client.refusals for client in self.clients) - refused
        return Moved(to, moments[len(moments) // 2], moments[len(moments) * 95 // 100], moments[-1], refused)

    async def end(self) -> tuple[int, int, int]:
        """Wait until everybody has the last event; return how many events were missed, repeated and out of order."""
        self._silent = True
        publishing = self._living.pop()
        await publishing
        last = self.published[-1]
        with suppress(TimeoutError):
            await self._until(lambda: all(client.ids and client.ids[-1] == last for client in self.clients))
        missed = sum(len(set(self.published) - set(client.ids)) for client in self.clients)
        repeated = sum(len(client.ids) - len(set(client.ids)) for client in self.clients)
        disordered = sum(client.ids != sorted(client.ids, key=_numbers) for client in self.clients)
        return missed, repeated, disordered

    async def stop(self) -> None:
        """Let all of them go."""
        for task in self._living:
            task.cancel()
        await asyncio.gather(*self._living, return_exceptions=True)
        await self._http.aclose()

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; a client that has failed ends it all."""
        deadline = time.monotonic() + _PATIENCE_S
        while not holds():
            for task in self._living:
                if task.done():
                    task.result()
            if time.monotonic() > deadline:
                on = Counter(client.on for client in self.clients)
                raise TimeoutError(f"waited for {_PATIENCE_S:g} s; clients by transport: {dict(on)}")
            await asyncio.sleep(0.05)


def _numbers(id_: str) -> tuple[int, int]:
    ms, _, seq = id_.partition("-")
    return int(ms), int(seq)
