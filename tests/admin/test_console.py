"""What the console shows and does, by HTTP: each act asks first, is the desk's, and says in words what came of it."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from html import unescape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

from tests.admin.console import signed_in
from tests.support.gateway import Gateway, gateway
from tests.support.redis import RedisServer
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2

HOSTILE = "\"><img src=x onerror=alert(1)>'{{7*7}}"
ROLLOUT = {
    "name": "sse-on-android",
    "when": {"platform": ["android"]},
    "arms": {"control": {"weight": 80, "preference": ["polling"]}, "sse": {"weight": 20, "preference": ["sse"]}},
}
OFF = {"act": "switch", "name": "sse", "enabled": "off"}


def revision(served: Gateway) -> str:
    return str(served.worker.desk.revisions.current.number)


def words(answer: httpx2.Response) -> str:
    """Return what a person reads of a fragment."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", answer.text)).split())


def done(answer: httpx2.Response) -> str:
    assert answer.status_code == 204, answer.text
    told: str = json.loads(answer.headers["HX-Trigger"])["console-acted"]["message"]
    return told


async def put(served: Gateway, **changes: Any) -> None:  # noqa: ANN401 - parts of a policy
    desk = served.worker.desk
    headers = served.bearer("root", roles=("admin",)) | {"If-Match": revision(served)}
    body = {"policy": desk.revisions.document.dump() | changes, "reason": "for the test"}
    answer = await served.http.put("/api/v1/admin/policy", json=body, headers=headers)
    assert answer.status_code == 200, answer.text


# --- changing the policy ----------------------------------------------------------------------------------------------


async def test_a_switch_says_whom_it_moves_and_then_moves_them(served: Gateway) -> None:
    told = await served.negotiate("7", {"client": {"id": "a"}})
    async with signed_in(served) as person, served.stream({}, ticket=told["ticket"]) as stream:
        await stream.envelope("connection.established")
        asked = await person.post("ask", {**OFF, "revision": "0"})
        assert "Moves 1 of 1 connection: sse → long-poll: 1" in words(asked)
        assert "transports.sse.enabled true became false" in words(asked)
        assert revision(served) == "0"
        answer = await person.post("act", {**OFF, "revision": "0", "reason": "trial"})
        assert done(answer) == "sse is switched off: revision 1 is in force"
        assert (await stream.envelope("transport.changed"))["data"]["code"] == "policy-changed"
    current = served.worker.desk.revisions.current
    assert (current.by, current.reason) == ("olga", "trial")


async def test_a_rollout_is_ramped(served: Gateway) -> None:
    await put(served, rollouts=[ROLLOUT])
    form = {"act": "ramp", "name": "sse-on-android", "weight.sse": "30", "weight.control": "70", "revision": "1"}
    async with signed_in(served) as person:
        asked = await person.post("ask", form)
        assert "arms.sse.weight 20 became 30" in words(asked)
        assert done(await person.post("act", form)) == "sse-on-android has other weights: revision 2 is in force"
        wrong = await person.post("ask", {**form, "weight.sse": "31", "revision": "2"})
        assert (wrong.status_code, "sum to 100" in words(wrong)) == (422, True)
        nothing = await person.post("ask", {**form, "revision": "2"})
        assert "Nothing would change" in words(nothing)


async def test_history_tells_who_when_why_and_what_and_leads_back(served: Gateway) -> None:
    async with signed_in(served) as person:
        await person.post("act", {**OFF, "revision": "0", "reason": "a broken proxy"})
        history = words(await person.get("parts/history"))
        assert "1 olga" in history
        assert "a broken proxy" in history
        assert "transports.sse.enabled true became false" in history
        back = {"act": "restore", "number": "0", "revision": "1"}
        assert "transports.sse.enabled false became true" in words(await person.post("ask", back))
        assert done(await person.post("act", back)) == "Restored the configuration: revision 2 is in force"
        assert served.worker.desk.revisions.document.transports["sse"].enabled
        again = {"act": "restore", "number": "1", "revision": "2"}
        assert done(await person.post("act", again)) == "Restored revision 1: revision 3 is in force"


