"""`deploy/compose.yaml`: there is no engine to run it here, so what it says is held against what there is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.deploy.support import DEPLOY, SECRET, parsed, settings
from tests.support.gateway import gateway
from tests.support.redis import RedisServer

if TYPE_CHECKING:
    from pathlib import Path


NGINX = (DEPLOY / "nginx.conf").read_text()
ABSENT = {"./tls"}
"""What its user brings along."""


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = document()["services"]
    return found


def document() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def environ(service: dict[str, Any]) -> dict[str, str]:
    """Return a service's environment, with the secret in the place where it is asked for."""
    given = {name: str(value) for name, value in service["environment"].items()}
    return {name: SECRET if value.startswith(f"${{{name}:?") else value for name, value in given.items()}


def test_the_service_takes_its_settings_and_its_command(services: dict[str, dict[str, Any]]) -> None:
    gapless = services["gapless"]
    loaded = settings(environ(gapless))
    assert loaded.env == "production"
    assert loaded.redis.url == "redis://valkey:6379/0"
    assert parsed(gapless["command"])["workers"] == 2


def test_there_is_no_secret_in_it(services: dict[str, dict[str, Any]]) -> None:
    secret = services["gapless"]["environment"]["GAPLESS_AUTH__SECRET"]
    assert re.fullmatch(r"\$\{GAPLESS_AUTH__SECRET:\?[^}]+\}", secret), "and it does not start without one"


def test_nginx_finds_the_service_where_it_listens(services: dict[str, dict[str, Any]]) -> None:
    assert services["nginx"]["network_mode"] == "service:gapless"
    server = settings(environ(services["gapless"])).server
    assert f"server {server.host}:{server.port};" in NGINX
    ports = {port.rpartition(":")[2] for port in services["gapless"]["ports"]}
    assert ports == set(re.findall(r"^    listen (?:\[::\]:)?(\d+)", NGINX, re.MULTILINE))


def test_files_and_services_that_it_names_are_there(services: dict[str, dict[str, Any]]) -> None:
    build = services["gapless"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
    volumes = document()["volumes"]
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        for volume in service.get("volumes", []):
            source, target, *_ = volume.split(":")
            assert source in volumes or source in ABSENT or (DEPLOY / source).is_file(), volume
            assert target in {"/data", "/var/lib/gapless"} or target in NGINX or target.startswith("/etc/nginx/conf.d/")


def test_every_image_has_a_version(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        assert re.fullmatch(r"[a-z/]+:\d[\w.-]*", service["image"])


def test_the_service_may_do_nothing_that_it_need_not(services: dict[str, dict[str, Any]]) -> None:
    gapless = services["gapless"]
    assert gapless["read_only"] is True
    assert gapless["cap_drop"] == ["ALL"]
    assert all(service["security_opt"] == ["no-new-privileges:true"] for service in services.values())
    assert services["gapless"]["ulimits"]["nofile"] >= 65_536


async def test_its_valkey_is_one_that_the_service_accepts(services: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    program, *options = services["valkey"]["command"]
    assert program == "valkey-server"
    server = RedisServer(tmp_path / "valkey", arguments=options)
    await server.start()
    try:
        async with gateway(tmp_path / "gateway", server.url) as running:
            assert len(await running.publish({"scope": "broadcast"})) == 1
    finally:
        server.stop()


def test_it_waits_for_a_service_that_is_ready(services: dict[str, dict[str, Any]]) -> None:
    assert services["nginx"]["depends_on"]["gapless"] == {"condition": "service_healthy"}
    assert services["gapless"]["depends_on"]["valkey"] == {"condition": "service_healthy"}
    assert services["valkey"]["healthcheck"]["test"] == ["CMD", "valkey-cli", "ping"]
    assert "HEALTHCHECK" in (DEPLOY / "Dockerfile").read_text()
