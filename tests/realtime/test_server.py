"""A gateway as a program: how it starts, what it says, how it ends, and that nothing of it is left."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import time
from contextlib import asynccontextmanager, closing, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx2
import jwt
import pytest

from realtime.auth import Credentials
from realtime.config import ServerSettings, load
from realtime.errors import StartError
from realtime.server import address
from realtime.server.child import Child
from tests.support.metrics import scrape
from tests.support.program import GAPLESS, program
from tests.support.redis import RedisServer
from tests.support.waiting import PATIENCE_S, at_once, interlude, patience, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.support.program import Program

SECRET = "a secret for tests that is long enough"
OPEN = {"GAPLESS_AUTH__SECRET": SECRET, "GAPLESS_AUTH__ANONYMOUS_SCOPES": '["broadcast","topic:*"]'}
TWO = {**OPEN, "GAPLESS_SERVER__WORKERS": "2", "GAPLESS_SERVER__DRAIN": "1s"}
POLL = "/api/v1/events/poll"


@asynccontextmanager
async def visiting(url: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE_S, trust_env=False) as http:
        yield http


async def position(http: httpx2.AsyncClient) -> str:
    answer: dict[str, Any] = (await http.get(POLL)).json()
    return str(answer["cursor"])


async def is_held(http: httpx2.AsyncClient, transport: str = "long-poll", count: int = 1) -> bool:
    """Tell whether the service knows of so many clients of a transport."""
    return (await scrape(http)).sum("connections", transport=transport) == count


async def begun(http: httpx2.AsyncClient, received: list[str]) -> asyncio.Task[None]:
    """Open a stream, read it to its end in the background, and return once something came."""
    something = asyncio.Event()

    async def read() -> None:
        async with http.stream("GET", "/api/v1/events/stream") as answer:
            async for text in answer.aiter_text():
                received.append(text)
                something.set()

    task = asyncio.create_task(read())
    async with patience():
        await something.wait()
    return task


def workers(gateway: Program) -> list[int]:
    """Return the processes of our own that a gateway started: those that serve, or the demo's producer."""
    return sorted(pid for pid, command in gateway.processes().items() if "multiprocessing.spawn" in command)


async def takes_nobody(url: str) -> bool:
    """Tell whether nobody listens at an address."""
    place = urlsplit(url)
    try:
        _, writer = await asyncio.open_connection(place.hostname, place.port)
    except ConnectionError:
        return True
    writer.transport.abort()
    return False


def said(gateway: Program) -> list[str]:
    """Return what a gateway's log tells, once it has ended."""
    return [json.loads(line)["event"] for line in gateway.errors.splitlines() if line.startswith("{")]


# Starting and ending


async def test_ctrl_c_ends_streams_and_held_answers_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    async with program(tmp_path, "serve", "--port", "0", environ=OPEN) as gateway:
        async with visiting(await gateway.address()) as http:
            assert (await http.get("/readyz")).status_code == 200
            received: list[str] = []
            stream = await begun(http, received)
            held = asyncio.create_task(http.get("/api/v1/events/long-poll", params={"cursor": await position(http)}))
            await until(lambda: is_held(http))
            gateway.interrupt()
            await at_once(stream)  # to its end, not cut off
            assert (await at_once(held)).status_code in {200, 503}
        assert await gateway.ended() == 0
        await gateway.nothing_left()
    assert "".join(received).startswith("retry:")
    assert "Traceback" not in gateway.errors
    assert not {"error", "critical"} & {json.loads(line)["level"] for line in gateway.errors.splitlines()}


