"""What an operator looks with: the settings, health, who is connected, and the doctor; against a real gateway."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.support.buffering import buffering
from tests.support.gateway import SECRET, Gateway, gateway
from tests.support.ports import free_port
from tests.support.program import program
from tests.support.proxy import proxy
from tests.support.redis import RedisServer
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from tests.realtime.conftest import Command

COMMANDS = {
    "config": ("--config", "--json"),
    "health": ("--url", "--token", "--config", "--json"),
    "connections": ("--sub", "--session", "--close", "--url", "--token", "--config", "--json"),
    "revoke": ("--list",),
    "doctor": ("--url", "--origin", "--token", "--config", "--json"),
    "serve": ("--max-clients",),
}


def port(served: Gateway) -> int:
    found = urlsplit(served.url).port
    assert found is not None
    return found


async def examined(run: Command, *arguments: str, **environ: str) -> dict[str, dict[str, str]]:
    """Run the doctor, and return its findings by what was looked at."""
    done = await run("doctor", "--json", *arguments, **environ)
    report = json.loads(done.stdout)
    problems = [one for one in report["findings"] if one["state"] == "problem"]
    assert report["problems"] == len(problems)
    assert done.exit_code == (1 if problems else 0)
    assert all(one["do"] for one in report["findings"] if one["state"] != "ok")
    return {one["check"]: one for one in report["findings"]}


@pytest.mark.parametrize("command", COMMANDS)
async def test_help_names_the_options_gives_examples_and_the_statuses(run: Command, command: str) -> None:
    told = await run(command, "--help")
    assert told.exit_code == 0
    assert all(option in told.stdout for option in COMMANDS[command])
    assert f"  gapless {command}" in told.stdout
    assert "Exit status" in told.stdout


# Config


async def test_config_tells_each_setting_and_where_it_comes_from(run: Command, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[history]\nretention = "2h"\n[sse]\nheartbeat = "9s"\n')
    done = await run("config", "--json", GAPLESS_SSE__HEARTBEAT="7s")
    found = json.loads(done.stdout)
    assert done.exit_code == 0
    assert found["history.retention"] == {"value": "2h", "origin": "config.toml"}
    assert found["sse.heartbeat"] == {"value": "7s", "origin": "GAPLESS_SSE__HEARTBEAT"}
    assert found["sse.retry"] == {"value": "1s", "origin": "default"}
    assert found["env"] == {"value": "development", "origin": "default"}


@pytest.mark.parametrize("form", [(), ("--json",)])
async def test_config_shows_no_secret(run: Command, form: tuple[str, ...]) -> None:
    done = await run("config", *form, GAPLESS_REDIS__URL="redis://:sesame@10.0.0.5/0")
    assert done.exit_code == 0
    assert "sesame" not in done.output
    assert SECRET not in done.output
    assert done.stdout.count("(not shown)") == 2


async def test_config_that_cannot_be_used_is_status_2(run: Command) -> None:
    done = await run("config", GAPLESS_SSE__HEARTBEAT="soon")
    assert done.exit_code == 2
    assert "GAPLESS_SSE__HEARTBEAT" in done.stderr


# Health


async def test_health_of_a_gateway_that_is_ready_is_status_0(run: Command, served: Gateway) -> None:
    done = await run("health", "--url", served.url)
    assert done.exit_code == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()[2:4]] == [["alive", "yes"], ["ready", "yes"]]
    told = json.loads((await run("health", "--url", served.url, "--json")).stdout)
    assert (told["live"], told["ready"]) == (True, True)


async def test_health_is_told_without_a_credential_that_the_service_knows(run: Command, served: Gateway) -> None:
    assert (await run("health", "--url", served.url, "--token", "nonsense")).exit_code == 0


async def test_health_of_a_gateway_that_is_away_is_status_1(run: Command) -> None:
    gone = await run("health", "--url", f"http://127.0.0.1:{free_port()}")
    assert gone.exit_code == 1
    assert "error:" in gone.stderr


async def test_health_of_a_gateway_that_is_alive_and_not_ready_is_status_1(run: Command) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
        status = {b"/livez": b"200 OK", b"/readyz": b"503 Service Unavailable"}.get(path, b"404 Not Found")
        writer.write(b"HTTP/1.1 %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        done = await run("health", "--json", "--url", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert done.exit_code == 1
    assert json.loads(done.stdout) == {"live": True, "ready": False, "health": None}


# Connections


async def test_connections_tells_who_is_connected_and_closes_one(run: Command, served: Gateway) -> None:
    session = await served.negotiate("alice")
    async with served.stream({}, ticket=session["ticket"]) as stream, served.stream(served.bearer("bob")) as other:
        assert (await stream.next()).event == "connection.established"
        assert (await other.next()).event == "connection.established"
        listed = await run("connections", "--url", served.url)
        assert listed.exit_code == 0, listed.stderr
        assert "alice" in listed.stdout
        assert "bob" in listed.stdout
        only = json.loads((await run("connections", "--url", served.url, "--sub", "alice", "--json")).stdout)
        assert [one["session"] for one in only["connections"]] == [session["session"]]
        closed = await run("connections", "--url", served.url, "--session", session["session"], "--close")
        assert closed.exit_code == 0, closed.stderr
        assert [message.event for message in await stream.rest()] == ["connection.closed"]
        left = await run("connections", "--url", served.url)
        assert "alice" not in left.stdout


async def test_connections_closes_no_session_that_is_not_there(run: Command, served: Gateway) -> None:
    done = await run("connections", "--url", served.url, "--session", "nobody", "--close")
    assert done.exit_code == 1
    assert "nobody" in done.stderr


@pytest.mark.parametrize("wrong", [("--close",), ("--close", "--sub", "alice"), ("--close", "--session", "")])
async def test_connections_closes_one_session_only(run: Command, wrong: tuple[str, ...]) -> None:
    assert (await run("connections", *wrong)).exit_code == 2


# Revocations


async def test_revoke_lists_who_is_refused(run: Command, served: Gateway) -> None:
    for who in (("--sub", "mallory", "--reason", "taken over"), ("--jti", "1bSx7Qk", "--until", "2h")):
        assert (await run("revoke", "--url", served.url, *who)).exit_code == 0
    listed = await run("revoke", "--url", served.url, "--list")
    assert listed.exit_code == 0, listed.stderr
    lines = {line.split("  ")[0].strip(): line for line in listed.stdout.splitlines()}
    assert "for good" in lines["sub mallory"]
    assert "taken over" in lines["sub mallory"]
    assert "for good" not in lines["jti 1bSx7Qk"]


async def test_revoke_list_changes_nothing(run: Command) -> None:
    assert (await run("revoke", "--list", "--sub", "mallory")).exit_code == 2


# Serve


async def test_serve_names_the_flag_of_a_number_of_clients_that_is_none(tmp_path: Path, redis_url: str) -> None:
    environ = {"GAPLESS_REDIS__URL": redis_url, "GAPLESS_AUTH__SECRET": SECRET}
    async with program(tmp_path, "serve", "--port", "0", "--max-clients", "-1", environ=environ) as command:
        assert "--max-clients" in await command.complaint()
        assert command.process.returncode == 2


# Doctor


async def test_doctor_finds_nothing_in_the_way_where_all_is_well(run: Command, tmp_path: Path, redis_url: str) -> None:
    origin = "https://app.example.com"
    async with gateway(tmp_path, redis_url, {"CORS__ORIGINS": json.dumps([origin])}) as served:
        found = await examined(
            run, "--url", served.url, GAPLESS_REDIS__URL=redis_url, GAPLESS_CORS__ORIGINS=json.dumps([origin])
        )
    assert {check: one["state"] for check, one in found.items() if check != "file limit"} == dict.fromkeys(
        (
            *("configuration", "data directory", "redis version", "redis eviction", "redis persistence", "clocks"),
            *("public address", "stream", "event", "long-poll", "polling", f"pages of {origin}"),
        ),
        "ok",
    )
    assert found["long-poll"]["told"].startswith("1 event ")


async def test_doctor_says_each_finding_on_a_line(run: Command, redis_url: str) -> None:
    done = await run("doctor", GAPLESS_REDIS__URL=redis_url)
    assert done.exit_code == 0
    assert [line.split()[0] in {"ok", "warning"} for line in done.stdout.splitlines()] == [True] * 7


@pytest.mark.parametrize("passes", [0, 1])
async def test_doctor_finds_a_proxy_that_holds_the_stream_back(run: Command, served: Gateway, passes: int) -> None:
    async with buffering(port(served), passes) as (url, proxy):
        found = await examined(run, "--url", url)
        assert proxy.held.is_set()
    assert ("event" in found, found.get("event", {}).get("state")) == (passes == 1, "problem" if passes else None)
    late = found["event" if passes else "stream"]
    assert late["state"] == "problem"
    assert "a proxy buffers the stream" in late["told"]
    assert "proxy_buffering off" in late["do"]
    assert (found["long-poll"]["state"], found["polling"]["state"]) == ("ok", "ok")


async def test_doctor_tells_that_pages_of_a_site_may_not_call(run: Command, served: Gateway) -> None:
    found = await examined(run, "--url", served.url, "--origin", "https://app.example.com")
    assert found["pages of https://app.example.com"]["state"] == "problem"
    assert "cors.origins" in found["pages of https://app.example.com"]["do"]


async def test_doctor_tells_that_the_service_is_away_or_does_not_know_the_token(run: Command, served: Gateway) -> None:
    away = await examined(run, "--url", f"http://127.0.0.1:{free_port()}")
    assert away["public address"]["state"] == "problem"
    stranger = await examined(run, "--url", served.url, GAPLESS_AUTH__SECRET="another secret, as long as it must be")
    assert "--token" in stranger["public address"]["do"]


async def test_doctor_times_no_event_with_a_token_that_may_not_publish(run: Command, served: Gateway) -> None:
    found = await examined(run, "--url", served.url, "--token", served.token("alice"))
    assert found["stream"]["state"] == "ok"
    assert found["event"]["state"] == "warning"
    assert "publisher" in found["event"]["do"]


async def test_doctor_finds_a_redis_that_would_lose_history(run: Command, tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    await server.start()
    try:
        async with server.client as client:
            await client.config_set("maxmemory-policy", "allkeys-lru")
            await client.config_set("appendonly", "no")
        found = await examined(run, GAPLESS_REDIS__URL=server.url)
    finally:
        server.stop()
    assert found["redis version"]["state"] == "ok"
    assert found["redis eviction"]["state"] == "problem"
    assert found["redis persistence"]["state"] == "warning"


async def test_doctor_finds_a_redis_that_is_too_old(run: Command, valkey: RedisServer) -> None:
    async with proxy(valkey.port) as older:
        older.alters = partial(re.compile(rb"(?<=\n(?:redis|valke))(y?_version:)\d(?=\.)").sub, rb"\g<1>6")
        found = await examined(run, GAPLESS_REDIS__URL=older.redis_url)
    assert found["redis version"]["state"] == "problem"
    assert found["redis version"]["told"].startswith("Valkey 6.")
    assert "version 7" in found["redis version"]["do"]


@pytest.mark.parametrize(("leeway", "state"), [("5s", "problem"), ("5m", "warning")])
async def test_doctor_finds_a_clock_that_is_off(run: Command, valkey: RedisServer, leeway: str, state: str) -> None:
    def ahead(answer: bytes) -> bytes:
        """Let the answer to TIME be that of a minute later."""
        return re.sub(rb"(?<=^\*2\r\n\$10\r\n)\d{10}", lambda found: b"%d" % (int(found[0]) + 60), answer)

    async with proxy(valkey.port) as fast:
        fast.alters = ahead
        found = await examined(run, GAPLESS_REDIS__URL=fast.redis_url, GAPLESS_AUTH__LEEWAY=leeway)
    assert found["clocks"]["state"] == state
    assert re.fullmatch(r"Redis's clock is (59|60)\d\d\d ms ahead of this machine's", found["clocks"]["told"])
    assert "NTP" in found["clocks"]["do"]


async def test_doctor_finds_a_redis_that_cannot_write_its_file(run: Command, tmp_path: Path) -> None:
    server = FullDisk(tmp_path / "redis")
    await server.start()
    try:
        server.fill()
        async with server.client as client:
            await client.set("one", "more")
        async with server.client as client:
            await until(lambda: fails_to_write(client))
        found = await examined(run, GAPLESS_REDIS__URL=server.url)
    finally:
        server.stop()
    assert found["redis persistence"]["state"] == "problem"
    assert "the append-only file can't be written" in found["redis persistence"]["told"]


async def fails_to_write(client: Redis) -> bool:
    told: dict[str, Any] = await client.info("persistence")
    return bool(told["aof_last_write_status"] == "err")


class FullDisk(RedisServer):
    """A server whose files can be kept from growing, as on a disk that is full."""

    def _launch(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        return super()._launch(["/bin/sh", "-c", 'trap "" XFSZ; exec "$@"', "sh", *command])

    def fill(self) -> None:
        """Let no file grow beyond what fits into nothing."""
        assert self._process is not None
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (1, 1))


async def test_doctor_finds_a_redis_that_does_not_answer_and_tells_no_password(run: Command) -> None:
    done = await run("doctor", GAPLESS_REDIS__URL=f"redis://:sesame@127.0.0.1:{free_port()}/0")
    assert done.exit_code == 1
    assert "redis.url: the server does not answer" in done.stdout
    assert "sesame" not in done.output


def of_files(limit: str, redis_url: str, tmp_path: Path, **environ: str) -> dict[str, str]:
    """Run the doctor where so many files are allowed; return what it says of them."""
    command = f"ulimit {limit} && exec {Path(sys.executable).with_name('gapless')} doctor --json"
    told = {"GAPLESS_REDIS__URL": redis_url, "GAPLESS_DATA_DIR": str(tmp_path / "data"), **environ}
    done = subprocess.run(
        ["bash", "-c", command], env={"PATH": os.environ["PATH"], **told}, capture_output=True, text=True, check=False
    )
    (finding,) = [one for one in json.loads(done.stdout)["findings"] if one["check"] == "file limit"]
    return dict(finding)


def test_doctor_finds_too_few_files_for_the_clients(redis_url: str, tmp_path: Path) -> None:
    found = of_files("-n 1024", redis_url, tmp_path, GAPLESS_LIMITS__MAX_CLIENTS="1024")
    assert found["state"] == "problem"
    assert found["told"] == "1024 files, and limits.max_clients = 1024 needs 1280 in each worker"
    assert "LimitNOFILE" in found["do"]


def test_doctor_warns_of_a_low_limit_of_files_where_any_number_of_clients_may_come(
    redis_url: str, tmp_path: Path
) -> None:
    found = of_files("-n 1024", redis_url, tmp_path)
    assert found["state"] == "warning"
    assert found["told"].startswith("1024 files")
    assert "ulimit" in found["do"]


def test_doctor_counts_on_what_the_service_can_raise_its_limit_to(redis_url: str, tmp_path: Path) -> None:
    found = of_files("-Sn 256 && ulimit -Hn 4096", redis_url, tmp_path, GAPLESS_LIMITS__MAX_CLIENTS="1000")
    assert (found["state"], found["told"]) == ("ok", "1256 files can be had, 1256 are wanted in each worker")


async def test_doctor_finds_a_data_directory_that_cannot_be_written(
    run: Command, tmp_path: Path, redis_url: str
) -> None:
    (tmp_path / "file").touch()
    found = await examined(run, GAPLESS_REDIS__URL=redis_url, GAPLESS_DATA_DIR=str(tmp_path / "file"))
    assert found["data directory"]["state"] == "problem"


@pytest.mark.parametrize(("wanted", "state"), [("replicas:1", "problem"), ("fsync", "ok")])
async def test_doctor_finds_a_redis_that_cannot_be_as_durable_as_is_wanted(
    run: Command, redis_url: str, wanted: str, state: str
) -> None:
    found = await examined(run, GAPLESS_REDIS__URL=redis_url, GAPLESS_HISTORY__DURABILITY=wanted)
    assert found["durability"]["state"] == state


async def test_doctor_stops_at_a_configuration_that_cannot_be_used(run: Command) -> None:
    found = await examined(run, GAPLESS_SSE__HEARTBEAT="soon")
    assert list(found) == ["configuration"]
    assert "GAPLESS_SSE__HEARTBEAT" in found["configuration"]["told"]
