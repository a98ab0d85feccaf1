"""`gapless demo` in a real browser: what a new user sees, switches, cuts off and reloads; nothing is ever missed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx2
import pytest
import pytest_asyncio
from playwright.async_api import async_playwright

from realtime.demo.page import CONTENT_SECURITY_POLICY
from tests.support import waiting
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE_S, until_here

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from playwright.async_api import Browser, BrowserContext, Page, Route

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
BUTTONS = {"sse": "SSE", "long-poll": "Long-poll", "polling": "Polling"}
PATHS = {"sse": "stream", "long-poll": "long-poll", "polling": "poll"}
KINDS = {"host.load-sampled", "task.progress-updated"}

# One service and one browser for all of them, so all of them on one worker and one event loop.
pytestmark = pytest.mark.asyncio(loop_scope="module")

State = dict[str, Any]

FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


# --- the service, the browser, and a line between them that can be cut -----------------------------------------------


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("demo"), free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GAPLESS_")}
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("gapless"), "demo", "--port", str(port), "--folder", str(small(folder))],
            env=kept | {"GAPLESS_DATA_DIR": str(folder / "data"), "GAPLESS_POLLING__INTERVAL": "1s"},
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until_ready(process, f"http://127.0.0.1:{port}", folder / "output")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE_S)
            finally:
                process.kill()


def small(folder: Path) -> Path:
    """Make a folder whose files are soon hashed, on any machine."""
    files = folder / "files"
    files.mkdir()
    for number in range(20):
        (files / f"{number:02}").write_bytes(bytes([number]) * 500_000)
    return files


def wait_until_ready(process: subprocess.Popen[bytes], address: str, output: Path) -> None:
    def is_ready() -> bool:
        assert process.poll() is None, output.read_text()
        try:
            return httpx2.get(f"{address}/readyz", trust_env=False).is_success
        except httpx2.TransportError:
            return False

    until_here(is_ready)


@dataclass
class Line:
    """A TCP proxy of our own, in front of the service: it can be cut, and then lets nobody through."""

    target: int
    is_cut: bool = False
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def cut(self) -> None:
        self.is_cut = True
        for writer in self.writers:
            writer.transport.abort()

    def restore(self) -> None:
        self.is_cut = False

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        ends = {writer, far_writer}
        self.writers |= ends
        try:
            await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))
        finally:
            self.writers -= ends
            for end in ends:
                end.transport.abort()


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    # One direction has ended: so does the other.
    writer.transport.abort()


@pytest_asyncio.fixture(loop_scope="module")
async def line(address: str) -> AsyncIterator[tuple[Line, str]]:
    proxy = Line(urlsplit(address).port or 0)
    server = await asyncio.start_server(proxy.connect, "127.0.0.1", 0)
    async with server:
        yield proxy, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        proxy.cut()
        await asyncio.sleep(0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    yield context
    await context.close()


async def opened(context: BrowserContext, address: str) -> Page:
    page = await context.new_page()
    await page.goto(address)
    await until(page, lambda now: now["received"] > 0)
    return page


async def state(page: Page) -> State:
    now: State = await page.evaluate("gapless.state()")
    return now


async def until(page: Page, condition: Callable[[State], bool]) -> State:
    """Wait until the page's state fulfils `condition`, and return it: Playwright's own way needs `unsafe-eval`."""
    now: State = {}

    async def holds() -> bool:
        now.update(await state(page))
        return condition(now)

    try:
        await waiting.until(holds)
    except TimeoutError:
        raise AssertionError(f"still {now}") from None
    return now


async def press(page: Page, transport: str) -> State:
    await page.get_by_role("button", name=BUTTONS[transport], exact=True).click()
    return await until(page, lambda now: now["transport"] == transport and now["status"] == "connected")


async def goes_on(page: Page, before: State, events: int = 3) -> State:
    """Wait until more events are there; the cursor has moved on, and the promise is kept."""
    now = await until(page, lambda now: now["received"] >= before["received"] + events)
    assert position(now) > position(before)
    assert (now["missed"], now["repeated"], now["truncated"]) == (0, 0, 0)
    return now


def position(now: State) -> tuple[int, int]:
    ms, seq = now["cursor"].split("-")
    return int(ms), int(seq)


async def texts(page: Page, selector: str) -> set[str]:
    return set(await page.locator(selector).all_inner_texts())


# --- what a person does ----------------------------------------------------------------------------------------------


async def test_the_page_shows_both_kinds_of_events_and_moves_between_the_transports(
    context: BrowserContext, address: str, tmp_path: Path
) -> None:
    faults: list[str] = []
    asked: set[str] = set()
    context.on("weberror", lambda error: faults.append(str(error.error)))
    context.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    context.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    page = await opened(context, address)

    async def both_are_shown() -> bool:
        return {text.split()[0] for text in await texts(page, "#tape .event")} >= KINDS

    await waiting.until(both_are_shown)
    assert "–" not in await texts(page, "#cpu, #memory, #net-received, #task-percent, #task-files")

    for transport in ("sse", "long-poll", "polling", "long-poll", "sse", "polling", "sse"):
        before = await press(page, transport)
        await goes_on(page, before)
        assert await page.locator(f"#tape [data-transport={transport}]").count()
        assert await texts(page, "button[data-transport][aria-pressed=true] b") == {BUTTONS[transport]}

    await take_screenshots(page, tmp_path)
    assert await texts(page, "#missed, #repeated") == {"0"}
    assert asked == {urlsplit(address).netloc}
    assert faults == []


async def take_screenshots(page: Page, folder: Path) -> None:
    await page.screenshot(path=folder / "light.png", full_page=True)
    await page.emulate_media(color_scheme="dark")
    await page.screenshot(path=folder / "dark.png", full_page=True)
    await page.set_viewport_size({"width": 390, "height": 844})
    assert await page.evaluate("document.documentElement.scrollWidth") == 390, "nothing sticks out of a narrow screen"
    await page.screenshot(path=folder / "narrow.png", full_page=True)


@pytest.mark.parametrize("transport", BUTTONS)
async def test_going_offline_and_back_misses_nothing(context: BrowserContext, address: str, transport: str) -> None:
    page = await opened(context, address)
    before = await press(page, transport)
    await context.set_offline(True)
    if transport == "sse":  # Chromium leaves an open stream alone; what it carries still counts
        await waiting.interlude(4)
    else:
        await until(page, lambda now: now["status"] == "offline")
        assert "Offline" in await texts(page, "#status-text")
        await waiting.interlude(3)
    await context.set_offline(False)
    await goes_on(page, before, events=8)
    await until(page, lambda now: now["status"] == "connected")


@pytest.mark.parametrize("transport", BUTTONS)
async def test_a_cut_line_is_told_and_misses_nothing(
    context: BrowserContext, line: tuple[Line, str], transport: str
) -> None:
    proxy, address = line
    page = await opened(context, address)
    before = await press(page, transport)
    proxy.cut()
    cut = await until(page, lambda now: now["status"] == "reconnecting")
    assert cut["transport"] == transport
    await waiting.interlude(3)
    proxy.restore()
    now = await until(page, lambda now: now["status"] == "connected")
    assert now["reconnects"] == before["reconnects"] + 1
    await goes_on(page, before, events=8)


async def test_a_reload_goes_on_at_the_cursor(context: BrowserContext, address: str) -> None:
    page = await opened(context, address)
    before = await goes_on(page, await press(page, "long-poll"))
    await page.reload()
    now = await goes_on(page, before)
    assert now["transport"] == "long-poll"


async def test_the_keyboard_is_enough(context: BrowserContext, address: str) -> None:
    page = await opened(context, address)
    await page.locator("#use-sse").focus()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await until(page, lambda now: now["transport"] == "long-poll")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert await page.evaluate(outline) == "solid"


async def test_pausing_holds_the_list_still_and_receives_on(context: BrowserContext, address: str) -> None:
    page = await opened(context, address)
    await page.get_by_role("button", name="Pause").click()
    await page.evaluate(FRAMES)  # the one that was under way is drawn
    shown = await page.locator("#tape").inner_text()
    await goes_on(page, await state(page))
    assert await page.locator("#tape").inner_text() == shown
    await page.get_by_role("button", name="Pause").click()
    newest = (await state(page))["cursor"]
    await page.locator(f"#tape .id:text-is('{newest}')").wait_for()


# --- what the service may answer -------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", BUTTONS)
@pytest.mark.parametrize("status", [401, 503])
async def test_a_refusal_is_a_pause(context: BrowserContext, address: str, transport: str, status: int) -> None:
    page = await opened(context, address)
    refused = asyncio.Event()

    async def refuse(route: Route) -> None:
        refused.set()
        await route.fulfill(status=status, headers={"Retry-After": "1"}, body="{}")

    before = await state(page)
    await page.route(f"**/api/v1/events/{PATHS[transport]}?*", refuse, times=1)
    await page.get_by_role("button", name=BUTTONS[transport], exact=True).click()
    async with waiting.patience():
        await refused.wait()
    now = await goes_on(page, await state(page))
    assert (now["transport"], now["reconnects"]) == (transport, 1)
    if transport != "sse":  # an EventSource can't say what it was refused with
        assert (now["session"] != before["session"]) == (status == 401), "a bad credential is replaced, and only that"


async def test_a_transport_that_is_not_offered_is_left_for_one_that_is(context: BrowserContext, address: str) -> None:
    page = await opened(context, address)
    problem = '{"code":"transport-not-offered","decision":{"transports":[{"name":"polling"}]}}'

    async def refuse(route: Route) -> None:
        await route.fulfill(status=409, content_type="application/problem+json", body=problem)

    before = await state(page)
    await page.route("**/api/v1/events/long-poll?*", refuse)
    await page.get_by_role("button", name="Long-poll", exact=True).click()
    await until(page, lambda now: now["transport"] == "polling" and now["status"] == "connected")
    await goes_on(page, before)


# --- the check behind the counters -----------------------------------------------------------------------------------


def event(sequence: int, n: int, *, run: str = "a", born: str = "1970-01-01T00:00:00Z") -> dict[str, object]:
    data = {"run": run, "n": n, "run_started_at": born}
    return {"id": f"1000-{sequence}", "event": "host.load-sampled", "data": data}


LATER = "1970-01-01T01:00:00Z"

RECORDS = {
    "in-order": ([event(1, 7), event(2, 8), event(5, 9)], [3, 0, 0]),
    "a-gap": ([event(1, 7), event(2, 10)], [2, 2, 0]),
    "a-repeated-id": ([event(1, 7), event(2, 8), event(2, 8)], [2, 0, 1]),
    "an-older-id": ([event(2, 7), event(1, 8)], [1, 0, 1]),
    "a-repeated-number": ([event(1, 7), event(2, 7)], [1, 0, 1]),
    "an-id-before-the-cursor": ([event(0, 7)], [0, 0, 1]),
    "a-run-from-before": ([event(1, 7), event(2, 500, run="b")], [2, 0, 0]),
    "a-new-run": ([event(1, 7), event(2, 1, run="b", born=LATER)], [2, 0, 0]),
    "a-new-run-whose-beginning-is-missing": ([event(1, 7), event(2, 3, run="b", born=LATER)], [2, 2, 0]),
    "not-numbered": ([{"id": "1000-1", "event": "note.added", "data": "hello"}], [1, 0, 0]),
}

LEDGER = """async (events) => {
  const { Ledger } = await import("/demo/static/ledger.js");
  const ledger = new Ledger();
  ledger.begin("1000-0");
  for (const event of events) ledger.take(event);
  return [ledger.received, ledger.missed, ledger.repeated];
}"""

TRUNCATED = """async () => {
  const { Ledger, compare } = await import("/demo/static/ledger.js");
  const data = (n) => ({ run: "a", n, run_started_at: "1970-01-01T00:00:00Z" });
  const ledger = new Ledger();
  ledger.begin("1000-5");
  ledger.take({ id: "1000-6", event: "a.b", data: data(7) });
  ledger.truncate("900-1");
  ledger.take({ id: "900-2", event: "a.b", data: data(90) });
  const order = [compare("9-10", "10-9"), compare("10-9", "10-10"), compare("10-10", "10-10")].map(Math.sign);
  return [ledger.received, ledger.missed, ledger.repeated, ledger.truncated, ...order];
}"""


async def test_the_counters_count_what_is_wrong(context: BrowserContext, address: str) -> None:
    page = await context.new_page()
    await page.goto(address)
    counted = {name: await page.evaluate(LEDGER, events) for name, (events, _) in RECORDS.items()}
    assert counted == {name: expected for name, (_, expected) in RECORDS.items()}
    assert await page.evaluate(TRUNCATED) == [2, 0, 0, 1, -1, -1, 0], "declared, so neither missed nor repeated"


async def test_the_page_allows_only_itself_and_its_token_is_not_kept(address: str) -> None:
    async with httpx2.AsyncClient(base_url=address, trust_env=False) as client:
        page, script = await client.get("/"), await client.get("/demo/static/demo.js")
        session = await client.post("/demo/session")
    for answer in (page, script):
        assert answer.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert script.headers["Content-Type"].startswith(("text/javascript", "application/javascript"))
    assert session.headers["Cache-Control"] == "no-store"
    assert session.json().keys() == {"token", "expires_in_ms"}