@pytest.mark.parametrize("environ", [OPEN, TWO], ids=["alone", "workers"])
async def test_sigterm_tells_clients_and_sends_them_away_in_their_time(tmp_path: Path, environ: dict[str, str]) -> None:
    async with program(tmp_path, "serve", "--port", "0", environ={**environ, "GAPLESS_SERVER__DRAIN": "2s"}) as gateway:
        async with visiting(await gateway.address()) as http:
            received: list[str] = []
            streams = [await begun(http, received) for _ in range(6)]
            await until(lambda: is_held(http, "sse", 6))
            os.kill(gateway.process.pid, signal.SIGTERM)
            await until(lambda: "".join(received).count("event: gateway.drain-started") == 6)
            assert sum(stream.done() for stream in streams) < 6, "they have their time"
            assert (await http.get("/readyz")).json()["code"] == "draining"
            assert (await http.get(POLL, params={"cursor": "1-1"})).json()["code"] == "draining"
            async with patience():
                await asyncio.gather(*streams)  # to their ends, not cut off
        assert await gateway.ended() == 0
        await gateway.nothing_left()
    assert "Traceback" not in gateway.errors
    assert not {"error", "critical"} & {json.loads(line)["level"] for line in gateway.errors.splitlines()}


@pytest.mark.parametrize("path", ["", "/negotiate"])
@pytest.mark.parametrize("length", ["Content-Length: 100", "Transfer-Encoding: chunked"])
async def test_a_body_that_is_not_whole_at_the_end_is_sent_elsewhere(tmp_path: Path, path: str, length: str) -> None:
    environ = {**OPEN, "GAPLESS_SERVER__DRAIN": "0s"}
    async with program(tmp_path, "serve", "--port", "0", environ=environ) as gateway:
        place = urlsplit(await gateway.address())
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        bearer = jwt.encode({"sub": "7", "exp": time.time() + 3600, "roles": ["publisher"]}, SECRET)
        head = f"POST /api/v1/events{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\n{length}\r\n\r\n"
        writer.write(f"{head}5\r\n".encode())
        async with visiting(place.geturl()) as http:  # what was sent before is read before
            assert (await http.get("/livez")).status_code == 200
        os.kill(gateway.process.pid, signal.SIGTERM)
        async with patience():
            answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b'"code":"draining"' in answer
        assert await gateway.ended() == 0
        await gateway.nothing_left()
    assert "Traceback" not in gateway.errors
    assert not {"error", "critical"} & {json.loads(line)["level"] for line in gateway.errors.splitlines()}


async def test_a_second_sigterm_does_not_wait_for_the_drain(tmp_path: Path) -> None:
    async with program(tmp_path, "serve", "--port", "0", environ={**OPEN, "GAPLESS_SERVER__DRAIN": "1h"}) as gateway:
        async with visiting(await gateway.address()) as http:
            received: list[str] = []
            stream = await begun(http, received)
            os.kill(gateway.process.pid, signal.SIGTERM)
            await until(lambda: "gateway.drain-started" in "".join(received))
            os.kill(gateway.process.pid, signal.SIGTERM)
            await at_once(stream)
        assert await gateway.ended() == 0
        await gateway.nothing_left()


async def test_systemd_is_told_that_it_is_ready_and_that_it_stops(tmp_path: Path) -> None:
    place = tmp_path / "notify"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as systemd:
        systemd.bind(str(place))
        systemd.settimeout(PATIENCE_S)
        async with program(tmp_path, "serve", "--port", "0", environ={**OPEN, "NOTIFY_SOCKET": str(place)}) as gateway:
            await gateway.address()
            assert await asyncio.to_thread(systemd.recv, 100) == b"READY=1"
            os.kill(gateway.process.pid, signal.SIGTERM)
            assert await asyncio.to_thread(systemd.recv, 100) == b"STOPPING=1"
            assert await gateway.ended() == 0


@pytest.mark.parametrize("after_s", [0.2, 1.0])
async def test_ctrl_c_while_it_starts_is_no_traceback(tmp_path: Path, after_s: float) -> None:
    async with program(tmp_path, "serve", "--port", "0", environ=OPEN) as gateway:
        await interlude(after_s)  # it is interrupted at whatever it is then
        gateway.interrupt()
        assert await gateway.ended() in {0, -signal.SIGINT}
        await gateway.nothing_left()
    assert "Traceback" not in gateway.errors


