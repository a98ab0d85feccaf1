"""A gateway whose configuration is edited while it serves: what it takes on, what it says, and whom that disturbs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import pytest_asyncio

from realtime.auth import Credentials
from realtime.config import load
from tests.support.program import GAPLESS, is_alive, program
from tests.support.waiting import PATIENCE_S, patience, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.program import Program

SECRET = "a secret for tests that is long enough"
STREAM = "/api/v1/events/stream"
POLICY = "/api/v1/admin/policy"
PAGE = {"Origin": "https://app.example.com"}
DIFFERS = "the policy in the configuration differs from the one in force, and is not applied"
BEGIN = f"""
[auth]
secret = "{SECRET}"
anonymous_scopes = ["broadcast"]
[log]
format = "json"
"""
ON_THE_PAIR = pytest.mark.asyncio(loop_scope="module")
"""One gateway of two workers for several tests, in their order: the last one edits its configuration."""
ONE_AND_TWO = pytest.mark.parametrize("count", [1, 2], ids=["one worker", "two workers"])


class Edited:
    """A gateway, its configuration, and what it says of it."""

    def __init__(self, gateway: Program, url: str, http: httpx2.AsyncClient) -> None:
        self.gateway = gateway
        self.url = url
        self.http = http
        self.heard: list[dict[str, Any]] = []

    def write(self, text: str) -> None:
        """Replace the file, as editors do."""
        draft = self.gateway.directory / "config.toml.new"
        draft.write_text(text)
        draft.replace(self.gateway.directory / "config.toml")

    def edit(self, text: str) -> None:
        self.write(BEGIN + text)

    def hang_up(self) -> None:
        os.kill(self.gateway.process.pid, signal.SIGHUP)

    async def says(self, event: str) -> dict[str, Any]:
        """Wait for the next line of its log that tells of an event."""
        assert self.gateway.process.stderr is not None
        async with patience():
            async for raw in self.gateway.process.stderr:
                line = json.loads(raw)
                self.heard.append(line)
                if line["event"] == event:
                    return dict(line)
        raise AssertionError(f"it ended without saying {event!r}: {self.heard}")

    async def established(self) -> dict[str, Any]:
        """Open a stream on a connection of its own; return what it is told first, nothing by who isn't ready yet."""
        client = httpx2.AsyncClient(base_url=self.url, timeout=PATIENCE_S)
        async with client as http, http.stream("GET", STREAM) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    told: dict[str, Any] = json.loads(line.removeprefix("data: "))["data"]
                    return told
        return {}

    async def heartbeats(self, ms: int, times: int = 8) -> bool:
        """Tell whether so many new streams, whichever worker they land on, have a heartbeat."""
        return all([(await self.established()).get("heartbeat_ms") == ms for _ in range(times)])

    def admin(self) -> dict[str, str]:
        minting = Credentials(load(environ={"GAPLESS_AUTH__SECRET": SECRET}), SECRET)
        return {"Authorization": f"Bearer {minting.mint('alice', roles=('admin',))}"}


@asynccontextmanager
async def edited(directory: Path, count: int = 1) -> AsyncIterator[Edited]:
    """Run ``gapless serve`` on a configuration in a file."""
    (directory / "run").mkdir()
    (directory / "run" / "config.toml").write_text(BEGIN)
    async with program(directory, "serve", "--port", "0", "--workers", str(count)) as gateway:
        url = await gateway.address()
        async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE_S) as http:
            yield Edited(gateway, url, http)
        os.kill(gateway.process.pid, signal.SIGTERM)
        assert await gateway.ended() == 0
        assert "Traceback" not in gateway.errors


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edited]:
    async with edited(tmp_path_factory.mktemp("pair"), 2) as service:
        yield service


@asynccontextmanager
async def kept_open(url: str) -> AsyncIterator[asyncio.Task[None]]:
    """Hold a stream open; the task ends with it."""
    begun = asyncio.Event()

    async def read() -> None:
        async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE_S) as http, http.stream("GET", STREAM) as answer:
            async for _ in answer.aiter_text():
                begun.set()

    task = asyncio.create_task(read())
    async with patience():
        await begun.wait()
    yield task
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@ONE_AND_TWO
async def test_an_edited_file_is_taken_on_without_a_dropped_connection(tmp_path: Path, count: int) -> None:
    async with edited(tmp_path, count) as service, kept_open(service.url) as stream:
        assert await service.heartbeats(15_000)
        assert "access-control-allow-origin" not in (await service.http.get("/livez", headers=PAGE)).headers
        service.edit('level = "debug"\n[sse]\nheartbeat = "7s"\n[cors]\norigins = ["https://app.example.com"]\n')
        told = await service.says("configuration reloaded")
        assert told["changed"] == ["sse.heartbeat", "cors.origins", "log.level"]
        await until(lambda: service.heartbeats(7_000))
        for _ in range(8):
            allowed = await service.http.get("/livez", headers={**PAGE, "Connection": "close"})
            assert allowed.headers["access-control-allow-origin"] == PAGE["Origin"]
        assert not stream.done()


