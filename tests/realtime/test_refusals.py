"""What keeps the service from Redis is told apart: password, permission, database, TLS, nothing there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from realtime.channel.log import Limits, Log
from realtime.channel.refusals import why
from realtime.config import load
from realtime.connect import check, connect
from realtime.errors import ConfigError, LogUnavailable
from tests.support.ports import free_port
from tests.support.redis import RedisServer
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_LIMITS = Limits(60_000, 1_000, 1_000, 0, 60_000)
PLACES = {
    "no password": ("redis://127.0.0.1:{locked}/0", "the server wants a password, and redis.url has none"),
    "wrong password": ("redis://:secret-word@127.0.0.1:{locked}/0", "the server refuses the user or the password"),
    "wrong user": ("redis://who:secret-word@127.0.0.1:{open}/0", "the server refuses the user or the password"),
    "needless password": ("redis://:secret-word@127.0.0.1:{open}/0", "the server has no password, and redis.url gives"),
    "may not": ("redis://low:secret-word@127.0.0.1:{open}/0", "the user of redis.url may not use the command INFO"),
    "database": ("redis://127.0.0.1:{open}/999", "the server has no database of the number in redis.url"),
    "certificate": (
        "rediss://127.0.0.1:{tls}/0",
        r"the server's certificate is not accepted \(self.signed certificate",
    ),
    "no TLS": ("redis://127.0.0.1:{tls}/0", r"the server does not answer \(ConnectionError\): .* TLS"),
    "nothing there": ("redis://127.0.0.1:{nothing}/0", r"does not answer \(ConnectionError\): nothing listens there"),
    "no host": ("redis://no-such-host.invalid:1/0", r"does not answer \(ConnectionError\): its host name is not known"),
    "no socket": ("unix:///nowhere/redis.sock", r"does not answer \(ConnectionError\): there is no such socket"),
}


@pytest.fixture
async def ports(tmp_path: Path) -> AsyncIterator[dict[str, int]]:
    """Servers: one with a password, one with none and a user who may do little, one that speaks TLS only."""
    certificate = ["-keyout", f"{tmp_path}/key.pem", "-out", f"{tmp_path}/certificate.pem", "-subj", "/CN=localhost"]
    making = await asyncio.create_subprocess_exec(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *certificate
    )
    assert await making.wait() == 0
    tls = free_port()
    files = ("--tls-cert-file", f"{tmp_path}/certificate.pem", "--tls-key-file", f"{tmp_path}/key.pem")
    encrypted = (*files, "--tls-ca-cert-file", f"{tmp_path}/certificate.pem", "--tls-auth-clients", "no")
    locked, free = RedisServer(tmp_path / "locked"), RedisServer(tmp_path / "open")
    secure = RedisServer(tmp_path / "tls", "redis", ("--tls-port", str(tls), *encrypted))
    servers = (locked, free, secure)
    try:
        await asyncio.gather(*(server.start() for server in servers))
        async with locked.client as client:
            await client.config_set("requirepass", "right")
        async with free.client as client:
            await client.acl_setuser("low", enabled=True, passwords=["+secret-word"], keys=["*"], commands=["+ping"])
        yield {"locked": locked.port, "open": free.port, "tls": tls, "nothing": free_port()}
    finally:
        for server in servers:
            server.stop()


async def test_each_is_said_at_start_and_to_who_follows_the_log_and_nothing_secret(ports: dict[str, int]) -> None:
    for url, expected in PLACES.values():
        redis = connect(url.format(**ports), 5.0, 2)
        with pytest.raises(ConfigError, match=expected) as refused:
            await check(redis)
        with pytest.raises(LogUnavailable) as away:
            await Log(redis, _LIMITS).touch()
        await redis.aclose()
        told = str(refused.value) + why(away.value)
        assert why(away.value).partition(" the command ")[0] in str(refused.value)
        assert "secret-word" not in told
        assert "127.0.0.1" not in told


OPTIONS = ["protocol=3", "decode_responses=true", "foo=1", "socket_timeout=1", "db=1&max_connections=1", "foo"]


@pytest.mark.parametrize("query", OPTIONS)
async def test_an_option_of_the_address_that_the_service_relies_on_is_refused_by_its_name(
    tmp_path: Path, query: str
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'redis.url = "redis://:secret-word@localhost/0?{query}"')
    name = query.rpartition("&")[2].partition("=")[0]
    with pytest.raises(ConfigError, match=rf"redis\.url.*no option '{name}'") as refused:
        load(file, {})
    assert "secret-word" not in str(refused.value)


async def test_options_that_say_how_to_get_there_are_taken(tmp_path: Path, ports: dict[str, int]) -> None:
    file = tmp_path / "config.toml"
    url = f"rediss://localhost:{ports['tls']}/0?ssl_ca_certs={tmp_path}/certificate.pem&db=1&client_name=us"
    file.write_text(f'redis.url = "{url}"')
    redis = connect(str(load(file, {}).redis.url), 5.0, 1)

    async def is_there() -> bool:
        return bool(await redis.client_getname() == "us")

    await until(is_there)
    await redis.aclose()


def test_what_is_no_error_of_the_connection_says_itself_what_it_is() -> None:
    assert why(LogUnavailable("another server's log is read")) == "another server's log is read"
