"""Limits: how many streams, clients and requests, and what happens to one more (PROTOCOL §4, in common)."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.gateway import Stream, gateway
from tests.support.operator import Operator
from tests.support.proxy import proxy
from tests.support.waiting import until
from tests.wire.support import BROWSER, EVENTS, NEGOTIATE, POLL, SDK, STREAM, check_problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from tests.support.gateway import Gateway
    from tests.support.redis import RedisServer

TWO = {"LIMITS__STREAMS_PER_USER": "2", "POLLING__INTERVAL": "300ms"}


class Tabs:
    """Streams that stay open until the test lets them go."""

    def __init__(self) -> None:
        self._stacks: list[AsyncExitStack] = []
        self._streams: list[Stream] = []
        """Whoever forgets a stream closes it."""

    async def open(self, served: Gateway, headers: Mapping[str, str] = BROWSER, **query: str) -> Stream:
        stack = AsyncExitStack()
        self._stacks.append(stack)
        stream = await stack.enter_async_context(served.stream({**headers, **served.bearer()}, **query))
        self._streams.append(stream)
        return stream

    async def close(self, number: int = 0) -> None:
        await self._stacks.pop(number).aclose()
        del self._streams[number]

    async def close_all(self) -> None:
        while self._stacks:
            await self.close()


@pytest.fixture
async def tabs() -> AsyncIterator[Tabs]:
    opened = Tabs()
    yield opened
    await opened.close_all()


async def established(stream: Stream) -> dict[str, Any]:
    envelope = await stream.envelope("connection.established")
    data: dict[str, Any] = envelope["data"]
    return data


async def served_as_polling(served: Gateway) -> bool:
    """Ask for a stream as an EventSource does; tell whether the answer was SSE-polling, which ends at once."""
    async with served.stream({**BROWSER, **served.bearer()}) as stream:
        assert stream.answer.status_code == 200
        try:
            message = await stream.next()
        except StopAsyncIteration:
            return True
        return message.event != "connection.established"


async def test_a_third_tab_is_served_as_polling_and_gets_its_stream_when_one_closes(
    tmp_path: Path, redis_url: str, tabs: Tabs
) -> None:
    async with gateway(tmp_path, redis_url, TWO) as served:
        for _ in range(2):
            await established(await tabs.open(served))
        assert await served_as_polling(served)
        assert await served_as_polling(served)
        await tabs.close()
        await established(await tabs.open(served))
        assert await served_as_polling(served)
        await tabs.close_all()


async def test_three_tabs_never_throw_each_other_out(tmp_path: Path, redis_url: str, tabs: Tabs) -> None:
    async with gateway(tmp_path, redis_url, TWO) as served:
        first, second = await tabs.open(served), await tabs.open(served)
        await established(first), await established(second)
        for _ in range(3):
            assert await served_as_polling(served)
        await served.publish({"event": "still.open"})
        assert (await first.envelope())["event"] == (await second.envelope())["event"] == "still.open"
        await tabs.close_all()


async def test_a_tab_that_is_served_as_polling_for_want_of_room_is_moved_by_no_change_but_that_of_its_decision(
    tmp_path: Path, redis_url: str, tabs: Tabs
) -> None:
    async with gateway(tmp_path, redis_url, TWO) as served:
        for _ in range(2):
            await established(await tabs.open(served))
        assert await served_as_polling(served)
        operator = Operator.at(served)
        policy = (await operator.get("/policy"))["policy"]
        for preference, moves in (
            (policy["preference"], {}),
            (["long-poll", "sse", "polling"], {}),
            (["polling"], {"sse": {"polling": 2}}),
        ):
            body = {"policy": {**policy, "preference": preference}}
            preview = (await operator.call("POST", "/policy/preview", body)).json()
            assert (preview["connections"], preview["moves"]) == (3, moves)
        await tabs.close_all()


async def test_who_reads_problems_is_told_a_decision_without_streams(
    tmp_path: Path, redis_url: str, tabs: Tabs
) -> None:
    async with gateway(tmp_path, redis_url, TWO) as served:
        for _ in range(2):
            await established(await tabs.open(served))
        answer = await served.http.get(STREAM, headers={**SDK, **served.bearer()})
        decision = check_problem(answer, 409, "transport-not-offered")["decision"]
        assert [offer["name"] for offer in decision["transports"]] == ["long-poll", "polling"]
        assert (await served.http.get(POLL, headers=served.bearer())).status_code == 200
        await tabs.close_all()


async def test_reject_is_429_and_an_eventsource_comes_again(tmp_path: Path, redis_url: str, tabs: Tabs) -> None:
    async with gateway(tmp_path, redis_url, {**TWO, "LIMITS__ON_LIMIT": "reject"}) as served:
        for _ in range(2):
            await established(await tabs.open(served))
        check_problem(await served.http.get(STREAM, headers={**SDK, **served.bearer()}), 429, "connection-limit")
        answer = await served.http.get(STREAM, headers={**BROWSER, **served.bearer()})
        assert answer.status_code == 200
        assert answer.text.startswith("retry: ")
        assert "id: " in answer.text
        await tabs.close_all()


async def test_replace_ends_the_oldest_wherever_it_is(tmp_path: Path, redis_url: str, tabs: Tabs) -> None:
    settings = {**TWO, "LIMITS__ON_LIMIT": "replace"}
    async with gateway(tmp_path, redis_url, settings) as one, gateway(tmp_path, redis_url, settings) as other:
        first, second = await tabs.open(one), await tabs.open(other)
        await established(first), await established(second)
        third = await tabs.open(other)
        await established(third)
        rest = await first.rest()
        assert [message.event for message in rest] == ["connection.replaced"]
        assert json.loads(rest[0].data)["data"] == {"code": "replaced"}
        assert first.parser.retry_ms == 86_400_000
        await one.publish({"event": "still.open"})
        assert (await second.envelope())["event"] == (await third.envelope())["event"] == "still.open"
        await tabs.close_all()


async def test_the_limit_counts_over_all_gateways_and_by_user(tmp_path: Path, redis_url: str, tabs: Tabs) -> None:
    async with gateway(tmp_path, redis_url, TWO) as one, gateway(tmp_path, redis_url, TWO) as other:
        await established(await tabs.open(one))
        await established(await tabs.open(other))
        assert await served_as_polling(one)
        assert await served_as_polling(other)
        async with one.stream({**BROWSER, **one.bearer("another")}) as stream:
            await established(stream)
        async with one.stream({**BROWSER, **one.bearer("42", channel="elsewhere")}) as stream:
            await established(stream)
        await tabs.close_all()


async def test_a_session_that_comes_back_before_its_end_was_noticed_is_no_second_stream(
    tmp_path: Path, redis_url: str, tabs: Tabs
) -> None:
    async with gateway(tmp_path, redis_url, {**TWO, "LIMITS__STREAMS_PER_USER": "1"}) as served:
        ticket = (await served.negotiate())["ticket"]
        async with served.stream(SDK, ticket=ticket) as first, served.stream(SDK, ticket=ticket) as second:
            assert (await established(first))["session"] == (await established(second))["session"]
            answer = await served.http.get(STREAM, headers={**SDK, **served.bearer()})
            check_problem(answer, 409, "transport-not-offered")


async def test_a_gateway_that_died_gives_its_streams_back(tmp_path: Path, valkey: RedisServer, redis_url: str) -> None:
    async with (
        proxy(valkey.port) as line,
        gateway(tmp_path, redis_url, TWO) as living,
        gateway(tmp_path, line.redis_url, TWO) as dying,
        AsyncExitStack() as open_streams,
    ):
        opened = [await open_streams.enter_async_context(dying.stream({**BROWSER, **dying.bearer()})) for _ in range(2)]
        for stream in opened:
            await established(stream)
        assert await served_as_polling(living)
        line.hold()  # it renews nothing, and can release nothing
        await until(lambda: _is_streamed(living), patience_s=15)
        line.release()


async def _is_streamed(served: Gateway) -> bool:
    return not await served_as_polling(served)


async def test_while_redis_is_away_each_worker_counts_its_own(
    tmp_path: Path, valkey: RedisServer, redis_url: str, tabs: Tabs
) -> None:
    async with proxy(valkey.port) as line, gateway(tmp_path, line.redis_url, TWO) as served:
        token = served.bearer()
        line.refuses = True
        line.cut()
        for _ in range(2):
            await established(await tabs.open(served))
        answer = await served.http.get(STREAM, headers={**SDK, **token})
        check_problem(answer, 409, "transport-not-offered")
        line.refuses = False
        await tabs.close_all()


async def test_what_ends_while_redis_is_away_is_given_back_when_it_answers_again(
    tmp_path: Path, valkey: RedisServer, redis_url: str, tabs: Tabs
) -> None:
    async with proxy(valkey.port) as line, gateway(tmp_path, line.redis_url, TWO) as served:
        for _ in range(2):
            await established(await tabs.open(served))
        line.refuses = True
        line.cut()
        await tabs.close_all()
        await until(lambda: _is_empty(served))
        line.refuses = False
        await until(lambda: _is_streamed(served), patience_s=10)


async def _is_empty(served: Gateway) -> bool:
    """Tell whether nobody is connected; Redis is asked too, and what was to be told it by then was tried."""
    answer = await served.http.get(f"{EVENTS}/health", headers=served.bearer("op", roles=("viewer",)))
    health = answer.json()
    assert not health["redis"]["reachable"]
    return not health["connections"]["gateway"]


async def test_who_has_no_room_at_an_address_replaces_no_stream_of_its_user(
    tmp_path: Path, redis_url: str, tabs: Tabs
) -> None:
    settings = {"LIMITS__STREAMS_PER_USER": "1", "LIMITS__STREAMS_PER_ADDRESS": "1", "LIMITS__ON_LIMIT": "replace"}
    async with gateway(tmp_path, redis_url, settings) as served:
        first = await tabs.open(served, {**BROWSER, "X-Forwarded-For": "192.0.2.1"})
        await established(first)
        elsewhere = {"X-Forwarded-For": "192.0.2.2"}
        async with served.stream({**BROWSER, **served.bearer("other"), **elsewhere}) as other:
            await established(other)
            answer = await served.http.get(STREAM, headers={**SDK, **served.bearer(), **elsewhere})
            check_problem(answer, 429, "connection-limit")
            await served.publish({"event": "still.open"})
            assert (await first.envelope())["event"] == "still.open"
        await tabs.close_all()


async def test_an_address_has_its_limit_and_a_trusted_proxy_tells_it(
    tmp_path: Path, redis_url: str, tabs: Tabs
) -> None:
    settings = {"LIMITS__STREAMS_PER_ADDRESS": "1", "POLLING__INTERVAL": "300ms"}
    async with gateway(tmp_path, redis_url, settings) as served:
        await established(await tabs.open(served, {**BROWSER, "X-Forwarded-For": "192.0.2.1"}))
        answer = await served.http.get(
            STREAM, headers={**SDK, **served.bearer("other"), "X-Forwarded-For": "192.0.2.1"}
        )
        check_problem(answer, 409, "transport-not-offered")
        await established(await tabs.open(served, {**BROWSER, "X-Forwarded-For": "192.0.2.2"}))
        await tabs.close_all()


async def test_a_gateway_that_is_full_says_so_and_still_answers_polls(
    tmp_path: Path, redis_url: str, tabs: Tabs
) -> None:
    async with gateway(tmp_path, redis_url, {"LIMITS__MAX_CLIENTS": "2"}) as served:
        for _ in range(2):
            await established(await tabs.open(served))
        check_problem(await served.http.get(STREAM, headers={**SDK, **served.bearer()}), 503, "at-capacity")
        answer = await served.http.get(STREAM, headers={**BROWSER, **served.bearer()})
        assert (answer.status_code, answer.text[:7]) == (200, "retry: ")
        assert (await served.http.get(POLL, headers=served.bearer())).status_code == 200
        await tabs.close_all()


RATED: dict[str, tuple[str, dict[str, object]]] = {
    "publish": (EVENTS, {"event": "a.b", "scope": "broadcast", "data": 1}),
    "negotiate": (NEGOTIATE, {}),
    "report": (f"{EVENTS}/report", {"session": "s", "transport": "sse", "outcome": "connected"}),
}


@pytest.mark.parametrize("what", RATED)
async def test_a_rate_is_429_with_the_time_to_wait_and_counts_over_gateways(
    tmp_path: Path, redis_url: str, what: str
) -> None:
    settings = {f"LIMITS__{what.upper()}_RATE": "3/hour"}
    async with gateway(tmp_path, redis_url, settings) as one, gateway(tmp_path, redis_url, settings) as other:
        headers = one.bearer("limited", roles=("publisher",))
        path, body = RATED[what]
        for served in (one, other, one):
            assert (await served.http.post(path, json=body, headers=headers)).is_success
        check_problem(await other.http.post(path, json=body, headers=headers), 429, "rate-limited")
        somebody = one.bearer("another", roles=("publisher",))
        assert (await one.http.post(path, json=body, headers=somebody)).is_success


async def test_bad_credentials_of_one_address_are_limited_and_good_ones_are_not(tmp_path: Path, redis_url: str) -> None:
    async with gateway(tmp_path, redis_url, {"LIMITS__FAILED_CREDENTIALS_RATE": "2/hour"}) as served:
        bad = {"Authorization": "Bearer nonsense"}
        for path in (POLL, STREAM):
            check_problem(await served.http.get(path, headers=bad), 401, "bad-credential")
        check_problem(await served.http.get(POLL, headers=bad), 429, "rate-limited")
        check_problem(await served.http.post(NEGOTIATE, headers=bad), 429, "rate-limited")
        assert (await served.http.get(POLL, headers=served.bearer())).status_code == 200
        elsewhere = {**bad, "X-Forwarded-For": "192.0.2.7"}
        check_problem(await served.http.get(POLL, headers=elsewhere), 401, "bad-credential")


async def test_rates_let_pass_while_redis_is_away(tmp_path: Path, valkey: RedisServer, redis_url: str) -> None:
    async with (
        proxy(valkey.port) as line,
        gateway(tmp_path, line.redis_url, {"LIMITS__NEGOTIATE_RATE": "1/hour"}) as served,
    ):
        line.refuses = True
        line.cut()
        for _ in range(3):
            assert (await served.http.post(NEGOTIATE, json={}, headers=served.bearer())).status_code == 200
        line.refuses = False
        await asyncio.sleep(0)