async def test_a_change_of_the_policy_later_on_goes_by_what_was_edited(tmp_path: Path) -> None:
    async with edited(tmp_path) as service:
        service.edit('[sse]\nheartbeat = "7s"\n')
        await until(lambda: service.heartbeats(7_000, times=1))
        switch = f"{POLICY.removesuffix('policy')}transports/polling"
        off = await service.http.patch(switch, json={"enabled": False}, headers=service.admin())
        assert off.json()["revision"] == 1
        assert await service.heartbeats(7_000, times=1)


async def test_who_comes_without_a_credential_sees_what_was_edited(tmp_path: Path) -> None:
    async with edited(tmp_path) as service:
        poll, topic = "/api/v1/events/poll", {"scopes": "topic:news"}
        assert (await service.http.get(poll, params=topic)).status_code == 403
        service.write(BEGIN.replace('["broadcast"]', '["broadcast", "topic:news"]'))

        async def may_see() -> bool:
            return (await service.http.get(poll, params=topic)).status_code == 200

        await until(may_see)
        ticket = (await service.http.post("/api/v1/events/negotiate", json={})).json()["ticket"]
        assert (await service.http.get(poll, params={**topic, "ticket": ticket})).status_code == 200
        service.write(BEGIN.replace('["broadcast"]', "[]"))

        async def may_not() -> bool:
            return (await service.http.get(poll)).status_code == 401

        await until(may_not)
        assert (await service.http.get(poll, params={"ticket": ticket})).status_code == 401


@ONE_AND_TWO
async def test_sighup_reads_it_anew(tmp_path: Path, count: int) -> None:
    async with edited(tmp_path, count) as service, kept_open(service.url) as stream:
        service.hang_up()
        assert (await service.says("configuration reloaded"))["changed"] == []
        service.edit('[sse]\nheartbeat = "7s"\n')
        service.hang_up()
        while "sse.heartbeat" not in (await service.says("configuration reloaded"))["changed"]:
            pass  # the signal may have come before the file was seen, or after
        await until(lambda: service.heartbeats(7_000))
        assert not stream.done()


@ON_THE_PAIR
async def test_every_process_of_the_group_may_hear_the_signal(pair: Edited) -> None:
    before = set(pair.gateway.processes())
    os.killpg(pair.gateway.process.pid, signal.SIGHUP)
    await pair.says("configuration reloaded")
    assert (await pair.http.get("/livez")).status_code == 200
    assert set(pair.gateway.processes()) == before


async def test_the_level_of_the_log_counts_at_once(tmp_path: Path) -> None:
    async with edited(tmp_path) as service:
        service.edit('level = "error"\n[sse]\nheartbeat = "7s"\n')
        await until(lambda: service.heartbeats(7_000, times=1))
        service.edit('level = "info"\n[sse]\nheartbeat = "7s"\nretry = "2s"\n')
        told = await service.says("configuration reloaded")
        assert told["changed"] == ["sse.retry", "log.level"]  # and of the first nothing was said


async def test_a_file_that_cant_be_used_changes_nothing_and_is_told_as_at_the_start(tmp_path: Path) -> None:
    async with edited(tmp_path) as service:
        for text, words in (
            ('[sse]\nhartbeat = "7s"\n', "did you mean sse.heartbeat?"),
            ("[sse\n", "this isn't TOML"),
            ('[auth]\nsecret = "short', "this isn't TOML"),
        ):
            service.write(text)
            told = await service.says("configuration not reloaded, nothing has changed")
            assert words in told["detail"]
            assert told["level"] == "error"
        assert await service.heartbeats(15_000, times=1)
        service.edit('[sse]\nheartbeat = "7s"\n')
        await until(lambda: service.heartbeats(7_000, times=1))


