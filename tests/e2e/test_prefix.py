"""The console, the demo's page and the reference in a real browser, below a path of a real nginx."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright, expect

from tests.deploy.nginx import Nginx, nginx
from tests.e2e.console import CHROMIUM, FLAGS, Demo, demo, eventually, watched
from tests.support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from playwright.async_api import Browser

# One service and one browser for all of them, so all of them on one worker and one event loop.
pytestmark = pytest.mark.asyncio(loop_scope="module")

TOLD = {'proxy_set_header X-Forwarded-Prefix "";': 'proxy_set_header X-Forwarded-Prefix "/rt";'}
PLAIN = "    location / {\n        return 404;"
BELOW = f"    location /rt/ {{\n        proxy_pass http://gapless/;\n    }}\n{PLAIN}"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with demo(tmp_path_factory.mktemp("below")) as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(running: Demo, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Nginx]:
    port = urlsplit(running.url).port or 0
    async with nginx(tmp_path_factory.mktemp("nginx"), port, {**TOLD, PLAIN: BELOW}) as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    expect.set_options(timeout=PATIENCE_S * 1000)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


async def test_the_console_signs_in_is_live_changes_and_signs_out(
    running: Demo, front: Nginx, browser: Browser
) -> None:
    async with watched(browser, f"{front.url}/rt", ignore_https_errors=True) as window:
        page = await window.console(running.token())
        assert urlsplit(page.url).path == "/rt/admin/"
        await eventually(page, "document.querySelectorAll('#gateways tr').length", lambda count: count > 0)
        await page.get_by_label("Subject, or session").fill("nobody")
        await page.get_by_role("button", name="Find").click()
        await expect(page.locator("#clients")).to_contain_text("nobody")
        await page.get_by_role("button", name="Sign out").click()
        await page.wait_for_url("**/rt/admin/sign-in?why=out")


async def test_the_demos_page_is_live(front: Nginx, browser: Browser) -> None:
    async with watched(browser, f"{front.url}/rt", ignore_https_errors=True) as window:
        page = await window.page("/")
        await eventually(page, "globalThis.gapless?.state().received ?? 0", lambda received: received > 0)


async def test_the_reference_reads_its_document(front: Nginx, browser: Browser) -> None:
    async with watched(browser, f"{front.url}/rt", ignore_https_errors=True) as window:
        page = await window.page("/docs")
        await expect(page.locator(".servers select option")).to_contain_text("/rt")
