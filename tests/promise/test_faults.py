"""What goes wrong around the log, one thing at a time, and what everyone is told (the promise, PROTOCOL §1).

The same world and the same clients as in `test_promise`; here it is written out what happens. Each test ends in the
model's verdict: whatever happened, nobody missed anything without being told, and nothing came twice.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from realtime.channel.log import Limits, Log
from realtime.connect import connect
from tests.promise.clients import EVENTS, Address
from tests.promise.lineage import read_id
from tests.promise.model import Ledger, Publication
from tests.promise.world import LOG, World
from tests.support.gateway import SECRET
from tests.support.ports import free_port
from tests.support.program import program
from tests.support.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from realtime.channel.follower import Follower
    from tests.promise.clients import Client
    from tests.promise.lineage import Id
    from tests.support.redis import RedisServer

_REFUSALS = 2
"""How many publications are refused while Redis is away: each waits for it twice, as long as `redis.timeout` says."""
_HEARTBEATS = 20
"""How many each stream sends meanwhile: it takes some 4 s."""

_TRANSPORTS = ("sse", "eventsource", "long-poll", "polling")
_SETTINGS = {
    "SSE__HEARTBEAT": "200ms",
    "LONG_POLL__HOLD": "300ms",
    "POLLING__INTERVAL": "50ms",
    "REDIS__TIMEOUT": "30s",
}
"""Redis may be as slow as it likes, where it is not away."""
BROADCAST = "{gapless:0}:scope main broadcast"
_LIMITS = Limits(retention_ms=60_000, scope_cap=100, topics_cap=100, max_bytes=0, idempotency_ms=60_000)


class Story:
    """A world in which one thing after another happens, to one client on every transport at every gateway."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._numbers = itertools.count(1)

    @property
    def clients(self) -> Sequence[Client]:
        return self.world.clients

    @property
    def last(self) -> Id:
        """What was acknowledged last."""
        return max(id_ for ids in self.world.ledger.acknowledged.values() for id_ in ids)

    @property
    def followers(self) -> list[Follower]:
        return [place.running.worker.engine.follower for place in self.world.places if place.running is not None]

    def event(self) -> Publication:
        number = next(self._numbers)
        return Publication(number, "main", "broadcast", "task.ended", idempotency_key=f"key {number}")

    async def everyone_comes(self) -> None:
        for transport in _TRANSPORTS:
            for gateway in range(2):
                await self.world.client("1", "main", ()).go(transport, gateway)
        await self.until_all(lambda client: client.cursor is not None)

    async def publish(self, count: int = 1, at: int = 0) -> None:
        """Publish one by one, each until it is acknowledged."""
        for _ in range(count):
            await self.world.publish([self.event()], at, patiently=True)

    async def caught_up(self) -> None:
        """Wait until everyone has been given what was acknowledged last."""
        last = self.last
        await self.until_all(lambda client: client.cursor is not None and read_id(client.cursor) >= last)

    async def followed(self) -> None:
        """Wait until every gateway has followed what was acknowledged last."""
        last = self.last
        await until(lambda: all(follower.window.position >= last for follower in self.followers))

    async def until_all(self, holds: Callable[[Client], bool]) -> None:
        await self.world.all_clients(holds, "as they should be")

    async def ends_well(self) -> None:
        await self.world.settle()
        faults = self.world.verdict()
        assert not faults, "\n".join(faults)

    def nobody_was_told(self) -> bool:
        return not any(client.counts.get("truncated") for client in self.clients)


def reads() -> list[str]:
    """Return the reads of the log that are under way for clients."""
    running = [str(task.get_coro()) for task in asyncio.all_tasks()]
    return [one for one in running if "Replays._read" in one]


@asynccontextmanager
async def told(directory: Path, **settings: str) -> AsyncIterator[Story]:
    """Tell a story."""
    world = World(directory, "valkey", {**_SETTINGS, **settings}, Ledger(10_000, 100_000, 86_400_000))
    try:
        await world.start()
        yield Story(world)
    finally:
        await world.stop()


@pytest.mark.parametrize("outage", ["stopped", "killed"])
async def test_a_redis_that_is_away_is_a_pause_and_never_a_loss(tmp_path: Path, outage: str) -> None:
    async with told(tmp_path, REDIS__TIMEOUT="1s") as story:
        world = story.world
        await story.everyone_comes()
        await story.publish(3)
        await story.caught_up()
        streams = [client for client in story.clients if client.transport in {"sse", "eventsource"}]
        enough = {client.name: client.counts.get("heartbeat.sent", 0) + _HEARTBEATS for client in streams}

        world.primary.pause() if outage == "stopped" else world.primary.kill()
        tried = [story.event() for _ in range(_REFUSALS)]
        for at, event in enumerate(tried):
            assert not await world.publish([event], at % 2), "acknowledged by nobody"
        assert world.happened["publish: 503"] == len(tried), "refused, and not when Redis is back"
        await until(lambda: all(client.counts.get("heartbeat.sent", 0) >= enough[client.name] for client in streams))
        if outage == "stopped":
            world.primary.resume()
        else:
            await world.primary.start()

        for at, event in enumerate(tried):
            await world.publish([event], at % 2, patiently=True)
        await story.publish(3, at=1)
        await story.ends_well()
        assert story.nobody_was_told()
        for client in story.clients:
            interrupted = {"Unavailable", "ReadError", "ConnectError", "end of stream"} & set(client.counts)
            assert not interrupted, (client.transport, client.counts)