@ONE_AND_TWO
async def test_what_needs_a_restart_is_named_once_and_its_value_is_not_told(tmp_path: Path, count: int) -> None:
    async with edited(tmp_path, count) as service:
        service.write(
            BEGIN.replace(SECRET, "another secret that nobody may read here")
            + '[server]\nport = 1\nkeep_alive = "80s"\n[sse]\nheartbeat = "7s"\n'
        )
        told = await service.says("configuration needs a restart")
        assert set(told["settings"]) == {"server.keep_alive", "auth.secret"}  # --port wins over the file as before
        await until(lambda: service.heartbeats(7_000))
        assert (await service.http.get(POLICY, headers=service.admin())).status_code == 200
    assert sum(line["event"] == "configuration needs a restart" for line in service.heard) == 1
    assert "needs a restart" not in service.gateway.errors
    assert "another secret" not in str(service.heard) + service.gateway.errors


@ONE_AND_TWO
async def test_a_policy_that_is_edited_is_told_of_once_and_not_applied(tmp_path: Path, count: int) -> None:
    async with edited(tmp_path, count) as service:
        before = (await service.http.get(POLICY, headers=service.admin())).json()
        service.edit('[policy]\npreference = ["polling"]\n')
        told = await service.says(DIFFERS)
        assert (told["revision"], told["paths"]) == (0, ["preference"])
        assert (told["see"], told["apply"]) == ("gapless policy diff", "gapless policy apply")
        service.edit('[policy]\npreference = ["polling"]\n[sse]\nheartbeat = "7s"\n')
        await until(lambda: service.heartbeats(7_000))
        assert (await service.http.get(POLICY, headers=service.admin())).json() == before
    assert sum(line["event"] == DIFFERS for line in service.heard) == 1
    assert DIFFERS not in service.gateway.errors


@ON_THE_PAIR
async def test_the_workers_of_a_gateway_are_one_gateway(pair: Edited) -> None:

    async def workers() -> list[int]:
        answer = await pair.http.get("/api/v1/admin/gateways", headers=pair.admin())
        gateways = answer.json()["gateways"]
        return [one["worker"] for gateway in gateways[:1] for one in gateway["workers"]]

    async def both() -> bool:
        return await workers() == [1, 2]

    await until(both)


@ON_THE_PAIR
async def test_a_worker_that_takes_the_place_of_another_knows_what_was_edited(pair: Edited) -> None:
    pair.edit('[sse]\nheartbeat = "7s"\n')
    await until(lambda: pair.heartbeats(7_000))
    workers = [pid for pid, command in pair.gateway.processes().items() if "multiprocessing.spawn" in command]
    assert len(workers) == 2
    for pid in workers:
        os.kill(pid, signal.SIGKILL)

    async def serves() -> bool:
        with suppress(httpx2.TransportError):
            return await pair.heartbeats(7_000)
        return False

    await until(serves)


@asynccontextmanager
async def on_a_terminal(directory: Path, script: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, int, str]]:
    """Run a gateway on a terminal of its own, which is then closed; yield both processes, and its address."""
    ours, theirs = os.openpty()
    shell = await asyncio.create_subprocess_exec(
        *("setsid", "--ctty", "--wait", "sh", "-c", script),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=directory,
        env={**os.environ, "GAPLESS_AUTH__SECRET": SECRET, "GAPLESS": str(GAPLESS)},
    )
    os.close(theirs)
    pid, out = int(await asyncio.to_thread(os.read, ours, 4096)), directory / "out"
    await until(lambda: out.exists() and "http://" in out.read_text())
    try:
        os.close(ours)
        yield shell, pid, next(word for word in out.read_text().split() if word.startswith("http://"))
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        await shell.wait()


STARTED = "echo $$; exec $GAPLESS serve --port 0 > out 2> err"


async def test_a_gateway_ends_with_its_terminal(tmp_path: Path) -> None:
    async with on_a_terminal(tmp_path, STARTED) as (_, pid, _), patience():
        await until(lambda: not is_alive(pid))
    assert "Traceback" not in (tmp_path / "err").read_text()


async def test_a_gateway_that_ignores_its_terminal_outlives_it(tmp_path: Path) -> None:
    async with on_a_terminal(tmp_path, f"trap '' HUP; {STARTED}") as (_, pid, url):
        await until(lambda: "configuration reloaded" in (tmp_path / "err").read_text())
        async with httpx2.AsyncClient(base_url=url) as http:
            assert (await http.get("/livez")).status_code == 200
        os.kill(pid, signal.SIGTERM)
        await until(lambda: not is_alive(pid))
