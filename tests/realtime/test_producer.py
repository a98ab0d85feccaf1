"""The demo's producer: its numbers have no gaps, its work is real, and nothing stops it but us."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from realtime.demo import outbox, producer
from realtime.demo.hashing import Pass, advance
from realtime.demo.host import Host
from realtime.demo.outbox import Outbox, PublishRefused
from tests.support.waiting import interlude, patience, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

Json = dict[str, Any]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "package").mkdir(parents=True)
    for number in range(20):
        (root / "package" / f"module_{number:02}.py").write_bytes(bytes([number]) * 10_000)
    (root / "empty.txt").touch()
    return root


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer, "SAMPLE_EVERY_S", 0.01)
    monkeypatch.setattr(producer, "UPDATE_EVERY_S", 0.0)
    monkeypatch.setattr(producer, "REST_BETWEEN_PASSES_S", 0.01)
    monkeypatch.setattr(producer, "SLICE_S", 0.0001)


@dataclass
class Log:
    """Collects what is published, and lets a test wait for it."""

    events: list[Json] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def publish(self, events: list[producer.Event]) -> None:
        self.events.extend(json.loads(json.dumps(events)))
        self.at.extend([time.monotonic()] * len(events))
        self.news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with patience():
            while not condition():
                self.news.clear()
                await self.news.wait()

    def of(self, event: str) -> list[Json]:
        return [one for one in self.events if one["event"] == event]

    def data(self, event: str) -> list[Json]:
        return [one["data"] for one in self.of(event)]

    def digests(self) -> list[str]:
        return [data["digest"] for data in self.data(producer.TASK_EVENT) if "digest" in data]


@contextlib.asynccontextmanager
async def producing(publish: producer.Publish, tree: Path) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(producer.run(publish, tree))
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ExceptionGroup):
            await task


@pytest.mark.usefixtures("quick")
async def test_both_streams_are_numbered_from_one_without_a_gap(tree: Path) -> None:
    log = Log()
    async with producing(log.publish, tree):
        await log.until(lambda: len(log.of(producer.LOAD_EVENT)) >= 5 and len(log.digests()) >= 2)
    for event in (producer.LOAD_EVENT, producer.TASK_EVENT):
        numbers = [data["n"] for data in log.data(event)]
        assert numbers == list(range(1, len(numbers) + 1))
    assert len({data["run"] for data in log.data(producer.LOAD_EVENT) + log.data(producer.TASK_EVENT)}) == 1
    assert len({event["idempotency_key"] for event in log.events}) == len(log.events)


@pytest.mark.usefixtures("quick")
async def test_events_carry_scope_key_and_figures(tree: Path) -> None:
    log = Log()
    async with producing(log.publish, tree):
        await log.until(lambda: bool(log.of(producer.LOAD_EVENT)) and bool(log.digests()))
    load, task = log.of("host.load-sampled")[0], log.of("task.progress-updated")[-1]
    assert (load["scope"], task["scope"], task["key"]) == ("topic:host", "user:demo", "task:hash")
    assert "key" not in load
    assert 0 <= load["data"]["cpu_percent"] <= 100
    assert 0 < load["data"]["memory_used_bytes"] < load["data"]["memory_total_bytes"]
    assert task["data"]["files_total"] == 21
    assert task["data"]["bytes_total"] == 200_000
    assert task["data"]["started_at"].endswith("Z")


@pytest.mark.usefixtures("quick")
async def test_a_new_run_has_a_new_name_and_begins_at_one(tree: Path) -> None:
    logs = [Log(), Log()]
    for log in logs:
        async with producing(log.publish, tree):
            await log.until(lambda log=log: bool(log.events))  # type: ignore[misc]
    first, second = (log.events[0]["data"] for log in logs)
    assert first["n"] == second["n"] == 1
    assert first["run"] != second["run"]


@pytest.mark.usefixtures("quick")
async def test_while_the_log_is_away_nothing_queues_up_and_no_number_is_skipped(tree: Path) -> None:
    log, is_there = Log(), asyncio.Event()
    waiting = 0

    async def publish(events: list[producer.Event]) -> None:
        nonlocal waiting
        waiting += 1
        assert waiting <= 2, "one event of each stream may wait, no more"
        await is_there.wait()
        waiting -= 1
        await log.publish(events)

    async with producing(publish, tree):
        await until(lambda: waiting == 2)
        await interlude(0.3)
        is_there.set()
        await log.until(lambda: len(log.of(producer.LOAD_EVENT)) >= 3)
    assert [data["n"] for data in log.data(producer.LOAD_EVENT)][:3] == [1, 2, 3]


async def test_progress_comes_at_most_four_times_a_second_and_takes_little_of_a_core(tree: Path) -> None:
    (tree / "large.bin").write_bytes(bytes(64 * 1024 * 1024))
    log = Log()
    begun, used = time.monotonic(), time.process_time()
    async with producing(log.publish, tree):
        await log.until(lambda: len(log.of(producer.TASK_EVENT)) >= 5)
    elapsed, used = time.monotonic() - begun, time.process_time() - used
    updates = [at for at, event in zip(log.at, log.events, strict=True) if event["event"] == producer.TASK_EVENT]
    assert updates[4] - updates[0] >= 3.9 * producer.UPDATE_EVERY_S, "a busy machine may only add to it"
    assert used / elapsed < 0.20, "and takes away from the share"


@pytest.mark.usefixtures("quick")
async def test_it_is_told_of_before_its_files_are_counted(tree: Path) -> None:
    log = Log()
    async with producing(log.publish, tree):
        await log.until(lambda: bool(log.digests()))
    first = log.data(producer.TASK_EVENT)[0]
    assert (first["files_total"], first["bytes_total"], first["percent"]) == (0, 0, 0.0)


def test_a_slice_is_measured_in_cpu_time() -> None:
    """However long the machine does something else meanwhile, that is not in it."""
    used = itertools.count()
    assert advance(itertools.repeat(None), 5, lambda: next(used)) == (True, 6)
    assert advance(iter([None, None]), 5, lambda: next(used)) == (False, 3)


async def test_cancelling_ends_it_at_once(tree: Path) -> None:
    log = Log()
    async with producing(log.publish, tree) as task:
        await log.until(lambda: bool(log.events))
        task.cancel()
        async with patience():
            await asyncio.wait([task])
        assert task.cancelled()


@pytest.mark.usefixtures("quick")
async def test_a_refusal_ends_the_run_and_is_told(tree: Path) -> None:
    async def refuse(_: list[producer.Event]) -> None:
        raise PublishRefused(403, "no")

    async with patience():
        with pytest.raises(ExceptionGroup) as raised:
            await producer.run(refuse, tree)
    assert raised.group_contains(PublishRefused)


# --- hashing ---------------------------------------------------------------------------------------------------------


def finish(work: Pass) -> str:
    assert not advance(work.steps(), 3600).more
    assert work.progress.digest is not None
    assert (work.progress.percent, work.progress.files_done) == (100.0, work.progress.files_total)
    assert work.progress.bytes_done == work.progress.bytes_total
    return work.progress.digest


def hashing_from_second_file(work: Pass) -> Iterator[None]:
    """Stop in the middle: the files are counted, and the first one is read."""
    steps = work.steps()
    while not work.progress.files_done:
        next(steps)
    return steps


def test_the_digest_is_of_the_names_and_the_contents(tree: Path) -> None:
    before = finish(Pass(tree))
    assert finish(Pass(tree)) == before
    (tree / "empty.txt").rename(tree / "renamed.txt")
    renamed = finish(Pass(tree))
    (tree / "renamed.txt").write_text("no longer empty")
    assert len({before, renamed, finish(Pass(tree))}) == 3


def test_a_file_that_vanishes_is_skipped_and_the_pass_still_ends_at_100(tree: Path) -> None:
    work = Pass(tree)
    steps = hashing_from_second_file(work)
    (tree / "package" / "module_19.py").unlink()
    assert not advance(steps, 3600).more
    assert work.progress.files_skipped == 1
    assert (work.progress.percent, work.progress.bytes_done) == (100.0, work.progress.bytes_total)


def test_a_file_that_grows_corrects_the_total(tree: Path) -> None:
    work = Pass(tree)
    steps = hashing_from_second_file(work)
    (tree / "package" / "module_19.py").write_bytes(bytes(50_000))
    assert not advance(steps, 3600).more
    assert work.progress.bytes_done == work.progress.bytes_total == 240_000


def test_links_and_folders_that_cannot_be_read_are_left_out(tree: Path) -> None:
    before = finish(Pass(tree))
    (tree / "round").symlink_to(tree)
    (tree / "nowhere").symlink_to(tree / "absent")
    assert finish(Pass(tree)) == before
    assert finish(Pass(tree / "absent")) == finish(Pass(tree / "absent"))


def test_what_running_python_writes_does_not_count(tree: Path) -> None:
    before = finish(Pass(tree))
    (tree / "package" / "__pycache__").mkdir()
    (tree / "package" / "__pycache__" / "module.pyc").write_text("cached")
    assert finish(Pass(tree)) == before


def test_a_name_that_is_no_text_can_still_be_told(tree: Path) -> None:
    try:
        (tree / "\udcff").write_text("a byte that is no UTF-8")
    except OSError:
        pytest.skip("this file system takes only names that are text")
    work = Pass(tree)
    for _ in work.steps():
        work.progress.current.encode("utf-8")


def test_percent_is_100_only_with_the_digest(tree: Path) -> None:
    work = Pass(tree)
    for _ in work.steps():
        assert (work.progress.percent == 100.0) == (work.progress.digest is not None)


# --- host ------------------------------------------------------------------------------------------------------------


def test_a_figure_the_machine_does_not_give_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> object:
        raise psutil.AccessDenied

    for name in ("cpu_percent", "virtual_memory", "net_io_counters", "getloadavg"):
        monkeypatch.setattr(psutil, name, absent)
    assert set(Host().sample().values()) == {None}


def counters(**received: int) -> dict[str, Any]:
    kind = type(next(iter(psutil.net_io_counters(pernic=True).values())))
    return {name: kind(0, value, 0, 0, 0, 0, 0, 0) for name, value in received.items()}


def test_network_rates_are_per_second_without_loopback_and_never_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([counters(eth0=1000, lo=1), counters(eth0=5000, lo=10**9), counters(eth0=10)])
    clock = iter([10.0, 12.0, 13.0])
    monkeypatch.setattr(psutil, "net_io_counters", lambda **_: next(readings))
    host = Host(clock=lambda: next(clock))
    assert [host.sample()["net_recv_bytes_per_s"] for _ in range(2)] == [2000, 0]


# --- the outbox ------------------------------------------------------------------------------------------------------


@dataclass
class Service:
    """Answers what it is told to, in turn, and keeps what it was asked; `None` hangs up without an answer."""

    answers: list[tuple[int, str] | None]
    bodies: list[Json] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    url: str = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            self.bodies.append(json.loads(await reader.readexactly(int(headers["content-length"]))))
            self.tokens.append(headers["authorization"])
            answer = self.answers.pop(0)
            if answer is not None:
                status, more = answer
                writer.write(f"HTTP/1.1 {status} X\r\n{more}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
                await writer.drain()


@contextlib.asynccontextmanager
async def serving(*answers: tuple[int, str] | None) -> AsyncIterator[Service]:
    service = Service(list(answers))
    server = await asyncio.start_server(service.answer, "127.0.0.1", 0)
    async with server:
        service.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield service


EVENTS: list[producer.Event] = [{"event": "a.b", "scope": "broadcast", "data": 1, "idempotency_key": "1"}]
CREATED = (201, "")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "FIRST_WAIT_S", 0.01)


@pytest.mark.usefixtures("impatient")
async def test_the_same_events_are_sent_until_they_are_in_the_log() -> None:
    async with serving((503, ""), None, (500, ""), (429, ""), CREATED) as service:
        async with Outbox(service.url, lambda: "token") as box:
            await box.publish(EVENTS)
        assert service.bodies == [{"events": EVENTS}] * 5


@pytest.mark.usefixtures("impatient")
async def test_retry_after_is_honoured() -> None:
    async with serving((503, "Retry-After: 1\r\n"), CREATED) as service:
        begun = time.monotonic()
        async with Outbox(service.url, lambda: "token") as box:
            await box.publish(EVENTS)
        assert time.monotonic() - begun >= 1.0


@pytest.mark.usefixtures("impatient")
async def test_a_service_that_is_not_there_yet_is_waited_for(unused_tcp_port: int) -> None:
    service = Service([CREATED])
    async with Outbox(f"http://127.0.0.1:{unused_tcp_port}", lambda: "token") as box:
        publishing = asyncio.create_task(box.publish(EVENTS))
        await interlude(0.1)
        assert not publishing.done()
        async with patience(), await asyncio.start_server(service.answer, "127.0.0.1", unused_tcp_port):
            await publishing
    assert len(service.bodies) == 1


async def test_a_refused_token_is_replaced_once() -> None:
    tokens = iter(["old", "new", "newest"])
    async with serving((401, ""), CREATED, (401, ""), (401, "")) as service:
        async with Outbox(service.url, lambda: next(tokens)) as box:
            await box.publish(EVENTS)
            with pytest.raises(PublishRefused):
                await box.publish(EVENTS)
        assert service.tokens == ["bearer old", "bearer new", "bearer new", "bearer newest"]


async def test_an_answer_that_trying_again_cannot_change_is_raised() -> None:
    async with serving((403, "")) as service, Outbox(service.url, lambda: "token") as box:
        with pytest.raises(PublishRefused) as raised:
            await box.publish(EVENTS)
        assert raised.value.status == 403
