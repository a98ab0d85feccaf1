"""The control log: commands are carried out once, also when they were missed for a while; questions are answered."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from redis import Redis

from realtime import control
from tests.control.workers import Worker, worker
from tests.support.proxy import proxy
from tests.support.waiting import at_once, until

if TYPE_CHECKING:
    import pytest

    from tests.support.redis import RedisServer


def restart_window(one: Worker) -> None:
    """Have all of the log read again, as after a gap."""
    one.control.follower.doubt()


async def test_a_command_is_carried_out_by_every_worker_once(redis_url: str) -> None:
    async with worker(redis_url) as first, worker(redis_url) as second:
        await first.command(1)
        await second.command(2)
        await until(lambda: first.commands == second.commands == [1, 2])


async def test_a_window_that_begins_anew_carries_no_command_out_again(redis_url: str) -> None:
    async with worker(redis_url) as one:
        await one.command(1)
        await until(lambda: one.commands == [1])
        restarts = 0

        def count() -> None:
            nonlocal restarts
            restarts += 1

        one.control.on_restart(count)
        restart_window(one)
        await until(lambda: restarts == 1)
        await one.command(2)
        await until(lambda: 2 in one.commands)
        assert one.commands == [1, 2]


async def test_commands_that_were_missed_are_carried_out_when_redis_is_back(
    redis_url: str, valkey: RedisServer
) -> None:
    async with proxy(valkey.port) as way, worker(redis_url) as near, worker(way.redis_url) as far:
        way.refuses = True
        way.cut()
        await until(lambda: far.control.is_away)
        for number in range(3):
            await near.command(number)
        assert far.commands == []
        way.refuses = False
        await until(lambda: far.commands == [0, 1, 2])


async def test_a_worker_that_starts_later_carries_out_nothing_old(redis_url: str) -> None:
    async with worker(redis_url) as first:
        await first.command(1)
        await until(lambda: first.commands == [1])
        async with worker(redis_url) as late:
            await first.command(2)
            await until(lambda: late.commands == [2])


async def test_a_command_that_fails_does_not_keep_the_worker_from_the_next(redis_url: str) -> None:
    async with worker(redis_url) as one:
        await one.control.say("test.commanded", {})
        await one.command(2)
        await until(lambda: one.commands == [2])


async def test_news_that_cannot_be_read_keeps_the_worker_from_nothing_else(redis_url: str) -> None:
    """As in a rolling update: a newer gateway tells once a second what an older one can't read."""

    def unreadable(_: object, data: dict[str, object]) -> None:
        raise KeyError(data["of a later version"])

    async with worker(redis_url) as one:
        one.control.on_record("test.told", unreadable)
        await one.control.say("test.told", {"of a later version": 1})
        await one.command(1)
        await until(lambda: one.commands == [1])
        restart_window(one)
        await one.command(2)
        await until(lambda: one.commands == [1, 2])


async def test_a_question_is_answered_by_all_as_soon_as_they_have(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "_PATIENCE_S", 3600)
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(worker(redis_url)) for _ in range(3)]
        asking = workers[0].control.ask("test.commanded", {"number": 5}, 3)
        assert await at_once(asking) == [{"did": 5}] * 3


async def test_who_does_not_answer_is_not_waited_for_for_ever(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_PATIENCE_S", 3)  # enough for who does
    async with worker(redis_url) as one, worker(redis_url) as other:
        stuck = asyncio.Event()

        async def never() -> None:
            await stuck.wait()

        other.control.on("test.commanded", lambda _: never())
        assert await one.control.ask("test.commanded", {"number": 5}, 2) == [{"did": 5}]
        stuck.set()


async def test_answers_are_waited_for_and_not_looked_for_again_and_again(redis_url: str, valkey: RedisServer) -> None:
    def calls(client: Redis) -> int:
        stats: dict[str, Any] = client.info("commandstats")
        return sum(told["calls"] for name, told in stats.items() if "pop" in name)

    async with worker(redis_url) as one, worker(redis_url) as other:
        other.control.on("test.commanded", lambda _: asyncio.Event().wait())
        with Redis(port=valkey.port) as client:
            before = calls(client)
            assert await one.control.ask("test.commanded", {"number": 5}, 2) == [{"did": 5}]
            assert calls(client) - before <= 2 + 1, "one for each answer, and one that nobody answers"


async def test_answers_are_left_for_seconds_only(redis_url: str, valkey: RedisServer) -> None:
    async with worker(redis_url) as one:
        await one.control.ask("test.commanded", {"number": 1}, 2)
        with Redis(port=valkey.port) as client:
            left = [key for key in client.scan_iter("*answers*") if not 0 < int(client.pttl(key)) <= 10_000]
    assert left == []


async def test_a_control_log_that_is_away_is_known_to_be(redis_url: str, valkey: RedisServer) -> None:
    async with proxy(valkey.port) as way, worker(way.redis_url) as one:
        assert not one.control.is_away
        way.refuses = True
        way.cut()
        await until(lambda: one.control.is_away)
        way.refuses = False
        await until(lambda: not one.control.is_away)
