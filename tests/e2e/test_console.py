"""The console in a real browser: what an operator sees and does at 3 a.m., by mouse, keyboard and screen reader.

In every window of these tests nothing may be kept out by the page's policy of content, and nothing may be complained of
in the browser's console.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import pytest_asyncio
from playwright.async_api import async_playwright, expect

from tests.e2e.console import AXE, CHROMIUM, FLAGS, Demo, demo, eventually, watched
from tests.support.gateway import gateway
from tests.support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from playwright.async_api import Browser, Page

# One service and one browser for all of them, so all of them on one worker and one event loop.
pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = '<img src=x onerror="globalThis.fooled=1"><script>globalThis.fooled=1</script>\'"&'
AUDIT = """async (context) => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  return found.violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html, any }) => html + " " + (any[0]?.message ?? "")).join(" | ")}`);
}"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with demo(tmp_path_factory.mktemp("console")) as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    expect.set_options(timeout=PATIENCE_S * 1000)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def as_configured(running: Demo) -> AsyncIterator[None]:
    """Put the configuration's policy in force again after each test."""
    yield
    async with httpx2.AsyncClient(base_url=running.url, trust_env=False, headers=running.headers()) as http:
        await http.post("/api/v1/admin/policy/revisions/0/restore", json={"reason": "after the test"})


async def confirm(page: Page, reason: str = "", button: str = "Apply") -> None:
    dialog = page.get_by_role("dialog")
    if reason:
        await dialog.get_by_label("Why").fill(reason)
    await dialog.get_by_role("button", name=button).click()
    await expect(dialog).to_be_hidden()


async def state(page: Page) -> dict[str, Any]:
    now: dict[str, Any] = await page.evaluate("gapless.state()")
    return now


# --- changing ---------------------------------------------------------------------------------------------------------


async def test_sse_is_switched_off_and_on_and_a_live_page_moves_and_misses_nothing(
    running: Demo, browser: Browser
) -> None:
    async with watched(browser, running.url) as window, watched(browser, running.url) as other:
        live = await other.page()
        await eventually(live, "gapless.state()", lambda now: now["transport"] == "sse" and now["received"] > 3)
        page = await window.console(running.token())
        await page.get_by_role("switch", name="sse").click()
        dialog = page.get_by_role("dialog", name="Switch sse off")
        await expect(dialog).to_contain_text(re.compile(r"Moves \d+ of \d+ connections:"))
        await expect(dialog).to_contain_text(re.compile(r"sse → (long-poll|polling): \d+"))
        await expect(dialog).to_contain_text("transports.sse.enabled")
        assert (await state(live))["transport"] == "sse", "nothing is done before it is confirmed"
        await confirm(page, "a proxy holds streams back")

        await expect(page.get_by_role("status").filter(has_text="sse is switched off")).to_be_visible()
        await expect(page.get_by_role("switch", name="sse")).to_have_attribute("aria-checked", "false")
        moved = await eventually(live, "gapless.state()", lambda now: now["transport"] == "long-poll")
        await expect(page.locator("#status")).to_contain_text("by olga just now: a proxy holds streams back")
        await eventually(page, "gaplessConsole.state().connections.sse", lambda count: count == 0)

        await page.get_by_role("button", name="Restore the configuration").click()
        await expect(page.get_by_role("dialog", name="Restore the configuration")).to_contain_text("false")
        await confirm(page, "the proxy is gone")
        await expect(page.get_by_role("switch", name="sse")).to_have_attribute("aria-checked", "true")
        await eventually(live, "gapless.state()", lambda now: now["transport"] == "sse")
        back = await eventually(
            live,
            "gapless.state()",
            lambda now: now["received"] > moved["received"] + 8 and now["status"] == "connected",
        )
        assert (back["missed"], back["repeated"], back["truncated"]) == (0, 0, 0)

        first = page.locator("#revisions > li").first
        await expect(first).to_contain_text("olga")
        await expect(first).to_contain_text("the proxy is gone")
        await expect(first.locator(".diff")).to_contain_text("transports.sse.enabled")


async def test_the_keyboard_is_enough_to_throw_a_switch(running: Demo, browser: Browser) -> None:
    async with watched(browser, running.url) as window:
        page = await window.console(running.token())
        focused = "document.activeElement.id"
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Skip to the content"
        for _ in range(12):
            await page.keyboard.press("Tab")
            if await page.evaluate(focused) == "switch-long-poll":
                break
        assert await page.evaluate(focused) == "switch-long-poll"
        assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        await page.keyboard.press("Space")
        await expect(page.get_by_role("dialog")).to_be_visible()
        await eventually(page, focused, lambda name: name == "reason")
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_be_hidden()
        assert await page.evaluate(focused) == "switch-long-poll", "the focus is where it was"
        await page.keyboard.press("Enter")
        await eventually(page, focused, lambda name: name == "reason")
        await page.keyboard.type("by keyboard")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("switch", name="long-poll")).to_have_attribute("aria-checked", "false")
        await eventually(page, focused, lambda name: name == "switch-long-poll")
        assert await page.locator("#toast[role=status]").inner_text() != ""


async def test_a_rollout_is_ramped_by_its_sliders(running: Demo, browser: Browser) -> None:
    async with watched(browser, running.url) as window:
        page = await window.console(running.token())
        form = page.locator("#rollout-sse-on-android")
        apply = form.get_by_role("button", name="See whom it moves")
        await expect(apply).to_be_hidden()
        await form.get_by_role("slider", name="sse").focus()
        for _ in range(10):
            await page.keyboard.press("ArrowRight")
        assert await form.locator("[type=number]").evaluate_all("all => all.map(one => one.value)") == ["30", "70"]
        await form.get_by_role("spinbutton", name="sse").fill("31")
        await expect(form).to_contain_text("They sum to 101 %")
        await expect(apply).to_be_disabled()
        await form.get_by_role("spinbutton", name="control").fill("69")
        await apply.click()
        await expect(page.get_by_role("dialog")).to_contain_text("arms.sse.weight")
        await confirm(page, "a tenth more")
        await expect(apply).to_be_hidden()
        await expect(form.get_by_role("spinbutton", name="sse")).to_have_value("31")
        await form.get_by_role("slider", name="control").focus()
        await page.keyboard.press("Home")
        await expect(form.get_by_role("spinbutton", name="sse")).to_have_value("100")
        await form.get_by_role("button", name="Reset").click()
        await expect(form.get_by_role("spinbutton", name="sse")).to_have_value("31")


async def test_two_operators_at_once_are_told(running: Demo, browser: Browser) -> None:
    async with watched(browser, running.url) as window, watched(browser, running.url) as other:
        olga, ida = await asyncio.gather(window.console(running.token()), other.console(running.token(sub="ida")))
        window.faults.clear()
        await olga.get_by_role("slider", name="sse").focus()
        await olga.keyboard.press("ArrowRight")
        await ida.get_by_role("switch", name="polling").click()
        await confirm(ida, "ida was first")
        await expect(olga.locator("#status")).to_contain_text("ida was first")
        await expect(olga.get_by_role("spinbutton", name="sse")).to_have_value("21")
        await olga.get_by_role("button", name="See whom it moves").click()
        await expect(olga.get_by_role("dialog")).to_contain_text("Somebody else was faster")
        await expect(olga.get_by_role("dialog")).to_contain_text("is in force now")
        await olga.get_by_role("button", name="Close").click()
        await expect(olga.get_by_role("spinbutton", name="sse")).to_have_value("20")
        await expect(olga.locator(".htmx-request")).to_have_count(0)  # one that is under way puts 20 there once more
        await olga.get_by_role("slider", name="sse").focus()
        await olga.keyboard.press("ArrowRight")
        await expect(olga.get_by_role("spinbutton", name="sse")).to_have_value("21")
        await olga.get_by_role("button", name="See whom it moves").click()
        await confirm(olga)
        window.faults = [fault for fault in window.faults if "412" not in fault]  # as the browser tells of any refusal


# --- looking ----------------------------------------------------------------------------------------------------------


async def test_why_is_user_42_on_polling(running: Demo, browser: Browser) -> None:
    async with watched(browser, running.url) as window:
        page = await window.console(running.token())
        await page.get_by_label("Subject, or session").fill("42")
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="Explain 42 on polling").last.click()
        why = page.locator(".explanation")
        await expect(why).to_contain_text("It is on polling, as decided.")
        await expect(why).to_contain_text("the client reports that sse, long-poll failed")
        await expect(page.locator(".steps li")).to_have_count(7)

        await page.get_by_text("Explain for a client that is not connected").click()
        form = page.locator("form.explain")
        for label, text in {"Platform": "ios", "Network": "cellular", "State": "background"}.items():
            await form.get_by_label(label).fill(text)
        await form.get_by_role("button", name="Explain").click()
        await expect(why).to_contain_text("What such a client gets")
        await expect(why).to_contain_text('the rule "metered phones in the background poll" prefers polling')


async def test_a_client_is_disconnected_and_revoked(running: Demo, browser: Browser) -> None:
    async with watched(browser, running.url) as window, watched(browser, running.url) as other:
        live = await other.page()
        await eventually(live, "gapless.state()", lambda now: now["received"] > 0)
        page = await window.console(running.token())
        await page.get_by_label("Subject, or session").fill("demo")
        await page.get_by_role("button", name="Find").click()
        await page.get_by_role("button", name="Disconnect demo on sse").first.click()
        await expect(page.get_by_role("dialog")).to_contain_text("Ends what demo has open on sse")
        await confirm(page, button="Disconnect")
        await eventually(live, "gapless.state()", lambda now: now["reason"] == "closed-by-admin")
        await page.locator("#revoke-sub").fill("mallory")
        await page.locator("form.revoke").get_by_role("button").click()
        await confirm(page, "for the test", button="Revoke")
        await expect(page.locator("#revocations")).to_contain_text("mallory")
        await page.get_by_role("button", name="Lift the revocation of mallory").click()
        await confirm(page, button="Lift")
        await expect(page.locator("#revocations")).to_contain_text("Nobody is refused.")


async def test_the_charts_begin_with_what_was_before_and_go_on_live(running: Demo, browser: Browser) -> None:
    async with watched(browser, running.url) as window:
        page = await window.console(running.token())
        before = await eventually(page, "gaplessConsole.state()", lambda now: now["seconds"] >= 3)
        assert before["connections"]["sse"] >= 2
        await eventually(page, "gaplessConsole.state().seconds", lambda seconds: seconds > before["seconds"] + 1)
        await expect(page.locator("#connections-key")).to_contain_text("sse")
        await expect(page.locator("#latency-key")).to_contain_text("ms")
        assert await page.locator(".chart canvas").count() == 2


async def test_a_viewer_sees_everything_and_can_change_nothing(running: Demo, browser: Browser) -> None:
    async with watched(browser, running.url) as window:
        page = await window.console(running.token("viewer"))
        await expect(page.get_by_text("You are signed in as a viewer")).to_be_visible()
        switch = page.get_by_role("switch", name="sse")
        await expect(switch).to_be_disabled()
        assert "viewer" in (await switch.get_attribute("title") or "")
        await expect(page.get_by_role("slider", name="sse")).to_be_disabled()
        await expect(page.get_by_role("button", name=re.compile("Drain "))).to_be_disabled()
        # Who takes the lock off meets the next one.
        await switch.evaluate("button => { button.disabled = false; button.click() }")
        await expect(page.get_by_role("dialog")).to_contain_text("this needs a token with 'admin' among its roles")
        window.faults = [fault for fault in window.faults if "403" not in fault]


async def test_what_clients_and_operators_write_is_text(running: Demo, browser: Browser) -> None:
    async with httpx2.AsyncClient(base_url=running.url, trust_env=False) as http:
        body = {"client": {"platform": HOSTILE}, "transports": ["polling"]}
        told = (await http.post("/api/v1/events/negotiate", json=body, headers=running.headers("<b>x</b>"))).json()
        parameters = {"ticket": told["ticket"], "cursor": told["cursor"]}
        await http.get("/api/v1/events/poll", params=parameters)
    async with watched(browser, running.url) as window:
        page = await window.console(running.token(sub="<i>olga</i>"))
        await page.get_by_role("switch", name="sse").click()
        await confirm(page, HOSTILE)
        await expect(page.locator("#status")).to_contain_text(HOSTILE)
        await expect(page.locator("#revisions")).to_contain_text(HOSTILE)
        await page.get_by_label("Subject, or session").fill("<b>x</b>")
        await page.keyboard.press("Enter")
        await expect(page.locator("#clients")).to_contain_text(HOSTILE)
        await page.get_by_role("button", name="Explain <b>x</b> on polling").click()
        await expect(page.locator(".explanation")).to_contain_text("<b>x</b>")
        await page.get_by_label("Subject, or session").fill(HOSTILE)
        await page.keyboard.press("Enter")
        await expect(page.locator("#clients")).to_contain_text("is not connected")
        assert await page.evaluate("globalThis.fooled") is None
        assert await page.locator("main img, main script, .who i").count() == 0


# --- coming and going -------------------------------------------------------------------------------------------------


async def test_a_session_that_is_over_leads_to_the_door(running: Demo, browser: Browser) -> None:
    async with watched(browser, running.url) as window:
        page = await window.console(running.token(ttl_s=4))
        await page.wait_for_url("**/admin/sign-in?why=over")
        await expect(page.get_by_role("alert")).to_contain_text("Your session is over")
        window.faults.clear()  # the browser has told of each request that was refused, or cut by the way out


async def test_signing_out(running: Demo, browser: Browser) -> None:
    async with watched(browser, running.url) as window:
        page = await window.console(running.token())
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_role("alert")).to_contain_text("You are signed out")
        await page.goto(f"{running.url}/admin/")
        await page.wait_for_url("**/admin/sign-in")


async def test_the_demos_page_leads_in_and_only_on_this_machine(running: Demo, browser: Browser) -> None:
    async with watched(browser, running.url) as window:
        page = await window.page()
        await page.get_by_role("button", name="Operator’s console").click()
        await page.wait_for_url("**/admin/")
        await expect(page.locator(".who")).to_contain_text("demo-operator")
    refused = [
        {"Host": "demo.example.com"},
        {"X-Forwarded-For": "203.0.113.9"},
        {"Via": "1.1 proxy"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    ]
    async with httpx2.AsyncClient(base_url=running.url, trust_env=False) as http:
        assert (await http.post("/demo/console")).status_code == 303
        assert (await http.get("/demo/console")).status_code == 405
        for headers in refused:
            answer = await http.post("/demo/console", headers=headers)
            assert (answer.status_code, "Set-Cookie" in answer.headers) == (401, False), headers


# --- everyone ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_stands_in_anybodys_way(running: Demo, browser: Browser, scheme: str, tmp_path: Path) -> None:
    async with watched(browser, running.url, color_scheme=scheme) as window:
        await window.context.add_init_script(path=AXE)
        door = await window.page("/admin/")
        assert await door.evaluate(AUDIT) == []
        page = await window.console(running.token())
        await page.get_by_role("switch", name="polling").click()
        await confirm(page, "so that there is a history")
        await page.get_by_label("Subject, or session").fill("")
        await page.get_by_role("button", name="Find").click()
        await page.get_by_role("button", name=re.compile("Explain .*")).first.click()
        await page.locator(".explanation").wait_for()
        await page.get_by_text("Explain for a client that is not connected").click()
        await page.get_by_role("slider", name="sse").press("ArrowRight")
        await page.screenshot(path=tmp_path / f"{scheme}.png", full_page=True)
        assert await page.evaluate(AUDIT) == []
        await page.get_by_role("button", name=re.compile("Restore revision")).first.click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        assert await page.evaluate(AUDIT) == []
        await page.screenshot(path=tmp_path / f"{scheme}-dialog.png")
        await page.keyboard.press("Escape")
        await page.set_viewport_size({"width": 390, "height": 844})
        width = "document.documentElement.scrollWidth"
        await eventually(page, width, lambda wide: wide == 390)
        await page.screenshot(path=tmp_path / f"{scheme}-narrow.png", full_page=True)
        assert await page.evaluate(AUDIT) == []


async def test_many_rollouts_and_long_names_have_room_and_a_drained_gateway_is_seen(
    browser: Browser, tmp_path: Path, redis_url: str
) -> None:
    async with gateway(tmp_path, redis_url) as served, watched(browser, served.url) as window:
        desk = served.worker.desk
        long = "a-name-that-somebody-has-made-as-long-as-such-a-name-can-be-here"
        rollouts = [
            {
                "name": f"{long[:61]}-{number}",
                "when": {"platform": ["x" * 200], "app_version": ">=5.2"},
                "arms": {"control": {"weight": 97.5}, long: {"weight": 2.25}, "third": {"weight": 0.25}},
            }
            for number in range(10, 22)
        ]
        rules = [{"name": "w" * 64, "when": {"sub": [f"somebody-{n}" for n in range(99)]}, "preference": ["sse"]}]
        policy = desk.revisions.document.dump() | {"rollouts": rollouts, "rules": rules}
        body = {"policy": policy, "reason": "why " * 100}
        headers = served.bearer("s" * 200, roles=("admin",)) | {"If-Match": "0"}
        page = await window.console(served.token("o" * 200, roles=("admin",)))
        await expect(page.locator("#rollouts")).to_contain_text("No rollouts")
        await expect(page.locator("#revisions li")).to_have_count(1)
        await page.screenshot(path=tmp_path / "empty.png", full_page=True)
        assert (await served.http.put("/api/v1/admin/policy", json=body, headers=headers)).status_code == 200
        await expect(page.locator(".rollout")).to_have_count(12)
        await expect(page.locator("#revisions li.change")).to_have_count(2)
        for width in (1360, 390):
            await page.set_viewport_size({"width": width, "height": 844})
            await eventually(page, f"document.documentElement.scrollWidth === {width}", bool)
            await page.screenshot(path=tmp_path / f"long-{width}.png", full_page=True)

        await page.get_by_role("button", name=re.compile("Drain ")).click()
        await expect(page.get_by_role("dialog")).to_contain_text("No other gateway is ready")
        await confirm(page, button="Drain")
        await expect(page.locator(".state")).to_have_text("draining")
        await expect(page.locator("#summary")).to_contain_text("0 of 1")


async def test_a_feed_that_is_lost_is_said_and_one_that_is_back_too(
    browser: Browser, tmp_path: Path, redis_url: str
) -> None:
    async with gateway(tmp_path, redis_url) as served:
        url, token = served.url, served.token("olga", roles=("admin",))
        context = watched(browser, url)
        window = await context.__aenter__()
        page = await window.console(token)
    await expect(page.locator("[data-live=lost]")).to_be_visible()
    await expect(page.get_by_role("alert").filter(has_text="live feed is lost")).to_be_visible()
    async with gateway(tmp_path, redis_url, port=int(url.rpartition(":")[2])):
        await expect(page.locator("[data-live=live]")).to_be_visible()
        await expect(page.locator("#feed-lost")).to_be_hidden()
        window.faults.clear()  # the browser has told of each request that failed
        await context.__aexit__(None, None, None)
