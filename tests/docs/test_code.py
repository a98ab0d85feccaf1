"""The code in the documentation works: it is run, against the service that `make run` starts."""

from __future__ import annotations

import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import httpx2
import orjson
import pytest
import yaml
from playwright.async_api import async_playwright

from realtime.config import load
from tests.docs.pages import Block, page, pages

if TYPE_CHECKING:
    from pathlib import Path

    from tests.docs.conftest import Demo
    from tests.docs.shell import Shell

CHROMIUM = "/usr/bin/chromium"
RUN = {"sh", "python", "php", "ruby"}
READ = {"toml", "json", "js", "yaml"}
SHOWN = {"", "http", "mermaid", "text"}
"""What is no code: output, messages, drawings."""


def named(block: Block) -> str:
    return block.place


def blocks(*languages: str) -> list[Block]:
    return [block for one in pages() for block in one.in_language(*languages)]


@pytest.mark.timeout(400)  # a page is many commands, each a process
@pytest.mark.parametrize("name", [one.name for one in pages() if one.in_language(*RUN)])
def test_shell_and_programs_run_from_the_top_of_a_page_to_its_end(name: str, shell: Shell) -> None:
    for block in page(name).in_language(*RUN):
        said = shell.run(block)
        if "curl -N" in block.code:
            assert "event: connection.established" in said, block.place
            assert "event: host.load-sampled" in said or "topic:host" not in block.code, block.place
        if "gapless serve" in block.code:
            assert "Gapless is listening on http://" in said, block.place


@pytest.mark.parametrize("block", blocks("toml"), ids=named)
def test_settings_are_ones_that_there_are(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(block.code)
    settings = load(file, environ={})
    for section, keys in tomllib.loads(block.code).items():
        assert set(keys) <= set(getattr(settings, section).model_fields_set), block.place


def test_json_is_json() -> None:
    for block in blocks("json"):
        try:
            orjson.loads(block.code)
        except orjson.JSONDecodeError as error:
            pytest.fail(f"{block.place}: {error}")


def test_the_probes_ask_what_there_is_and_the_pod_has_time_to_drain(demo: Demo) -> None:
    (block,) = blocks("yaml")
    spec = yaml.safe_load(block.code)["spec"]
    settings = load(environ={})
    assert spec["terminationGracePeriodSeconds"] * 1000 > 2 * settings.server.drain
    (container,) = spec["containers"]
    assert [port["containerPort"] for port in container["ports"]] == [settings.server.port]
    probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]
    assert [probe["path"] for probe in probes] == ["/readyz", "/readyz", "/livez"]
    for probe in probes:
        assert probe["port"] == settings.server.port
        assert httpx2.get(demo.url + probe["path"], trust_env=False).status_code == 200


@pytest.mark.parametrize("block", blocks("js"), ids=named)
async def test_javascript_runs_in_a_browser_on_the_page(block: Block, demo: Demo) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        tab = await browser.new_page()
        await tab.goto(demo.url)
        async with tab.expect_console_message(lambda said: said.type == "log", timeout=20_000) as logged:
            await tab.evaluate(f"async () => {{ {block.code} }}")
        cursor, percent = [await argument.json_value() for argument in (await logged.value).args]
        await browser.close()
    assert isinstance(cursor, str)
    assert 0 <= percent <= 100


def test_what_is_not_run_says_why() -> None:
    left: dict[str, Any] = {
        block.place: block.language
        for one in pages()
        for block in one.blocks
        if block.language not in RUN | READ | SHOWN and not block.reason
    }
    assert left == {}


def test_these_blocks_are_not_run() -> None:
    found = {(block.page, block.code.split("\n", 1)[0]) for one in pages() for block in one.blocks if block.reason}
    assert found == {
        ("README.md", "make run"),
        ("deploy/README.md", "make -C /opt/gapless runtime"),
        ("deploy/README.md", "install -m 644 /opt/gapless/deploy/nginx.conf /etc/nginx/conf.d/gapless.conf"),
        ("deploy/README.md", "docker build --file deploy/Dockerfile --tag gapless:0.1.0 ."),
    }


def test_shell_that_is_not_run_is_shell_at_least() -> None:
    for block in (block for one in pages() for block in one.blocks if block.reason):
        assert block.language == "sh", block.place
        subprocess.run(["bash", "-n"], input=block.code, text=True, check=True)
