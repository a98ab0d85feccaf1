"""A crash of the machine under the private Valkey: noticed by the kernel's boot id, and told to every reader."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from typing import TYPE_CHECKING

import httpx2
import jwt
import pytest

from realtime.channel.log import Log
from realtime.connect import connect
from realtime.embedded import Embedded
from realtime.embedded.boot import BOOT_ID, Mark
from tests.channel.events import draft
from tests.channel.model import ROOMY
from tests.support.program import killed, program
from tests.support.waiting import until
from tests.wire.support import EVENTS, POLL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from realtime.channel.event import Cursor

SECRET = "a secret for tests that is long enough"
OPEN = {"GAPLESS_AUTH__SECRET": SECRET, "GAPLESS_AUTH__ANONYMOUS_SCOPES": '["broadcast"]'}
TOKEN = jwt.encode({"sub": "p", "roles": ["publisher"], "exp": 4_102_444_800}, SECRET, "HS256")
FIRST, SECOND = "11111111-1111-4111-8111-111111111111\n", "22222222-2222-4222-8222-222222222222\n"


@pytest.fixture
def boot_id(tmp_path: Path) -> Path:
    """Where the kernel tells its boot id."""
    file = tmp_path / "boot_id"
    file.write_text(FIRST)
    return file


@contextlib.asynccontextmanager
async def logged(url: str) -> AsyncIterator[Log]:
    client = connect(url, 5.0, 2)
    try:
        yield Log(client, ROOMY)
    finally:
        await client.aclose()


async def mistrust(url: str) -> None:
    async with logged(url) as log:
        await log.mistrust()


class Machine:
    """A machine with a private Valkey, which crashes or is switched off in good order."""

    def __init__(self, directory: Path, boot_id: Path, *, fsync: bool = False) -> None:
        self._directory = directory
        self._boot_id = boot_id
        self._fsync = fsync
        self._valkey = Embedded()

    async def start(self) -> str:
        self._valkey = Embedded(fsync=self._fsync, crashed=mistrust, boot_id=self._boot_id)
        return await self._valkey.start(self._directory)

    async def append(self, url: str, data: str) -> Cursor:
        """Append, and wait until the file has it: Valkey may hold a write back while the disk is busy."""
        async with logged(url) as log:
            (answer,) = await log.append([draft(data)])
        await until(lambda: data.encode() in self.file.read_bytes())
        return answer.id

    async def kill(self) -> None:
        """Kill all processes; what they gave to the kernel stays."""
        assert self._valkey.pid is not None
        await killed(self._valkey.pid)
        await self._valkey.stop()

    async def crash(self, size: int) -> None:
        """Lose power: the append-only file ends somewhere, and the kernel boots anew."""
        await self.kill()
        os.truncate(self.file, size)
        self.boot()

    def boot(self) -> None:
        self._boot_id.write_text(SECOND)

    async def stop(self) -> None:
        await self._valkey.stop()

    @property
    def file(self) -> Path:
        return next((self._directory / "valkey/appendonlydir").glob("*.incr.aof"))


async def resumes(url: str, cursor: Cursor) -> bool:
    async with logged(url) as log:
        return (await log.check(cursor)).good


@pytest.fixture
def machine(tmp_path: Path, boot_id: Path) -> Machine:
    return Machine(tmp_path / "data", boot_id)


async def test_a_crash_of_the_machine_is_told_to_who_resumes_across_it(machine: Machine) -> None:
    url = await machine.start()
    before = await machine.append(url, "kept")
    size = machine.file.stat().st_size
    await machine.append(url, "lost")
    await machine.crash(size)
    url = await machine.start()
    assert not await resumes(url, before)
    after = await machine.append(url, "after")
    await machine.stop()
    url = await machine.start()
    assert await resumes(url, after), "it is told once"
    await machine.stop()


async def test_processes_that_are_killed_lose_nothing_and_nobody_is_told(machine: Machine) -> None:
    url = await machine.start()
    before = await machine.append(url, "kept")
    await machine.append(url, "kept too")
    await machine.kill()
    url = await machine.start()
    assert await resumes(url, before)
    await machine.stop()


async def test_a_machine_that_is_switched_off_in_good_order_loses_nothing_and_nobody_is_told(machine: Machine) -> None:
    url = await machine.start()
    before = await machine.append(url, "kept")
    await machine.stop()
    machine.boot()
    url = await machine.start()
    assert await resumes(url, before)
    await machine.stop()


async def test_with_fsync_a_crash_of_the_machine_loses_nothing_and_nobody_is_told(
    tmp_path: Path, boot_id: Path
) -> None:
    machine = Machine(tmp_path / "data", boot_id, fsync=True)
    url = await machine.start()
    before = await machine.append(url, "kept")
    await machine.append(url, "kept too")
    await machine.crash(machine.file.stat().st_size)
    url = await machine.start()
    assert await resumes(url, before)
    await machine.stop()


async def test_a_crash_is_not_forgotten_by_a_start_that_fails(tmp_path: Path, boot_id: Path) -> None:
    told = []

    async def fail(url: str) -> None:
        told.append(url)
        raise RuntimeError

    machine = Machine(tmp_path / "data", boot_id)
    await machine.start()
    await machine.kill()
    machine.boot()
    for count in (1, 2):
        with pytest.raises(RuntimeError):
            await Embedded(crashed=fail, boot_id=boot_id).start(tmp_path / "data")
        assert len(told) == count
    url = await machine.start()
    await machine.append(url, "after")
    await machine.stop()


# --- the mark ---------------------------------------------------------------------------------------------------------


def test_a_directory_without_a_mark_tells_of_no_crash(tmp_path: Path, boot_id: Path) -> None:
    assert not Mark(tmp_path, boot_id).tells_of_a_crash()


def test_without_a_boot_id_every_end_that_was_not_in_good_order_may_be_a_crash(tmp_path: Path) -> None:
    mark = Mark(tmp_path, tmp_path / "no such file")
    mark.write_running()
    assert mark.tells_of_a_crash()
    mark.write_safe()
    assert not mark.tells_of_a_crash()


def test_a_mark_that_cannot_be_read_as_one_tells_of_a_crash(tmp_path: Path, boot_id: Path) -> None:
    (tmp_path / "boot").write_bytes(b"\xff\x00")
    assert Mark(tmp_path, boot_id).tells_of_a_crash()


def test_the_kernel_tells_a_boot_id(tmp_path: Path) -> None:
    mark = Mark(tmp_path)
    mark.write_running()
    assert (tmp_path / "boot").read_text() == BOOT_ID.read_text()
    assert not mark.tells_of_a_crash()


# --- the whole service ------------------------------------------------------------------------------------------------


class Service:
    """A gateway with its private Valkey, as processes; it ends by SIGKILL."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.data = directory / "run/data"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[httpx2.AsyncClient]:
        async with program(self._directory, "serve", "--port", "0", environ=OPEN) as gateway:
            url = await gateway.address()
            async with httpx2.AsyncClient(base_url=url, timeout=30, trust_env=False) as http:
                yield http
            os.kill(gateway.process.pid, signal.SIGKILL)
            await gateway.nothing_left()

    @property
    def file(self) -> Path:
        return next((self.data / "valkey/appendonlydir").glob("*.incr.aof"))

    async def publish(self, http: httpx2.AsyncClient, data: str) -> str:
        event = {"event": "test.happened", "scope": "broadcast", "data": data}
        answer = await http.post(EVENTS, json={"events": [event]}, headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 201, answer.text
        await until(lambda: data.encode() in self.file.read_bytes())
        id_: str = answer.json()["events"][0]["id"]
        return id_


async def polled(http: httpx2.AsyncClient, cursor: str) -> list[str]:
    """Return what a client at a cursor is told: the names of control events, then the data of events."""
    answer = (await http.get(POLL, params={"cursor": cursor})).json()
    return [*(one["event"] for one in answer["control"]), *(one["data"] for one in answer["events"])]


async def test_a_service_that_its_machine_took_down_tells_its_clients(tmp_path: Path) -> None:
    service = Service(tmp_path)
    async with service.running() as http:
        before = await service.publish(http, "kept")
        size = service.file.stat().st_size
        await service.publish(http, "lost")
    os.truncate(service.file, size)
    (service.data / "valkey/boot").write_text(FIRST)
    shutil.rmtree(service.data / "witnesses", ignore_errors=True)  # which tells of it too, but for the last second
    async with service.running() as http:
        assert await polled(http, before) == ["history.truncated"]


async def test_a_service_that_was_killed_goes_on_and_tells_nobody(tmp_path: Path) -> None:
    service = Service(tmp_path)
    async with service.running() as http:
        before = await service.publish(http, "kept")
        await service.publish(http, "kept too")
    async with service.running() as http:
        assert await polled(http, before) == ["kept too"]