@pytest.mark.parametrize("lost", [1, 2, 3])
async def test_lost_replies_and_retries_give_one_event(tmp_path: Path, lost: int) -> None:
    async with told(tmp_path) as story:
        await story.everyone_comes()
        event = story.event()
        story.world.lose_replies(0, lost)
        acknowledged = await story.world.publish([event], 0)
        assert acknowledged == (lost == 1), "the service itself tries twice"
        while not acknowledged:
            acknowledged = await story.world.publish([event], 0)
        assert story.world.places[0].proxy.lost.is_set()
        await story.ends_well()
        for client in story.clients:
            assert [number for stretch in client.way for _, number in stretch.received].count(event.number) == 1


async def test_a_gateway_that_is_killed_and_started_again_is_gone_on_with(tmp_path: Path) -> None:
    port = free_port()
    async with told(tmp_path) as story:
        environ = {
            "GAPLESS_REDIS__URL": story.world.primary.url,
            "GAPLESS_AUTH__SECRET": SECRET,
            **{f"GAPLESS_{name}": value for name, value in _SETTINGS.items()},
        }
        for transport in _TRANSPORTS:
            client = story.world.client("1", "main", ())
            client.where = lambda _: Address(f"http://127.0.0.1:{port}", "process")
            await client.go(transport, 0)
        async with program(tmp_path, "serve", "--port", str(port), environ=environ) as gateway:
            await gateway.address()
            await story.until_all(lambda client: client.cursor is not None)
            await story.publish(3)
            await story.caught_up()
            gateway.process.kill()
            await story.publish(3)
        await story.publish(3)
        async with program(tmp_path, "serve", "--port", str(port), environ=environ) as gateway:
            await gateway.address()
            await story.publish(3)
            await story.ends_well()
        assert story.nobody_was_told()
        for client in story.clients:
            assert client.counts["event"] >= 12


async def test_one_cursor_is_good_on_two_gateways_and_every_transport(tmp_path: Path) -> None:
    async with told(tmp_path) as story:
        client = story.world.client("1", "main", ())
        await client.go("sse", 0)
        await story.until_all(lambda client: client.cursor is not None)
        for transport, gateway in itertools.product((*_TRANSPORTS, "history"), (1, 0)):
            await client.drop()
            await story.publish(1, at=1 - gateway)
            await client.go(transport, gateway)
            await story.publish(1, at=gateway)
            await story.caught_up()
        await story.ends_well()
        assert story.nobody_was_told()


async def test_a_redis_replaced_by_an_empty_one_is_told(tmp_path: Path) -> None:
    async with told(tmp_path) as story:
        await story.everyone_comes()
        await story.publish(3)
        await story.caught_up()
        away = story.world.client("1", "main", ())
        await away.go("polling", 0)
        await story.caught_up()
        await away.drop()
        await story.world.replace()
        await story.publish(3)
        await story.ends_well()
        assert all(client.counts["truncated"] >= 1 for client in story.clients)


async def test_a_redis_that_has_forgotten_the_library_is_taught_it_again(tmp_path: Path) -> None:
    async with told(tmp_path, HISTORY__WINDOW_EVENTS="1") as story:
        await story.everyone_comes()
        await story.publish(1)
        await story.caught_up()
        for client in story.clients:
            await client.drop()
        await story.publish(5)
        async with story.world.primary.client as redis:
            await redis.function_flush()
        for client in story.clients:
            await client.go(client.transport, client.gateway)
        await story.caught_up()
        await story.ends_well()


async def test_a_loss_is_told_by_gateways_that_started_after_the_event_and_before_the_loss(tmp_path: Path) -> None:
    async with told(tmp_path) as story:
        await story.everyone_comes()
        await story.publish(1)
        await story.caught_up()
        for client in story.clients:
            await client.drop()
        await story.world.follow(lagging=True)
        await story.publish(3)
        for number in range(2):
            await story.world.restart_gateway(number)
        await story.world.fail_over(split=False)
        await story.publish(1)
        await story.ends_well()
        assert all(client.counts["truncated"] for client in story.clients)


async def test_a_loss_is_told_when_the_old_primary_is_gone_back_to(tmp_path: Path) -> None:
    async with told(tmp_path) as story:
        await story.everyone_comes()
        await story.world.follow(lagging=False)
        await story.publish(1)
        await story.caught_up()
        for client in story.clients:
            await client.drop()
        await story.world.replicated()
        await story.world.fail_over(split=False, old_goes_on=True)
        await story.publish(3)
        await story.world.go_back()
        await story.publish(1)
        await story.ends_well()
        assert all(client.counts["truncated"] for client in story.clients)