async def test_history_goes_on_page_by_page(served: Gateway) -> None:
    async with signed_in(served) as person:
        for number in range(23):
            form = {
                **OFF,
                "enabled": "on" if number % 2 else "off",
                "revision": str(number),
                "reason": f"why {number}.",
            }
            done(await person.post("act", form))
        page = await person.get("parts/history")
        older = re.search(r'hx-get="(parts/history\?before=(\d+))"', page.text)
        assert older is not None
        assert (older[2], "why 22." in page.text, "why 2." in page.text) == ("14", True, False)
        rest = await person.get(older[1])
        assert "<ol" not in rest.text
        assert [number for number in range(23) if f"why {number}." in rest.text] == [3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
        last = await person.get("parts/history?before=4")
        assert [number for number in range(23) if f"why {number}." in last.text] == [0, 1, 2]
        assert "the configuration" in last.text


@pytest.mark.parametrize("step", ["ask", "act"])
async def test_who_was_overtaken_is_told_in_words_and_changes_nothing(served: Gateway, step: str) -> None:
    async with signed_in(served) as person, signed_in(served, sub="ida") as other:
        done(await other.post("act", {**OFF, "name": "polling", "revision": "0"}))
        late = await person.post(step, {**OFF, "revision": "0"})
        assert late.status_code == 412
        assert late.headers["HX-Trigger"] == "console-stale"
        assert "Somebody else was faster" in words(late)
        assert "revision 1 is in force now" in words(late)
        assert revision(served) == "1"


@pytest.mark.parametrize(
    ("form", "status", "said"),
    [
        ({}, 422, "act: one of"),
        ({"act": "none"}, 422, "act: one of"),
        ({"act": "switch"}, 422, "name: a value is expected"),
        ({**OFF}, 428, "reload the page"),
        ({**OFF, "revision": "x"}, 422, "revision: a whole number"),
        ({**OFF, "name": "carrier-pigeon", "revision": "0"}, 404, "no transport"),
        ({"act": "restore", "number": "99", "revision": "0"}, 404, "no revision 99"),
        ({"act": "restore", "number": "-1", "revision": "0"}, 422, "number: a whole number"),
        ({"act": "ramp", "name": "none", "weight.a": "1", "revision": "0"}, 404, "no rollout"),
        ({"act": "ramp", "name": "none", "weight.a": "much", "revision": "0"}, 422, "a number of percent"),
        ({"act": "drain", "gateway": "none"}, 404, "no gateway"),
        ({"act": "dismiss", "session": "none"}, 404, "not connected any more"),
        ({"act": "revoke", "sub": "a b"}, 422, "not a name"),
        ({"act": "revoke", "sub": "a", "term": "ever"}, 422, "term: one of"),
    ],
)
async def test_what_cannot_be_done_is_refused_in_words(
    served: Gateway, form: dict[str, str], status: int, said: str
) -> None:
    async with signed_in(served) as person:
        answer = await person.post("ask", form)
        assert (answer.status_code, said in words(answer)) == (status, True), answer.text
        assert 'id="question-title"' in answer.text


async def test_a_viewer_sees_everything_and_changes_nothing(served: Gateway) -> None:
    await put(served, rollouts=[ROLLOUT])
    async with signed_in(served, "viewer") as person:
        page = await person.get("")
        assert "You are signed in as a viewer" in page.text
        buttons = re.findall(r"<button[^>]*>", page.text)
        writing = [one for one in buttons if 'role="switch"' in one or "Drain" in one or "Restore" in one]
        assert len(writing) >= 5
        assert all("disabled" in one for one in writing)
        assert "<fieldset disabled>" in page.text
        for act in (OFF, {"act": "drain", "gateway": "x"}, {"act": "revoke", "sub": "a"}):
            for step in ("ask", "act"):
                answer = await person.post(step, {**act, "revision": "1"})
                assert answer.status_code == 403
        assert "Nobody is connected." in words(await person.post("clients", {"who": ""}))
        assert (await person.post("explain", {"sub": "1"})).status_code == 200
    assert revision(served) == "1"


# --- clients and gateways ---------------------------------------------------------------------------------------------


async def test_why_is_user_42_on_polling(served: Gateway) -> None:
    said = {"failed": [{"transport": "sse", "reason": "buffered"}, {"transport": "long-poll", "reason": "timeout"}]}
    told = await served.negotiate("42", {**said, "client": {"platform": "web", "app_version": "5.2"}})
    await served.http.get("/api/v1/events/poll", params={"ticket": told["ticket"], "cursor": told["cursor"]})
    async with signed_in(served) as person:
        found = await person.post("clients", {"who": "42"})
        assert "1 connection of 42 ." in words(found)
        assert "42 polling web · 5.2" in words(found)
        by_session = await person.post("clients", {"who": told["session"]})
        assert "42 polling" in words(by_session)
        why = words(await person.post("explain/session", {"session": told["session"]}))
        assert "It is on polling, as decided." in why
        assert "failed the client reports that" in why
        gone = await person.post("explain/session", {"session": "gone"})
        assert (gone.status_code, "not connected any more" in words(gone)) == (404, True)


async def test_a_client_that_may_come_is_explained(served: Gateway) -> None:
    rule = {"name": "phones", "when": {"platform": ["ios"], "role": ["beta"]}, "preference": ["polling"]}
    await put(served, rules=[rule])
    form = {"sub": "9", "roles": "staff, beta", "platform": "ios", "app_version": "", "failed": "long-poll"}
    async with signed_in(served) as person:
        why = words(await person.post("explain", form))
        assert "This client would be told to use polling." in why
        assert 'the rule "phones" prefers polling' in why
        wrong = await person.post("explain", {"sub": "a b"})
        assert (wrong.status_code, "sub:" in words(wrong)) == (422, True)
        nothing = await person.post("explain", {"transports": "none"})
        assert "No transport is left" in words(nothing)


async def test_a_client_is_disconnected_and_revoked_and_let_back(served: Gateway) -> None:
    async with signed_in(served) as person, served.stream(served.bearer("7")) as stream:
        session = (await stream.envelope("connection.established"))["data"]["session"]
        act = {"act": "dismiss", "session": session}
        assert "Ends what 7 has open on sse" in words(await person.post("ask", act))
        assert done(await person.post("act", act)) == "Disconnected: 1 connection"
        assert (await stream.envelope("connection.closed"))["data"]["code"] == "closed-by-admin"

        act = {"act": "revoke", "sub": "7", "term": "a day", "reason": "left the company"}
        assert "Refuses 7 for a day" in words(await person.post("ask", act))
        assert done(await person.post("act", act)) == "7 is refused for a day"
        refused = await served.http.get("/api/v1/events/poll", headers=served.bearer("7"))
        assert refused.status_code == 401
        assert "left the company" in words(await person.get("parts/revocations"))
        act = {"act": "lift", "of": "sub", "name": "7"}
        assert "may come back" in words(await person.post("ask", act))
        assert done(await person.post("act", act)) == "7 may come back"
        assert "Nobody is refused." in words(await person.get("parts/revocations"))


async def test_a_gateway_is_drained_and_the_console_goes_on(served: Gateway) -> None:
    name = served.worker.member.gateway
    act = {"act": "drain", "gateway": name}
    async with signed_in(served) as person:
        asked = words(await person.post("ask", act))
        assert "No other gateway is ready" in asked
        assert done(await person.post("act", act)) == f"{name} drains"

        async def drains() -> bool:
            return "draining" in words(await person.get("parts/gateways"))

        await until(drains)
        assert (await served.http.get("/readyz")).status_code == 503


# --- what is shown ----------------------------------------------------------------------------------------------------


async def test_what_others_wrote_is_shown_as_text(served: Gateway) -> None:
    told = await served.negotiate("<b>7</b>", {"client": {"platform": HOSTILE, "id": HOSTILE}})
    await served.http.get("/api/v1/events/poll", params={"ticket": told["ticket"], "cursor": told["cursor"]})
    await put(served, rules=[{"name": HOSTILE[:60], "when": {"platform": [HOSTILE]}, "preference": ["sse"]}])
    async with signed_in(served, sub="<i>olga</i>") as person:
        await person.post("act", {**OFF, "revision": "1", "reason": HOSTILE})
        await person.post("act", {"act": "revoke", "sub": "<u>x</u>", "reason": HOSTILE})
        answers = [
            await person.get(""),
            await person.get("parts/history"),
            await person.get("parts/status"),
            await person.get("parts/revocations"),
            await person.post("clients", {"who": ""}),
            await person.post("clients", {"who": HOSTILE}),
            await person.post("explain/session", {"session": told["session"]}),
            await person.post("explain", {"sub": HOSTILE.replace(" ", "")}),
            await person.post("ask", {"act": "drain", "gateway": HOSTILE}),
            await person.post("ask", {"act": "restore", "number": "0", "revision": "2"}),
        ]
    for answer in answers:
        assert not [tag for tag in ("<img", "<b>7", "<i>olga", "<u>x") if tag in answer.text]
    assert HOSTILE in words(answers[1])
    assert HOSTILE in unescape(answers[4].text)
    assert "<b>7</b>" in unescape(answers[4].text)


async def test_what_is_known_is_shown_while_redis_is_away_and_is_said_to_be_old(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path / "redis")
    await redis.start()
    try:
        async with gateway(tmp_path, redis.url) as served, signed_in(served) as person:
            assert "Redis does not answer" not in words(await person.get(""))
            redis.kill()

            async def is_old() -> bool:
                return "Redis does not answer" in words(await person.get("parts/status"))

            await until(is_old)
            page = words(await person.get(""))
            assert "The history can't be read" in page
            assert "sse on" in page
            late = await person.post("act", {**OFF, "revision": "0"})
            assert (late.status_code, "The event log can't be reached" in words(late)) == (503, True)
            await redis.start()

            async def is_new() -> bool:
                return not await is_old()

            await until(is_new)
    finally:
        redis.stop()


async def test_a_demo_has_no_way_in_elsewhere(tmp_path: Path, redis_url: str) -> None:
    async with gateway(tmp_path, redis_url) as served:
        assert (await served.http.post("/demo/console")).status_code == 404


def test_vendored_files_are_those_that_are_listed() -> None:
    vendor = files("admin") / "static" / "vendor"
    listed = re.findall(r"\| `([\w.]+)` \| .*`([\w.]+)` \| `(\w{64})` \|", (vendor / "VENDORED.md").read_text())
    assert {name for name, _, _ in listed} == {
        one.name for one in vendor.iterdir() if one.name.endswith((".js", ".css"))
    }
    for name, licence, digest in listed:
        assert sha256((vendor / name).read_bytes()).hexdigest() == digest
        assert (vendor / licence).is_file()


def test_nothing_of_the_pages_is_inline_or_from_elsewhere() -> None:
    pages = [*(files("admin") / "templates").iterdir(), *(files("admin") / "templates" / "parts").iterdir()]
    for page in pages:
        if page.is_file():
            text = page.read_text()
            assert not re.search(r"\son\w+=|\sstyle=|<style|javascript:|https?://|\|\s*safe", text), page.name
            assert not re.search(r"<script(?![^>]*\ssrc=)", text), page.name
