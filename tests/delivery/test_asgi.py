"""The exchange over ASGI: writes that cost no task, servers that make us wait, clients that leave."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from realtime.delivery.asgi import ASGIExchange
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import MutableMapping

HEADERS = ((b"content-type", b"text/plain"),)


class Server:
    """An ASGI server's side of one request: it takes messages, at once or when it is let."""

    def __init__(self) -> None:
        self.taken: list[MutableMapping[str, Any]] = []
        self.room = asyncio.Event()
        self.room.set()
        self.fails: BaseException | None = None
        self.steps = 1
        self.said: asyncio.Queue[str] = asyncio.Queue()
        self.said.put_nowait("http.request")

    async def send(self, message: MutableMapping[str, Any]) -> None:
        for _ in range(self.steps):
            await self.room.wait()
        if self.fails is not None:
            raise self.fails
        self.taken.append(message)

    async def receive(self) -> MutableMapping[str, Any]:
        return {"type": await self.said.get()}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.taken)


class Ear:
    """Hears what becomes of an exchange."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def drained(self) -> None:
        self.heard.append("drained")

    def left(self) -> None:
        self.heard.append("left")

    def closed(self) -> None:
        self.heard.append("closed")


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
async def ear() -> Ear:
    return Ear()


@pytest.fixture
async def exchange(server: Server, ear: Ear) -> ASGIExchange:
    exchange = ASGIExchange(server.send)
    exchange.listener = ear
    return exchange


async def until_writable(exchange: ASGIExchange) -> None:
    await until(lambda: exchange.writable)


async def test_a_server_with_room_takes_everything_on_the_spot(server: Server, exchange: ASGIExchange) -> None:
    before = asyncio.all_tasks()
    exchange.begin(200, HEADERS)
    exchange.write(b"one")
    exchange.write(b"two")
    exchange.end(b"three")
    assert exchange.begun
    assert exchange.writable
    assert server.taken == [
        {"type": "http.response.start", "status": 200, "headers": list(HEADERS)},
        {"type": "http.response.body", "body": b"one", "more_body": True},
        {"type": "http.response.body", "body": b"two", "more_body": True},
        {"type": "http.response.body", "body": b"three", "more_body": False},
    ]
    assert asyncio.all_tasks() == before


async def test_a_server_that_waits_for_its_peer_makes_the_exchange_unwritable(
    server: Server, exchange: ASGIExchange, ear: Ear
) -> None:
    exchange.begin(200, HEADERS)
    server.room.clear()
    exchange.write(b"one")
    assert not exchange.writable
    await asyncio.sleep(0)
    assert (server.body, ear.heard) == (b"", [])
    server.room.set()
    await until_writable(exchange)
    assert (server.body, ear.heard) == (b"one", ["drained"])


async def test_what_is_sent_meanwhile_follows_in_order(server: Server, exchange: ASGIExchange, ear: Ear) -> None:
    server.steps = 3
    exchange.begin(200, HEADERS)
    server.room.clear()
    exchange.write(b"one ")
    exchange.write(b"two ")
    exchange.end(b"three")
    assert not exchange.writable
    server.room.set()
    await until_writable(exchange)
    assert server.body == b"one two three"
    assert server.taken[-1]["more_body"] is False
    assert ear.heard == ["drained"]


async def test_it_can_stall_again_and_again(server: Server, exchange: ASGIExchange, ear: Ear) -> None:
    exchange.begin(200, HEADERS)
    for number in range(5):
        server.room.clear()
        exchange.write(b"%d" % number)
        assert not exchange.writable
        server.room.set()
        await until_writable(exchange)
    assert server.body == b"01234"
    assert ear.heard == ["drained"] * 5


async def test_waiting_ends_with_the_answer(server: Server, exchange: ASGIExchange, ear: Ear) -> None:
    exchange.begin(200, HEADERS)
    exchange.end(b"all")
    await exchange.wait(server.receive)
    assert server.said.qsize() == 1, "not even asked"
    assert ear.heard == ["closed"]


async def test_waiting_ends_when_the_client_leaves(server: Server, exchange: ASGIExchange, ear: Ear) -> None:
    exchange.begin(200, HEADERS)
    waiting = asyncio.create_task(exchange.wait(server.receive))
    await asyncio.sleep(0)
    assert not waiting.done()
    server.said.put_nowait("http.disconnect")
    await waiting
    assert ear.heard == ["closed"]
    exchange.write(b"into the void")
    exchange.end()
    assert server.body == b""


async def test_who_waits_and_is_cancelled_tells_the_listener(server: Server, exchange: ASGIExchange, ear: Ear) -> None:
    exchange.begin(200, HEADERS)
    waiting = asyncio.create_task(exchange.wait(server.receive))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ear.heard == ["closed"]
    exchange.write(b"into the void")
    assert server.body == b""


async def test_a_client_that_leaves_while_the_server_waits_for_it(
    server: Server, exchange: ASGIExchange, ear: Ear
) -> None:
    exchange.begin(200, HEADERS)
    server.room.clear()
    exchange.write(b"one")
    exchange.write(b"two")
    waiting = asyncio.create_task(exchange.wait(server.receive))
    server.said.put_nowait("http.disconnect")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (waiting.done(), ear.heard) == (False, ["closed"])
    server.room.set()  # as servers do for a connection that is gone
    await waiting
    assert ear.heard == ["closed"], "and not that there is room for more"


async def test_an_answer_that_was_ended_while_stalled_is_waited_for(server: Server, exchange: ASGIExchange) -> None:
    exchange.begin(200, HEADERS)
    server.room.clear()
    exchange.write(b"one")
    exchange.end(b"two")
    waiting = asyncio.create_task(exchange.wait(server.receive))
    await asyncio.sleep(0)
    assert not waiting.done()
    server.room.set()
    await until_writable(exchange)
    server.said.put_nowait("http.disconnect")  # the answer is complete: that is how servers say so
    await waiting
    assert server.body == b"onetwo"


@pytest.mark.parametrize(
    "error", [ConnectionResetError(), BrokenPipeError(), OSError()], ids=lambda one: type(one).__name__
)
async def test_a_server_whose_connection_is_gone_is_written_to_no_more(
    server: Server, exchange: ASGIExchange, ear: Ear, error: OSError
) -> None:
    exchange.begin(200, HEADERS)
    server.fails = error
    exchange.write(b"one")
    server.fails = None
    exchange.write(b"two")
    assert (server.body, exchange.writable, ear.heard) == (b"", True, [])


async def test_a_server_whose_connection_goes_while_it_waits_is_written_to_no_more(
    server: Server, exchange: ASGIExchange, ear: Ear
) -> None:
    exchange.begin(200, HEADERS)
    server.room.clear()
    exchange.write(b"one")
    exchange.write(b"two")
    server.fails = ConnectionResetError()
    server.room.set()
    await until_writable(exchange)
    server.fails = None
    exchange.write(b"three")
    assert (server.body, ear.heard) == (b"", [])


async def test_an_exchange_without_a_listener_ends_too(server: Server) -> None:
    exchange = ASGIExchange(server.send)
    exchange.begin(404, HEADERS)
    server.room.clear()
    exchange.end(b"nothing here")
    server.room.set()
    await until_writable(exchange)
    await exchange.wait(server.receive)
    assert server.body == b"nothing here"


async def test_one_that_is_dropped_while_the_server_makes_us_wait_ends_its_request(
    server: Server, exchange: ASGIExchange, ear: Ear
) -> None:
    server.room.clear()
    exchange.begin(200, HEADERS)
    exchange.write(b"never taken")
    waiting = asyncio.create_task(exchange.wait(server.receive))
    await until(server.said.empty)
    exchange.abort()
    await waiting
    assert (ear.heard, server.taken) == (["closed"], [])
