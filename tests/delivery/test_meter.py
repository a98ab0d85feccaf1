"""What is counted of deliveries: exact for each transport and client, though nothing is counted client by client."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from realtime.delivery.meter import Meter
from realtime.delivery.state import State
from realtime.metrics import Metrics
from tests.delivery.lines import Lines, data
from tests.delivery.room import WAITING, MemoryExchange, Room, entries, entry
from tests.support.metrics import Scrape
from transports.long_poll import LongPoll

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from structlog.typing import EventDict

    from realtime.delivery.attachment import Attachment


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def room(metrics: Metrics) -> AsyncIterator[Room]:
    room = Room()
    room.hub.meter = Meter(metrics)
    yield room
    room.hub.close()
    room.hub.wheel.stop()


@pytest.fixture(autouse=True)
def _debug() -> Iterator[None]:
    logger = logging.getLogger("gapless.delivery")
    before, logger.level = logger.level, logging.DEBUG
    logger.setLevel(logging.DEBUG)
    yield
    logger.setLevel(before)


def told(metrics: Metrics) -> Scrape:
    return Scrape(metrics.text().decode())


def end_of(attachment: Attachment, exchange: MemoryExchange) -> EventDict:
    """Hang up, and return the line that tells of the end."""
    with capture_logs() as lines:
        exchange.hang_up()
    (line,) = lines
    assert line["session"] == attachment.plan.session
    return line


async def test_counts_are_what_was_written_whatever_each_client_sees(room: Room, metrics: Metrics) -> None:
    transport = Lines()
    clients = [room.attach(transport, "broadcast", f"user:{number % 3}") for number in range(6)]
    room.publish(*entries(1, 2), entry(3, "user:1"), entry(4, "user:nobody"))
    late = room.attach(transport)
    room.publish(entry(5, "user:2"))
    room.publish(*entries(6, 7, 8))
    every = [*clients, late]
    scrape = told(metrics)
    assert scrape.sum("deliveries_total", transport="ndjson") == sum(len(data(one.body)) for _, one in every)
    assert scrape.sum("written_bytes_total", transport="ndjson") == sum(len(one.body) for _, one in every)
    assert scrape.sum("tick_seconds_count") == 3
    for attachment, exchange in every:
        line = end_of(attachment, exchange)
        assert (line["events"], line["bytes"]) == (len(data(exchange.body)), len(exchange.body))


async def test_a_client_that_stalls_and_reads_on_counts_everything_once(room: Room, metrics: Metrics) -> None:
    attachment, exchange = room.attach(Lines())
    exchange.writable = False
    room.publish(*entries(1, 2))
    assert attachment.state is State.STALLED
    room.publish(*entries(3, 4, 5))
    exchange.drain()
    room.publish(*entries(6))
    assert data(exchange.body) == [1, 2, 3, 4, 5, 6]
    assert told(metrics).sum("deliveries_total", transport="ndjson") == 6
    line = end_of(attachment, exchange)
    assert (line["events"], line["bytes"], line["reason"]) == (6, len(exchange.body), "gone")


async def test_a_held_answer_counts_what_it_carried(room: Room, metrics: Metrics) -> None:
    _, exchange = room.attach(LongPoll(), plan=WAITING._replace(limit=2))
    with capture_logs() as lines:
        room.publish(*entries(1, 2, 3))
    (closed,) = [line for line in lines if line["event"] == "connection closed"]
    assert (closed["events"], closed["bytes"], closed["reason"]) == (2, len(exchange.body), "answered")
    scrape = told(metrics)
    assert scrape.sum("deliveries_total", transport="long-poll") == 2
    assert scrape.sum("written_bytes_total", transport="long-poll") == len(exchange.body)
    assert scrape.sum("attaches_total", transport="long-poll", outcome="accepted") == 1


async def test_latency_is_noted_for_each_client_of_a_tick(room: Room, metrics: Metrics) -> None:
    for _ in range(5):
        room.attach(Lines())
    room.publish(*entries(1, 2))
    assert told(metrics).sum("delivery_latency_seconds_count", transport="ndjson") == 5


async def test_who_leaves_before_being_answered_is_gone(room: Room, metrics: Metrics) -> None:
    room.log.answers.clear()
    room.publish(*entries(1))
    room.window.restart(entry(1).id)
    _, exchange = room.attach(Lines())
    exchange.hang_up()
    assert told(metrics).sum("attaches_total", transport="ndjson", outcome="gone") == 1