async def test_what_the_lost_side_of_a_split_brain_took_is_told_even_after_a_fence(tmp_path: Path) -> None:
    async with told(tmp_path) as story:
        await story.everyone_comes()
        await story.world.follow(lagging=True)
        await story.publish(3)
        await story.caught_up()
        await story.world.fail_over(split=True)
        ours = [client for client in story.clients if client.gateway == 0]
        await until(lambda: all(client.counts.get("truncated") for client in ours))
        fenced = [client.counts["truncated"] for client in ours]
        await story.publish(1, at=1)
        await story.publish(1, at=0)
        await story.world.heal()
        await story.ends_well()
        assert all(client.counts["truncated"] > before for client, before in zip(ours, fenced, strict=True))


async def test_a_flush_of_what_a_gateway_had_not_read_yet_is_told(tmp_path: Path) -> None:
    async with told(tmp_path) as story:
        await story.everyone_comes()
        await story.publish(1)
        await story.caught_up()
        behind = story.world.places[0]
        behind.leave()
        await story.publish(3, at=1)
        await story.world.flush()
        await story.publish(1, at=1)
        behind.go_to(story.world.primary)
        await story.ends_well()
        assert all(client.counts["truncated"] for client in story.clients if client.gateway == 0)


async def test_a_failover_that_lost_nothing_is_told_to_nobody(tmp_path: Path) -> None:
    async with told(tmp_path) as story:
        await story.everyone_comes()
        await story.world.follow(lagging=False)
        await story.publish(3)
        await story.caught_up()
        await story.world.replicated()
        await story.world.fail_over(split=False)
        await story.publish(3)
        await story.ends_well()
        assert story.nobody_was_told()


async def test_a_primary_that_was_demoted_is_left(tmp_path: Path) -> None:
    # Nobody cuts the connections to it: they stay open, and it refuses every write.
    async with told(tmp_path) as story:
        await story.everyone_comes()
        await story.world.follow(lagging=False)
        await story.publish(3)
        await story.caught_up()
        await story.world.demote()
        await story.publish(3)
        await story.publish(3, at=1)
        await story.ends_well()


async def test_who_left_while_the_log_was_read_for_it_leaves_no_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with told(tmp_path, HISTORY__WINDOW_EVENTS="1", REDIS__TIMEOUT="200ms") as story:
        client = story.world.client("1", "main", ())
        await client.go("polling", 0)
        await story.until_all(lambda client: client.cursor is not None)
        await client.drop()
        await story.publish(3)
        await story.followed()
        story.world.primary.pause()
        await client.go("polling", 0)
        await until(lambda: bool(reads()))
        await client.drop()
        await until(lambda: not reads())
        story.world.primary.resume()
        await story.ends_well()
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


async def test_an_error_while_the_log_is_read_ends_the_answer_and_is_not_waited_out(tmp_path: Path) -> None:
    async with told(tmp_path, HISTORY__WINDOW_EVENTS="1") as story:
        await story.everyone_comes()
        await story.publish(1)
        await story.caught_up()
        for client in story.clients:
            await client.drop()
        await story.publish(3)
        async with story.world.primary.client as redis:
            newest: Any = await redis.xrevrange(BROADCAST, count=1)
            await redis.delete(BROADCAST)
            await redis.xadd(BROADCAST, {"not": "ours"}, id=newest[0][0])
        gateway = story.world.places[0]
        for client in story.clients:
            path = {"sse": "stream", "eventsource": "stream", "long-poll": "long-poll", "polling": "poll"}[
                client.transport
            ]
            query = {"cursor": client.cursor or "", "hold_ms": "100"}
            async with httpx2.AsyncClient(base_url=gateway.address.url, timeout=PATIENCE_S) as http:
                answer = await http.get(
                    f"{EVENTS}/{path}", params=query, headers={"Authorization": f"Bearer {client.token}"}
                )
            assert answer.status_code == 500
            assert answer.json()["code"] == "internal-error"


async def test_a_follower_that_fails_goes_on_as_soon_as_it_can(tmp_path: Path) -> None:
    async with told(tmp_path) as story:
        await story.everyone_comes()
        await story.publish(1)
        await story.caught_up()
        async with story.world.primary.client as redis:
            newest: Any = await redis.xrevrange(LOG, count=1)
            ms, seq = read_id(newest[0][0].decode())
            foreign = f"{ms}-{seq + 1}"
            await redis.xadd(LOG, {"not": "ours"}, id=foreign)
            await until(lambda: all(follower.is_in_doubt for follower in story.followers))
            await redis.xdel(LOG, foreign)
        await story.publish(3)
        await story.ends_well()
        assert story.nobody_was_told()


async def test_what_waits_for_redis_can_be_cancelled_at_any_moment(valkey: RedisServer) -> None:
    # Where redis-py sent under asyncio.wait_for, a cancellation that came as it ended was swallowed (Python 3.11): a
    # follower went on, and the gateway never stopped.
    redis = connect(valkey.url, 1.0, 4)
    log = Log(redis, _LIMITS)
    await log.touch()
    for moment in itertools.count():
        task = asyncio.create_task(log.touch())
        for _ in range(moment):
            await asyncio.sleep(0)
        if task.done():
            break
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), f"cancelled at moment {moment}, and went on"
    await redis.aclose()
