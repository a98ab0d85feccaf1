"""Operations: `/livez`, `/readyz`, and `GET /api/v1/events/health` (PROTOCOL §4, Operations)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest
import pytest_asyncio

from realtime.app import Worker
from realtime.connect import connect
from realtime.revision import Revision
from tests.support.gateway import gateway, settings
from tests.support.metrics import scrape
from tests.support.redis import RedisServer
from tests.support.waiting import until
from tests.wire.support import APP, EVENTS, TICKET, check_problem

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

HEALTH = f"{EVENTS}/health"


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def awake(plain: Gateway, public: Gateway) -> None:
    """Both stood still while tests on other event loops ran, and may just find that Redis had answered long ago."""
    await until(lambda: is_well(plain))
    await until(lambda: is_well(public))


async def is_well(served: Gateway) -> bool:
    answer = await served.http.get(HEALTH, headers=served.bearer())
    return bool(answer.json()["status"] == "ok")


@pytest.mark.parametrize("roles", [None, (), ("publisher",)])
async def test_everybody_sees_the_status_and_nothing_else(plain: Gateway, roles: tuple[str, ...] | None) -> None:
    answer = await plain.http.get(HEALTH, headers={} if roles is None else plain.bearer(roles=roles))
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok"}
    assert answer.headers["cache-control"] == "no-store"


async def test_a_bad_credential_is_refused(plain: Gateway) -> None:
    check_problem(await plain.http.get(HEALTH, headers={"Authorization": "Bearer no"}), 401, "bad-credential")


@pytest.mark.parametrize("role", ["viewer", "admin"])
async def test_viewers_and_admins_see_what_it_is_about(plain: Gateway, role: str) -> None:
    await plain.publish({})
    headers = plain.bearer("somebody", roles=(role,))
    async with plain.stream(plain.bearer()) as stream:
        await stream.envelope("connection.established")
        seen = (await plain.http.get(HEALTH, headers=headers)).json()
    assert seen["status"] == "ok"
    assert seen["gateway"] == plain.worker.member.gateway
    assert (seen["worker"], seen["ready"], seen["draining"]) == (1, True, False)
    assert seen["redis"]["reachable"] is True
    assert seen["redis"]["round_trip_ms"] > 0
    assert int(seen["redis"]["version"].split(".")[0]) >= 7
    assert seen["connections"]["gateway"]["sse"] >= 1
    assert seen["connections"]["fleet"]["sse"] >= seen["connections"]["gateway"]["sse"]
    assert seen["workers"] == {"1": seen["connections"]["gateway"]}
    assert seen["follower"]["lag_ms"] == 0
    assert seen["follower"]["away"] is False
    assert seen["window"]["events"] >= 1
    assert seen["window"]["bytes"] > 0
    assert seen["policy"] == {"revision": 0, "stale": False, "unread": 0}
    assert "somebody" not in json.dumps(seen)


async def test_a_viewers_ticket_and_cookie_show_it_too(public: Gateway) -> None:
    ticket = (await public.negotiate("v", roles=("viewer",)))["ticket"]
    assert "redis" in (await public.http.get(HEALTH, params={"ticket": ticket})).json()
    given = await public.http.post(TICKET, json={"cookie": True}, headers=public.bearer("v", roles=("viewer",)))
    cookie = given.headers["set-cookie"].split(";")[0]
    assert "redis" in (await public.http.get(HEALTH, headers={"Cookie": cookie, "Origin": APP})).json()
    elsewhere = {"Cookie": cookie, "Origin": "https://evil.example.com"}
    assert (await public.http.get(HEALTH, headers=elsewhere)).json() == {"status": "ok"}


async def test_connections_of_the_gateway_and_of_the_fleet(tmp_path: Path, redis_url: str) -> None:
    async with gateway(tmp_path / "a", redis_url) as one, gateway(tmp_path / "b", redis_url) as two:
        viewer = one.bearer("v", roles=("viewer",))
        async with one.stream(one.bearer()) as here, two.stream(two.bearer()) as there:
            await here.envelope("connection.established")
            await there.envelope("connection.established")

            async def both_are_known() -> bool:
                seen = (await one.http.get(HEALTH, headers=viewer)).json()
                return bool(
                    seen["connections"] == {"gateway": {"sse": 1}, "fleet": {"sse": 2}} and seen["gateways"] == 2
                )

            await until(both_are_known)


async def test_without_redis_it_is_degraded_and_stays_ready(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    await server.start()
    async with gateway(tmp_path / "gateway", server.url, {"REDIS__TIMEOUT": "300ms"}) as running:
        server.kill()

        async def is_degraded() -> bool:
            return bool((await running.http.get(HEALTH)).json() == {"status": "degraded"})

        await until(is_degraded)
        seen = await running.http.get(HEALTH, headers=running.bearer("v", roles=("viewer",)))
        assert seen.status_code == 200
        assert seen.json()["redis"]["reachable"] is False
        assert seen.json()["follower"]["away"] is True
        assert (await running.http.get("/readyz")).status_code == 200, "who is connected is served on"
        assert (await running.http.get("/livez")).json() == {"status": "ok"}
    server.stop()


async def test_a_gateway_that_can_read_no_policy_is_not_ready_and_says_why(tmp_path: Path, redis_url: str) -> None:
    newer = msgspec.json.encode(Revision(7, {"moods": ["good"]}, "alice", 0, "a newer version"))
    async with connect(redis_url, 1, 1) as redis:
        await redis.xadd("{gapless:control}:policy", {"r": newer}, id="7-0")
    worker = Worker(settings(tmp_path, redis_url), redis_url)
    await worker.start()
    try:
        client = worker.quart.test_client()
        await until(lambda: worker.engine.follower.filled and worker.revisions.unread == 7)
        refused = await client.get("/readyz")
        assert refused.status_code == 503
        assert "neither revision 7 of the policy nor any before it" in (await refused.get_json(force=True))["detail"]
        assert (await (await client.get(HEALTH)).get_json()) == {"status": "degraded"}
        viewer = {"Authorization": f"Bearer {worker.credentials.mint('v', ('viewer',))}"}
        seen = await (await client.get(HEALTH, headers=viewer)).get_json()
        assert seen["policy"] == {"revision": 0, "stale": True, "unread": 7}
    finally:
        await worker.stop()


async def test_while_it_drains_it_is_not_ready(tmp_path: Path, redis_url: str) -> None:
    async with gateway(tmp_path, redis_url, {"SERVER__DRAIN": "30s"}) as running:
        admin = running.bearer("root", roles=("admin",))
        name = running.worker.member.gateway
        await until(lambda: running.worker.desk.fleet.knows(name))
        drained = await running.http.post(f"/api/v1/admin/gateways/{name}/drain", headers=admin)
        assert drained.status_code == 202, drained.text

        async def is_red() -> bool:
            return (await running.http.get("/readyz")).status_code == 503

        await until(is_red)
        check_problem(await running.http.get("/readyz"), 503, "draining")
        assert (await running.http.get("/livez")).status_code == 200
        seen = (await running.http.get(HEALTH, headers=admin)).json()
        assert (seen["status"], seen["ready"], seen["draining"]) == ("degraded", False, True)


async def test_a_task_that_keeps_ending_takes_readiness_down(tmp_path: Path, valkey: RedisServer) -> None:
    async def broken() -> None:
        raise ValueError("a fault of ours")

    async with gateway(tmp_path, valkey.database()) as served:
        served.worker.engine.supervisor.start("broken", broken)

        async def is_told() -> bool:
            return (await served.http.get("/readyz")).status_code == 503

        await until(is_told)
        answer = await served.http.get("/readyz")
        check_problem(answer, 503, "not-ready")
        assert "broken" in answer.json()["detail"]
        health = (await served.http.get(HEALTH, headers=served.bearer(roles=("viewer",)))).json()
        assert (health["status"], health["tasks"]["failing"]) == ("degraded", ["broken"])
        assert health["tasks"]["restarts"]["broken"] >= 5
        assert (await scrape(served.http)).sum("failing_tasks") == 1
