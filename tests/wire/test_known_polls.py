"""Polls of clients that are known: answered at once, and the same in every other respect; and when they are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from realtime.delivery.answers import WAIT
from realtime.delivery.head import Heads
from tests.support.clock import stopped_clock
from tests.support.gateway import gateway
from tests.support.waiting import until
from tests.wire.support import LONG_POLL, POLL, check_problem, unique

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2

    from tests.support.gateway import Gateway
    from tests.support.redis import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Poller:
    """A client that polls with the same head again and again."""

    def __init__(self, served: Gateway, credential: str, path: str = POLL) -> None:
        self.served = served
        self.cursor = ""
        self.tag = ""
        """With which its polls are conditional."""
        self._path = path
        self._credential = credential

    def _query(self) -> str:
        ticket = f"ticket={self._credential}&" if "." in self._credential and " " not in self._credential else ""
        return f"{self._path}?{ticket}cursor={self.cursor}"

    def _headers(self) -> dict[str, str]:
        tag = {"If-None-Match": self.tag.format(self.cursor)} if self.tag else {}
        return tag | ({"Authorization": self._credential} if " " in self._credential else {})

    async def poll(self) -> httpx2.Response:
        answer = await self.served.http.get(self._query(), headers=self._headers())
        if answer.status_code == 200:
            self.cursor = answer.json()["cursor"]
        return answer

    def is_known(self) -> bool:
        """Ask as the lane does: whether the next poll would be answered at once."""
        request = self.served.http.build_request("GET", self._query(), headers=self._headers())
        lines = [
            f"GET {self._query()} HTTP/1.1",
            *(f"{name.decode()}: {value.decode()}" for name, value in request.headers.raw),
        ]
        head = Heads().split(("\r\n".join(lines) + "\r\n\r\n").encode())
        assert head is not None
        client = self.served.worker.taker.client(head.key)
        return client is not None and client.answer(head.cursor) not in {None, WAIT}


async def poller(served: Gateway, sub: str = "") -> Poller:
    """Return one that has polled once."""
    client = Poller(served, served.bearer(sub or unique("poller"))["Authorization"])
    client.cursor = (await served.negotiate())["cursor"]
    await client.poll()
    return client


async def test_the_second_poll_is_answered_at_once(plain: Gateway) -> None:
    client = await poller(plain)
    assert client.is_known()
    first, second = await client.poll(), await client.poll()
    assert list(first.json()) == list(second.json()) == ["events", "control", "cursor", "more", "next_poll_ms"]
    assert set(first.headers) == set(second.headers)


async def test_it_has_what_came_meanwhile_each_once(plain: Gateway) -> None:
    sub = unique("poller")
    client = await poller(plain, sub)
    mine, _, last = await plain.publish({"scope": f"user:{sub}"}, {"scope": "user:else"}, {"scope": "broadcast"})
    answer = (await client.poll()).json()
    assert [event["id"] for event in answer["events"]] == [mine, last]
    assert (await client.poll()).json()["events"] == []


async def test_those_who_see_the_same_get_the_same_and_nobody_else_s(plain: Gateway) -> None:
    subs = [unique("poller") for _ in range(3)]
    clients = [await poller(plain, sub) for sub in subs]
    await plain.publish(*({"scope": f"user:{sub}"} for sub in subs), {"scope": "broadcast"})
    scopes = [[event["scope"] for event in (await client.poll()).json()["events"]] for client in clients]
    assert scopes == [[f"user:{sub}", "broadcast"] for sub in subs]


@pytest.mark.parametrize("form", ['W/"{}"', '"{}"'])
async def test_conditional_ones_are_answered_at_once_too(plain: Gateway, form: str) -> None:
    sub = unique("poller")
    client = await poller(plain, sub)
    client.tag = form
    first = await client.poll()
    assert first.status_code == 304
    assert client.is_known()
    second = await client.poll()
    assert (second.status_code, second.content, second.headers["etag"]) == (304, b"", f'W/"{client.cursor}"')
    assert set(second.headers) == set(first.headers)
    assert int(second.headers["retry-after"]) in {5, 6}
    await plain.publish({"scope": "user:else"})  # hidden: nothing to say, and the cursor stays
    assert (await client.poll()).headers["etag"] == f'W/"{client.cursor}"'
    (mine,) = await plain.publish({"scope": f"user:{sub}"})
    told = await client.poll()
    assert [event["id"] for event in told.json()["events"]] == [mine]
    assert told.headers["etag"] == f'W/"{mine}"'
    assert (await client.poll()).status_code == 304
    assert client.is_known()


@pytest.mark.parametrize("form", ['"1-1"', '"1-1", "{}"', "{}", "*", '"x{}"'])
async def test_another_tag_is_another_request(plain: Gateway, form: str) -> None:
    client = await poller(plain)
    client.tag = '"{}"'
    await client.poll()
    client.tag = form
    assert not client.is_known()
    assert (await client.poll()).status_code == (304 if form == '"1-1", "{}"' else 200)


async def test_a_cursor_that_is_old_is_told_anew(wire_valkey: RedisServer, tmp_path: Path) -> None:
    async with gateway(tmp_path, wire_valkey.database(), {"HISTORY__RETENTION": "2s"}) as short:
        client = await poller(short)
        client.tag = '"{}"'

        async def is_told() -> bool:
            return (await client.poll()).status_code == 200

        before = client.cursor
        await until(is_told)
        assert client.cursor >= before


async def test_a_cursor_that_can_t_be_resumed_is_said(plain: Gateway) -> None:
    client = await poller(plain)
    client.cursor = "1-1"
    assert not client.is_known()
    assert [one["event"] for one in (await client.poll()).json()["control"]] == ["history.truncated"]


async def test_a_malformed_one_is_said(plain: Gateway) -> None:
    client = await poller(plain)
    client.cursor = "1-x"
    assert not client.is_known()
    check_problem(await client.poll(), 400, "malformed-parameter")


async def test_a_ticket_is_renewed_in_time(quick: Gateway) -> None:
    with stopped_clock() as clock:
        agreed = await quick.negotiate(unique("poller"))
        client = Poller(quick, agreed["ticket"])
        client.cursor = agreed["cursor"]
        while "ticket" not in (answer := (await client.poll()).json()):
            assert answer["events"] == []
            clock.forward(100)
    assert answer["ticket"] != agreed["ticket"]


async def test_a_session_that_was_ended_is_told(plain: Gateway) -> None:
    agreed = await plain.negotiate(unique("poller"))
    client = Poller(plain, agreed["ticket"])
    client.cursor = agreed["cursor"]
    await client.poll()
    assert client.is_known()
    admin = plain.bearer("olga", roles=("admin",))
    await plain.http.delete(f"/api/v1/admin/connections/{agreed['session']}", headers=admin)
    assert [one["event"] for one in (await client.poll()).json()["control"]] == ["connection.closed"]


async def test_a_revoked_subject_is_refused(plain: Gateway) -> None:
    sub = unique("revoked")
    client = await poller(plain, sub)
    assert client.is_known()
    admin = plain.bearer("olga", roles=("admin",))
    await plain.http.post("/api/v1/admin/revocations", json={"sub": sub}, headers=admin)
    await until(lambda: not client.is_known())
    check_problem(await client.poll(), 401, "bad-credential")


async def test_a_transport_that_is_switched_off_is_refused(wire_valkey: RedisServer, tmp_path: Path) -> None:
    async with gateway(tmp_path, wire_valkey.database()) as switched:
        client = await poller(switched)
        assert client.is_known()
        admin = switched.bearer("olga", roles=("admin",))
        switch = "/api/v1/admin/transports/polling"
        await switched.http.patch(switch, json={"enabled": False}, headers=admin)
        assert not client.is_known()
        check_problem(await client.poll(), 409, "transport-not-offered")
        await switched.http.patch(switch, json={"enabled": True}, headers=admin)
        await client.poll()
        assert client.is_known()


async def test_one_that_waits_is_not_answered_at_once(plain: Gateway) -> None:
    agreed = await plain.negotiate(unique("poller"))
    client = Poller(plain, agreed["ticket"], LONG_POLL)
    client.cursor = agreed["cursor"]
    await plain.publish({"scope": "broadcast"})
    assert len((await client.poll()).json()["events"]) == 1
    assert not client.is_known()


async def test_they_are_counted_as_all_others_are(plain: Gateway) -> None:
    client = await poller(plain, unique("counted"))
    await plain.publish({"scope": "broadcast"})

    async def counts() -> dict[str, float]:
        text = (await plain.http.get("/metrics")).text
        wanted = (
            'gapless_attaches_total{outcome="accepted",transport="polling"}',
            f'gapless_http_requests_total{{method="GET",route="{POLL}",status="200"}}',
            f'gapless_http_requests_total{{method="GET",route="{POLL}",status="304"}}',
            'gapless_deliveries_total{transport="polling"}',
            'gapless_resumes_total{source="window"}',
        )
        return {
            name: float(line.rpartition(" ")[2])
            for line in text.splitlines()
            for name in wanted
            if line.startswith(name)
        }

    before = await counts()
    answers = [await client.poll() for _ in range(3)]
    client.tag = '"{}"'
    assert [(await client.poll()).status_code for _ in range(2)] == [304, 304]
    after = await counts()
    grown = [after[name] - before[name] for name in before]
    assert len(answers[0].json()["events"]) == 1
    assert sorted(grown) == [1, 2, 3, 5, 5]
