"""`/docs` in a real browser: it shows every operation, and asks nobody but this service."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright

from realtime.openapi.pages import CONTENT_SECURITY_POLICY
from tests.e2e.test_demo_page import CHROMIUM, FLAGS
from tests.support.gateway import Gateway, gateway
from tests.support.redis import RedisServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Page, Route

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    server = RedisServer(tmp_path_factory.mktemp("docs-valkey"))
    await server.start()
    try:
        async with gateway(tmp_path_factory.mktemp("docs"), server.url) as one:
            yield one
    finally:
        server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def page() -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield await browser.new_page(viewport={"width": 1280, "height": 1000})
        await browser.close()


async def test_it_shows_every_operation_and_asks_nobody_else(running: Gateway, page: Page, tmp_path: Path) -> None:
    asked, faults = [], []

    async def look(route: Route) -> None:
        asked.append(route.request.url)
        await (route.continue_() if _is_ours(route.request.url, running) else route.abort())

    await page.route("**/*", look)
    page.on("console", lambda message: faults.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    await page.goto(f"{running.url}/docs")
    await page.locator(".opblock").first.wait_for()
    operations = running.worker.reference.document.operations
    assert await page.locator(".opblock").count() == len(operations)
    await page.screenshot(path=tmp_path / "docs.png")
    await page.locator("#operations-transports-polling .opblock-summary-control").click()
    await page.locator("#operations-transports-polling .responses-table").first.wait_for()
    await page.screenshot(path=tmp_path / "operation.png", full_page=True)
    assert faults == []
    assert [url for url in asked if not _is_ours(url, running) and not url.startswith("data:")] == []
    assert f"{running.url}/openapi.json" in asked


async def test_a_request_can_be_tried_out(running: Gateway, page: Page) -> None:
    await page.goto(f"{running.url}/docs")
    await page.locator("#operations-operations-ready .opblock-summary-control").click()
    await page.locator("#operations-operations-ready .execute").click()
    answered = page.locator("#operations-operations-ready .live-responses-table .response-col_status").last
    await answered.wait_for()
    assert (await answered.inner_text()).startswith("200")


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/docs/static/docs.js", "/docs/static/nothing.js"])
async def test_all_of_it_allows_only_itself(running: Gateway, path: str) -> None:
    answer = await running.http.get(path)
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "<script>" not in answer.text


async def test_what_was_seen_is_not_sent_again(running: Gateway) -> None:
    script = "/docs/static/swagger-ui/swagger-ui-bundle.js"
    answer = await running.http.get(script)
    assert answer.status_code == 200
    again = await running.http.get(script, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def _is_ours(url: str, running: Gateway) -> bool:
    return urlsplit(url).netloc == urlsplit(running.url).netloc