async def test_a_second_ctrl_c_ends_by_force(tmp_path: Path) -> None:
    async with program(tmp_path, "serve", "--port", "0", environ=OPEN) as gateway:
        url = await gateway.address()
        (valkey,) = [pid for pid, command in gateway.processes().items() if "valkey" in command]
        os.kill(valkey, signal.SIGSTOP)  # and so the first can't end it
        gateway.interrupt()
        await until(lambda: takes_nobody(url))
        assert gateway.process.returncode is None
        gateway.interrupt()
        assert await gateway.process.wait() == 130
        os.kill(valkey, signal.SIGCONT)
        await gateway.nothing_left()


async def test_the_first_start_makes_a_secret_and_says_so_and_the_next_one_keeps_it(tmp_path: Path) -> None:
    secrets = []
    for _ in range(2):
        async with program(tmp_path, "serve", "--port", "0") as gateway:
            await gateway.address()
            os.kill(gateway.process.pid, signal.SIGTERM)
            assert await gateway.ended() == 0
        secrets.append((tmp_path / "run" / "data" / "secret").read_text())
        told = [event for event in said(gateway) if event.startswith("made a secret")]
        assert len(told) == (1 if len(secrets) == 1 else 0)
        assert secrets[0].strip() not in gateway.errors
    assert secrets[0] == secrets[1]
    assert (tmp_path / "run" / "data" / "secret").stat().st_mode & 0o777 == 0o600


# Workers


async def test_workers_share_an_address_and_one_that_dies_is_replaced(tmp_path: Path) -> None:
    async with program(tmp_path, "serve", "--port", "0", environ=TWO) as gateway:
        url = await gateway.address()
        before = workers(gateway)
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        await until(lambda: len(set(workers(gateway)) | set(before)) == 3)
        async with visiting(url) as http:
            for _ in range(8):
                assert (await http.get("/readyz", headers={"Connection": "close"})).status_code in {200, 503}
            received: list[str] = []
            stream = await begun(http, received)
            os.kill(gateway.process.pid, signal.SIGTERM)
            async with patience():
                await stream
        assert await gateway.ended() == 0
        await gateway.nothing_left()
    assert "a process ended and is started again" in said(gateway)
    assert "Traceback" not in gateway.errors


async def test_kill_9_leaves_no_process(tmp_path: Path) -> None:
    async with program(tmp_path, "serve", "--port", "0", environ=TWO) as gateway:
        await gateway.address()
        assert len(gateway.processes()) >= 4
        os.kill(gateway.process.pid, signal.SIGKILL)
        await gateway.process.wait()
        await gateway.nothing_left()


async def test_a_process_that_ends_before_it_is_ready_prevents_the_start() -> None:
    with pytest.raises(StartError, match="worker-1 ended with status 0 while it was starting"):
        await Child("worker-1", print, ()).keep()


# Addresses


@contextmanager
def bound(settings: ServerSettings, *, shared: bool = False) -> Iterator[list[socket.socket]]:
    """Bind an address until the block ends."""
    socks = address.bind(settings, shared=shared)
    try:
        yield socks
    finally:
        for sock in socks:
            sock.close()


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "http://127.0.0.1:{}"),
        ("localhost", "http://127.0.0.1:{}"),
        ("0.0.0.0", "http://127.0.0.1:{}"),  # noqa: S104 - for a moment, and nobody listens
        ("::1", "http://[::1]:{}"),
        ("::", "http://[::1]:{}"),
    ],
)
def test_an_address_is_shown_as_this_machine_reaches_it(host: str, shown: str) -> None:
    with bound(ServerSettings(host=host, port=0)) as socks:
        assert address.url(socks[0]) == shown.format(socks[0].getsockname()[1])


