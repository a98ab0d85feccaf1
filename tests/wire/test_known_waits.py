"""Clients that wait again and again on one connection: served in their place, and told all that others are told."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from realtime.delivery.state import State
from tests.support.gateway import gateway
from tests.support.waiting import patience, until
from tests.wire.support import LONG_POLL, unique

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from realtime.delivery.attachment import Attachment
    from tests.support.gateway import Gateway
    from tests.support.redis import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

ADMIN = "/api/v1/admin"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(wire_valkey: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """A gateway of its own: its hub has nobody but who is here."""
    url = wire_valkey.database()
    async with gateway(tmp_path_factory.mktemp("waits"), url) as running:
        yield running


class Waiter:
    """One connection on which a client waits."""

    def __init__(self, served: Gateway, sub: str, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self.served = served
        self.sub = sub
        self.cursor = ""
        self.ids: list[str] = []
        self._token = served.token(sub)
        self.reader, self.writer = streams

    def ask(self, query: str = "") -> None:
        """Wait from the cursor on."""
        self.send(f"{LONG_POLL}?cursor={self.cursor}{query}")

    def send(self, target: str) -> None:
        head = f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._token}\r\n\r\n"
        self.writer.write(head.encode())

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """Read an answer whole."""
        async with patience():
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            body = await self.reader.readexactly(length)
        return int(head.split(" ")[1]), json.loads(body) if body else {}

    async def take(self) -> list[str]:
        """Read an answer; return the ids of its events, and go on behind them."""
        status, answer = await self.answer()
        assert status == 200, answer
        ids = [event["id"] for event in answer["events"]]
        self.ids += ids
        self.cursor = answer["cursor"]
        return ids

    @property
    def attachment(self) -> Attachment:
        """What it waits by."""
        (found,) = (one for one in self.served.worker.engine.hub.attachments if one.plan.context.sub == self.sub)
        return found

    async def wait(self) -> None:
        """Wait, and be waited for."""
        self.ask()
        await until(lambda: any(one.plan.context.sub == self.sub for one in self.served.worker.engine.hub.attachments))

    async def turn(self, *scopes: str) -> list[str]:
        """Be answered with what is published; return the ids."""
        await self.served.publish(*({"scope": scope} for scope in scopes))
        return await self.take()


@asynccontextmanager
async def waiting(served: Gateway, sub: str = "") -> AsyncIterator[Waiter]:
    """Connect one that has been answered twice: the second time it was known."""
    port = int(served.url.rpartition(":")[2])
    streams = await asyncio.open_connection("127.0.0.1", port)
    waiter = Waiter(served, sub or unique("waiter"), streams)
    waiter.cursor = (await served.negotiate())["cursor"]
    try:
        for _ in range(2):
            await waiter.wait()
            await waiter.turn("broadcast")
        yield waiter
    finally:
        streams[1].close()


async def test_it_waits_where_it_waited(served: Gateway) -> None:
    async with waiting(served) as waiter:
        await waiter.wait()
        attachment = waiter.attachment
        for _ in range(3):
            (id_,) = await waiter.turn("broadcast")
            assert attachment.state is State.AWAY
            assert waiter.cursor == id_
            await waiter.wait()
            assert waiter.attachment is attachment


async def test_whatever_is_published_while_it_waits_or_not_comes_once_and_in_order(served: Gateway) -> None:
    rng = random.Random(7)
    async with waiting(served, "mine") as waiter:
        published = list(waiter.ids)
        for _ in range(60):
            early = rng.random() < 0.3
            if not early:
                await waiter.wait()
            scopes = [rng.choice(["broadcast", "user:mine", "user:other"]) for _ in range(rng.randint(1, 4))]
            ids = await served.publish(*({"scope": scope} for scope in scopes))
            published += [id_ for id_, scope in zip(ids, scopes, strict=True) if scope != "user:other"]
            if early:
                await waiter.wait() if set(scopes) == {"user:other"} else waiter.ask()
            if set(scopes) == {"user:other"}:
                published += await served.publish({"scope": "user:mine"})
            await waiter.take()
        waiter.ask("&hold_ms=0")
        await waiter.take()
        assert waiter.ids == published


@pytest.mark.parametrize("endpoint", ["long-poll", "poll"])
async def test_what_was_published_before_it_asks_is_in_its_answer(served: Gateway, endpoint: str) -> None:
    async with waiting(served, f"reads-{endpoint}") as waiter:
        for number in range(40):
            scope = "broadcast" if number % 3 else f"user:{waiter.sub}"
            published = await served.publish({"scope": scope}, {"scope": "user:else"}, {"scope": "broadcast"})
            waiter.send(f"/api/v1/events/{endpoint}?cursor={waiter.cursor}")
            assert await waiter.take() == [published[0], published[2]]
            if number % 2:
                await served.publish({"scope": "user:else"})
                waiter.send(f"/api/v1/events/poll?cursor={waiter.cursor}")
                assert await waiter.take() == []


async def test_its_hold_passes(served: Gateway) -> None:
    async with waiting(served) as waiter:
        for _ in range(2):
            waiter.ask("&hold_ms=100")
            assert await waiter.take() == []
        await waiter.wait()
        assert len(await waiter.turn("broadcast")) == 1


async def test_something_else_may_be_asked_in_between(served: Gateway) -> None:
    async with waiting(served) as waiter:
        waiter.send("/livez")
        assert (await waiter.answer())[0] == 200
        waiter.send(f"/api/v1/events/poll?cursor={waiter.cursor}")
        assert await waiter.take() == []
        await waiter.wait()
        assert len(await waiter.turn("broadcast")) == 1
        assert len([one for one in places(served) if one.plan.context.sub == waiter.sub]) <= 1


async def test_what_is_pipelined_while_it_waits_is_answered_after_it(served: Gateway) -> None:
    async with waiting(served) as waiter:
        await waiter.wait()
        waiter.send("/livez")
        assert len(await waiter.turn("broadcast")) == 1
        assert (await waiter.answer())[0] == 200
        await waiter.wait()
        assert len(await waiter.turn("broadcast")) == 1


async def test_two_connections_of_one_client_are_two(served: Gateway) -> None:
    async with waiting(served, "twice") as first, waiting(served, "twice") as second:
        second.cursor = first.cursor = (await served.negotiate())["cursor"]
        first.ask()
        second.ask()
        await until(lambda: len(served.worker.engine.hub.attachments) == 2)
        assert len(await first.turn("user:twice")) == len(await second.take()) == 1


async def test_who_goes_leaves_nothing(served: Gateway) -> None:
    async with waiting(served):
        assert places(served)
    await until(lambda: not places(served))


async def test_one_that_is_moved_while_it_waits_is_told_at_once(served: Gateway) -> None:
    admin = served.bearer("olga", roles=("admin",))
    async with waiting(served) as waiter:
        await waiter.wait()
        try:
            await served.http.patch(f"{ADMIN}/transports/long-poll", json={"enabled": False}, headers=admin)
            status, answer = await waiter.answer()
            assert (status, [one["event"] for one in answer["control"]]) == (200, ["transport.changed"])
        finally:
            await served.http.patch(f"{ADMIN}/transports/long-poll", json={"enabled": True}, headers=admin)


async def test_one_that_is_switched_off_while_it_is_away_is_refused(served: Gateway) -> None:
    admin = served.bearer("olga", roles=("admin",))
    async with waiting(served) as waiter:
        try:
            await served.http.patch(f"{ADMIN}/transports/long-poll", json={"enabled": False}, headers=admin)
            waiter.ask()
            assert (await waiter.answer())[1]["code"] == "transport-not-offered"
        finally:
            await served.http.patch(f"{ADMIN}/transports/long-poll", json={"enabled": True}, headers=admin)
        await waiter.wait()
        assert len(await waiter.turn("broadcast")) == 1


async def test_one_that_is_revoked_is_ended_and_refused(served: Gateway) -> None:
    admin = served.bearer("olga", roles=("admin",))
    async with waiting(served) as here, waiting(served) as away:
        here.cursor = away.cursor
        await here.wait()
        for waiter in (here, away):
            await served.http.post(f"{ADMIN}/revocations", json={"sub": waiter.sub}, headers=admin)
        status, answer = await here.answer()
        assert (status, [one["event"] for one in answer["control"]]) == (200, ["connection.closed"])
        away.ask()
        assert (await away.answer())[1]["code"] == "bad-credential"


async def test_those_who_wait_and_those_who_were_answered_are_both_connected(served: Gateway) -> None:
    admin = served.bearer("olga", roles=("viewer",))
    async with waiting(served) as here, waiting(served) as away:
        here.cursor = away.cursor
        await here.wait()
        states = {}
        for waiter in (here, away):
            found = await served.http.get(f"{ADMIN}/connections", params={"sub": waiter.sub}, headers=admin)
            states[waiter] = [one["state"] for one in found.json()["connections"]]
        assert states == {here: ["live"], away: ["visiting"]}


async def test_they_are_counted_as_all_others_are(served: Gateway) -> None:
    names = (
        'gapless_attaches_total{outcome="accepted",transport="long-poll"}',
        f'gapless_http_requests_total{{method="GET",route="{LONG_POLL}",status="200"}}',
        'gapless_deliveries_total{transport="long-poll"}',
        'gapless_resumes_total{source="window"}',
    )

    async def counts() -> list[float]:
        text = (await served.http.get("/metrics")).text
        found = {name: value for name, _, value in (line.rpartition(" ") for line in text.splitlines())}
        return [float(found[name]) for name in names]

    async with waiting(served, "counted") as waiter:
        before = await counts()
        await waiter.wait()
        await waiter.turn("broadcast")
        await waiter.wait()
        await waiter.turn("user:counted")
        await served.publish({"scope": "broadcast"})
        waiter.ask()
        await waiter.take()
        waiter.ask("&hold_ms=1")
        await waiter.take()
        assert [after - then for after, then in zip(await counts(), before, strict=True)] == [4, 4, 3, 4]


async def test_one_whose_gateway_drains_is_sent_away(
    wire_valkey: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    url = wire_valkey.database()
    directory, settings = tmp_path_factory.mktemp("drains"), {"SERVER__DRAIN": "300ms"}
    async with gateway(directory, url, settings) as served, waiting(served) as here, waiting(served) as away:
        here.cursor = away.cursor
        await here.wait()
        draining = asyncio.create_task(served.worker.drain())
        status, answer = await here.answer()
        assert (status, [one["event"] for one in answer["control"]]) == (200, ["gateway.drain-started"])
        away.ask()
        assert (await away.answer())[1]["code"] == "draining"
        await draining


def places(served: Gateway) -> set[Attachment]:
    """Return those who have a place in the hub, here or away."""
    return {one for held in served.worker.engine.hub._scopes.values() for one in held}  # noqa: SLF001 - all there are
