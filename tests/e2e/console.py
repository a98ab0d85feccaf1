"""What the console's browser tests stand on: the demo with a policy worth looking at, tokens, watched pages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from realtime.auth import Credentials
from realtime.config import load
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE_S, until, until_here

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from playwright.async_api import Browser, BrowserContext, Page

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
AXE = Path(__file__).with_name("vendor") / "axe.min.js"
SECRET = "a secret for the console's tests that is long enough"

CONFIG = """
[polling]
interval = "1s"

[policy]
move_within = "1s"

[[policy.rules]]
name = "metered phones in the background poll"
when = { platform = ["ios", "android"], network = ["cellular"], state = ["background"] }
preference = ["polling"]
parameters = { polling = { interval = "2s" } }

[[policy.rollouts]]
name = "sse-on-android"
when = { platform = ["android"], app_version = ">=5.2" }
[policy.rollouts.arms.control]
weight = 80
preference = ["long-poll", "polling"]
[policy.rollouts.arms.sse]
weight = 20
preference = ["sse", "long-poll", "polling"]
"""

VIOLATIONS = """
globalThis.violations = [];
addEventListener("securitypolicyviolation", ({ violatedDirective, sourceFile, lineNumber }) => {
  globalThis.violations.push(`${violatedDirective} at ${sourceFile}:${lineNumber}`);
});
"""
"""Put into every page: what its policy of content has kept out."""


@dataclass
class Demo:
    """A running `gapless demo`."""

    url: str
    credentials: Credentials

    def token(self, role: str = "admin", sub: str = "olga", ttl_s: float = 600) -> str:
        return self.credentials.mint(sub, roles=(role,) if role else (), ttl_s=ttl_s)

    def headers(self, sub: str = "root") -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(sub=sub)}"}


@contextmanager
def demo(folder: Path) -> Iterator[Demo]:
    """Run it until the block ends."""
    (folder / "config.toml").write_text(CONFIG)
    port = free_port()
    ours = {
        "GAPLESS_DATA_DIR": str(folder / "data"),
        "GAPLESS_SERVER__PORT": str(port),
        "GAPLESS_AUTH__SECRET": SECRET,
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GAPLESS_")}
    program = Path(sys.executable).with_name("gapless")
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen([program, "demo"], env=kept | ours, cwd=folder, stdout=output, stderr=output)
        try:
            running = Demo(f"http://127.0.0.1:{port}", Credentials(load(environ=ours), SECRET))
            _wait_for_clients(process, running, folder / "output")
            yield running
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE_S)
            finally:
                process.kill()


def _wait_for_clients(process: subprocess.Popen[bytes], running: Demo, output: Path) -> None:
    with httpx2.Client(base_url=running.url, trust_env=False) as http:

        def are_there() -> bool:
            assert process.poll() is None, output.read_text()
            try:
                answer = http.get("/api/v1/admin/connections", headers=running.headers())
            except httpx2.TransportError:
                return False
            return answer.is_success and len(answer.json()["connections"]) >= 7

        until_here(are_there)


@dataclass
class Watched:
    """A browser's window of its own, and everything that went wrong in its pages."""

    context: BrowserContext
    url: str
    faults: list[str] = field(default_factory=list)

    async def page(self, path: str = "/") -> Page:
        page = await self.context.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        await page.goto(f"{self.url}{path}")
        return page

    async def console(self, token: str) -> Page:
        """Sign in, as a person does, and wait until the page is live."""
        page = await self.page("/admin/")
        await page.get_by_label("Token of an admin or viewer").fill(token)
        await page.get_by_role("button", name="Sign in").click()
        await page.locator("[data-live=live]").wait_for()
        return page

    async def check(self) -> None:
        """Check that nothing went wrong."""
        for page in self.context.pages:
            self.faults += await page.evaluate("globalThis.violations ?? []")
        assert self.faults == []


@asynccontextmanager
async def watched(browser: Browser, url: str, **options: Any) -> AsyncIterator[Watched]:  # noqa: ANN401 - Playwright's
    """Open a window; at its end nothing may have gone wrong in it."""
    context = await browser.new_context(**{"viewport": {"width": 1360, "height": 900}, **options})
    window = Watched(context, url)
    await context.add_init_script(VIOLATIONS)
    context.on("weberror", lambda error: window.faults.append(str(error.error)))
    context.on("console", lambda said: window.faults.append(said.text) if said.type in {"error", "warning"} else None)
    try:
        yield window
        await window.check()
    finally:
        await context.close()


async def eventually(page: Page, expression: str, holds: Callable[[Any], bool]) -> Any:  # noqa: ANN401 - any value
    """Wait until an expression's value fulfils a condition: Playwright's own way needs `unsafe-eval`."""
    value = None

    async def it_holds() -> bool:
        nonlocal value
        value = await page.evaluate(expression)
        return holds(value)

    try:
        await until(it_holds)
    except TimeoutError:
        raise AssertionError(f"still {value}") from None
    return value