def test_localhost_is_both_loopback_addresses_at_one_port() -> None:
    with bound(ServerSettings(host="localhost", port=0)) as (ipv4, ipv6):
        port = ipv4.getsockname()[1]
        assert ipv4.getsockname() == ("127.0.0.1", port)
        assert ipv6.getsockname()[:2] == ("::1", port)


@pytest.mark.parametrize("shared", [False, True])
def test_localhost_is_in_use_when_one_of_its_addresses_is(*, shared: bool) -> None:
    with bound(ServerSettings(host="::1", port=0), shared=shared) as (taken,):
        taken.listen()
        with pytest.raises(StartError, match="in use"):
            address.bind(ServerSettings(host="localhost", port=taken.getsockname()[1]), shared=shared)


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_localhost_is_ipv4_where_there_is_no_ipv6(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    class Without(socket.socket):
        """A socket of a machine without IPv6."""

        def bind(self, place: Any, /) -> None:  # noqa: ANN401 - as the standard library has it
            if self.family == socket.AF_INET6:
                raise OSError(number, os.strerror(number))
            super().bind(place)

    monkeypatch.setattr(socket, "socket", Without)
    with bound(ServerSettings(host="localhost", port=0)) as (only,):
        assert only.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("count", [1, 2], ids=["one worker", "two workers"])
async def test_localhost_answers_at_both_addresses(tmp_path: Path, count: int) -> None:
    environ = {**OPEN, "GAPLESS_SERVER__HOST": "localhost"}
    async with program(tmp_path, "serve", "--port", "0", "--workers", str(count), environ=environ) as gateway:
        shown = await gateway.address()
        assert shown.startswith("http://127.0.0.1:")
        for url in (shown, shown.replace("127.0.0.1", "[::1]")):
            async with visiting(url) as http:
                assert (await http.get("/livez")).status_code == 200


async def test_a_proxy_on_ipv4_is_believed_by_a_gateway_on_any_address_and_one_client_counts_once(
    tmp_path: Path,
) -> None:
    environ = {
        **OPEN,
        "GAPLESS_AUTH__SECRET": SECRET,
        "GAPLESS_SERVER__HOST": "::",
        "GAPLESS_LIMITS__STREAMS_PER_ADDRESS": "1",
    }
    async with program(tmp_path, "serve", "--port", "0", environ=environ) as gateway:
        port = urlsplit(await gateway.address()).port
        async with visiting(f"http://127.0.0.1:{port}") as ipv4, visiting(f"http://[::1]:{port}") as ipv6:
            token = Credentials(load(environ=environ), SECRET).mint("42", ttl_s=60)
            for http in (ipv4, ipv6):
                headers = {"Authorization": f"Bearer {token}", "X-Forwarded-Proto": "https"}
                given = await http.post("/api/v1/auth/ticket", json={"cookie": True}, headers=headers)
                assert given.headers["Set-Cookie"].endswith("; Secure")
            accept = {"Accept": "text/event-stream, application/problem+json"}
            one, same = ({**accept, "X-Forwarded-For": text} for text in ("203.0.113.7", "::ffff:203.0.113.7"))
            async with ipv4.stream("GET", "/api/v1/events/stream", headers=one) as first:
                assert first.status_code == 200
                refused = await ipv6.get("/api/v1/events/stream", headers=same)
                assert refused.json()["code"] == "transport-not-offered", "no second stream from the address"
                other = {**accept, "X-Forwarded-For": "203.0.113.8"}
                async with ipv6.stream("GET", "/api/v1/events/stream", headers=other) as second:
                    assert second.status_code == 200


def test_a_host_that_is_not_this_machine_is_named() -> None:
    with pytest.raises(StartError, match=r"192\.0\.2\.1:8000: can't listen there"):
        address.bind(ServerSettings(host="192.0.2.1"))


def test_a_shared_address_takes_more_sockets_of_ours_and_no_other_gateway() -> None:
    with bound(ServerSettings(port=0), shared=True) as (parent,):
        place = address.Place.of(parent)
        with closing(place.bind()) as first, closing(place.bind()) as second:
            first.listen()
            second.listen()
            with pytest.raises(StartError, match="in use"):
                address.bind(ServerSettings(port=parent.getsockname()[1]), shared=True)


# What prevents a start


@pytest.mark.parametrize("count", [1, 2], ids=["one worker", "two workers"])
async def test_a_port_in_use_is_said_in_one_line(tmp_path: Path, count: int) -> None:
    with bound(ServerSettings(port=0), shared=count > 1) as (taken,):
        taken.listen()
        port = str(taken.getsockname()[1])
        async with program(tmp_path, "serve", "--port", port, "--workers", str(count)) as gateway:
            assert await gateway.ended() == 1
            assert gateway.errors == (
                f"error: 127.0.0.1:{port} is in use by another program. Stop that one, or choose another port: "
                "--port 8001, or 0 for any that is free.\n"
            )
            await gateway.nothing_left()
    assert not (tmp_path / "run" / "data").exists()


@pytest.mark.parametrize("count", [1, 2], ids=["one worker", "two workers"])
async def test_a_redis_that_evicts_is_refused_once_and_in_words(tmp_path: Path, count: int) -> None:
    redis = RedisServer(tmp_path / "redis", arguments=("--maxmemory-policy", "allkeys-lru"))
    await redis.start()
    try:
        environ = {**OPEN, "GAPLESS_REDIS__URL": redis.url}
        async with program(tmp_path, "serve", "--port", "0", "--workers", str(count), environ=environ) as gateway:
            assert await gateway.ended() == 2
            assert gateway.errors.count("error: ") == 1
            assert "maxmemory-policy is allkeys-lru" in gateway.errors
            assert "Traceback" not in gateway.errors
            await gateway.nothing_left()
    finally:
        redis.stop()


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"GAPLESS_REDIS__URL": "redis://127.0.0.1:1/0"}, "redis.url: the server does not answer"),
        ({"GAPLESS_ENV": "production"}, "auth.secret"),
        ({"GAPLESS_SSE__HEARTBAET": "5s"}, "did you mean GAPLESS_SSE__HEARTBEAT"),
    ],
    ids=["redis away", "production without a secret", "a misspelt setting"],
)
async def test_a_configuration_that_cant_be_used_is_told_and_nothing_starts(
    tmp_path: Path, environ: dict[str, str], words: str
) -> None:
    async with program(tmp_path, "serve", "--port", "0", environ=environ) as gateway:
        assert await gateway.ended() == 2
        assert gateway.errors.startswith("error: ") or "\nerror: " in gateway.errors
        assert words in gateway.errors
        assert "Traceback" not in gateway.errors
        assert not gateway.said
        await gateway.nothing_left()


# The demo


async def test_the_demo_shows_a_page_and_real_events_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    async with program(tmp_path, "demo", "--port", "0", environ=OPEN) as demo:
        async with visiting(await demo.address()) as http:
            page = await http.get("/")
            assert page.headers["content-type"].startswith("text/html")
            seen = await http.get("/api/v1/events/long-poll", params={"cursor": "earliest"})
            assert {event["event"] for event in seen.json()["events"]} == {"host.load-sampled"}
        demo.interrupt()
        assert await demo.ended() == 0
        await demo.nothing_left()
    assert "Traceback" not in demo.errors


@pytest.mark.parametrize("victim", ["itself", "its parent"])
async def test_kill_9_of_the_demo_or_its_parent_leaves_no_process(tmp_path: Path, victim: str) -> None:
    # As make does it: a shell between, which waits.
    script = f'{GAPLESS} demo --port 0 & echo "pid $!"; wait'
    async with program(tmp_path, "-c", script, command="sh") as shell:
        pid = int((await shell.line("pid ")).split()[1])
        await shell.address()
        await until(lambda: bool(workers(shell)))
        os.kill(pid if victim == "itself" else shell.process.pid, signal.SIGKILL)
        await shell.process.wait()
        await shell.nothing_left()
