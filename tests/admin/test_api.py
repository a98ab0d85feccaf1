"""The admin API, call by call (PROTOCOL §4, Admin): who may, what is answered, what is refused and how it is named."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.waiting import until
from tests.wire.support import TICKET, check_problem, unique

if TYPE_CHECKING:
    import httpx2

    from tests.support.gateway import Gateway
    from tests.support.operator import Operator

pytestmark = pytest.mark.asyncio(loop_scope="session")

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ROLLOUT = {"name": "polls", "arms": {"control": {"weight": 80}, "polls": {"weight": 20, "preference": ["polling"]}}}
READS = ("/policy", "/policy/revisions", "/connections", "/revocations", "/gateways")
ASKS: tuple[tuple[str, str, object], ...] = (
    ("POST", "/policy/preview", {"policy": {}}),
    ("POST", "/explain", {"sub": "42"}),
)
WRITES: tuple[tuple[str, str, object], ...] = (
    ("PUT", "/policy", {"policy": {}}),
    ("PATCH", "/transports/sse", {"enabled": True}),
    ("PATCH", "/rollouts/polls", {"weights": {"polls": 20}}),
    ("POST", "/policy/revisions/1/restore", {}),
    ("DELETE", "/connections/a-session", None),
    ("POST", "/revocations", {"sub": "nobody"}),
    ("DELETE", "/revocations/sub/nobody", None),
    ("POST", "/gateways/a-gateway/drain", None),
)
EVERYTHING = (*(("GET", path, None) for path in READS), *ASKS, *WRITES)


def named(value: object) -> str | None:
    return value if isinstance(value, str) else None


# Who may


@pytest.mark.parametrize(("method", "path", "json"), EVERYTHING, ids=named)
async def test_nobody_comes_in_without_a_token_of_the_role(desk: Gateway, method: str, path: str, json: object) -> None:
    url = f"/api/v1/admin{path}"

    async def refused(status: int, code: str, headers: dict[str, str], **query: str) -> None:
        check_problem(await desk.http.request(method, url, json=json, headers=headers, params=query), status, code)

    await refused(401, "credential-required", {})
    await refused(403, "role-not-held", desk.bearer())
    await refused(403, "role-not-held", desk.bearer(roles=("publisher", "Admin")))
    await refused(401, "bad-credential", {"Authorization": "Bearer nonsense"})
    admin = desk.bearer(roles=("admin",))
    ticket = (await desk.http.post(TICKET, json={}, headers=admin)).json()["ticket"]
    await refused(401, "credential-required", {}, ticket=ticket)
    await refused(401, "bad-credential", {"Authorization": f"Bearer {ticket}"})
    cookie = (await desk.http.post(TICKET, json={"cookie": True}, headers=admin)).headers["set-cookie"]
    desk.http.cookies.clear()
    await refused(401, "credential-required", {"Cookie": cookie.partition(";")[0]})


@pytest.mark.parametrize(("method", "path", "json"), WRITES, ids=named)
async def test_a_viewer_may_not_write(viewer: Operator, method: str, path: str, json: object) -> None:
    answer = await viewer.call(method, path, json, if_match="*")
    assert "'admin'" in check_problem(answer, 403, "role-not-held")["detail"]


@pytest.mark.parametrize("path", READS)
async def test_a_viewer_may_read(viewer: Operator, path: str) -> None:
    answer = await viewer.call("GET", path)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")


@pytest.mark.parametrize(("method", "path", "json"), ASKS, ids=named)
async def test_a_viewer_may_ask(viewer: Operator, method: str, path: str, json: object) -> None:
    assert (await viewer.call(method, path, json)).status_code == 200


# The policy


async def read(admin: Operator) -> tuple[dict[str, Any], str]:
    answer = await admin.call("GET", "/policy")
    body: dict[str, Any] = answer.json()
    return body, answer.headers["etag"]


async def put(admin: Operator, policy: object, if_match: str, **more: object) -> httpx2.Response:
    return await admin.call("PUT", "/policy", {"policy": policy, **more}, if_match=if_match)


async def test_the_policy_is_told_with_who_when_why_and_its_tag(admin: Operator) -> None:
    await admin.prefer("sse", "polling")
    body, tag = await read(admin)
    assert set(body) == {"revision", "updated_by", "updated_at", "reason", "policy", "stale"}
    assert (body["updated_by"], body["reason"], body["stale"]) == ("alice", "a test", False)
    assert TIME.fullmatch(body["updated_at"])
    assert tag == f'"{body["revision"]}"'
    assert (await put(admin, body["policy"], tag)).json()["revision"] == body["revision"], "it is what it takes"


async def test_a_change_says_which_revision_it_changes(admin: Operator) -> None:
    body, tag = await read(admin)
    policy = {**body["policy"], "move_within": "4321ms"}
    answer = await admin.call("PUT", "/policy", {"policy": policy})
    check_problem(answer, 428, "precondition-required")
    for malformed in ("", "seventeen", '"1', "1.5", '"1" "2"', "-1", '"a b"', 'w/"1"'):
        check_problem(await put(admin, policy, malformed), 400, "malformed-parameter")
    stale = await put(admin, policy, f'"{body["revision"] + 1}"')
    assert check_problem(stale, 412, "precondition-failed")["revision"] == body["revision"]
    answer = await put(admin, policy, tag, reason="because")
    assert (answer.status_code, answer.json()["reason"]) == (200, "because")
    assert answer.headers["etag"] == f'"{body["revision"] + 1}"'
    check_problem(await put(admin, {**policy, "move_within": "1s"}, tag), 412, "precondition-failed")


@pytest.mark.parametrize("form", ["{}", '"{}"', 'W/"{}"', "*"])
async def test_the_tag_may_be_written_as_http_has_it(admin: Operator, form: str) -> None:
    body, _ = await read(admin)
    policy = {**body["policy"], "retry_max": f"{31 + body['revision']}s"}
    assert (await put(admin, policy, form.format(body["revision"]))).status_code == 200


FAULTS: dict[str, dict[str, object]] = {
    "policy.preference": {"preference": []},
    "policy.preference[1]": {"preference": ["sse", "ssee"]},
    "policy.prefrence": {"prefrence": ["sse"]},
    "policy.move_within": {"move_within": "soon"},
    "policy.fallback_retry_after": {"fallback_retry_after": -1},
    "policy.retry_base": {"retry_base": True},
    "policy.retry_max": {"retry_base": "10s", "retry_max": "1s"},
    "policy.transports.sse.enabled": {"transports": {"sse": {"enabled": "yes"}}},
    "policy.transports.sse.heartbeat": {"transports": {"sse": {"heartbeat": "1ms"}}},
    "policy.transports.sse.hold": {"transports": {"sse": {"hold": "1s"}}},
    "policy.transports.ssee": {"transports": {"ssee": {"enabled": True}}},
    "policy.rules[0].name": {"rules": [{"preference": ["sse"]}]},
    "policy.rules[0].when.platfrom": {"rules": [{"name": "a", "when": {"platfrom": ["ios"]}, "preference": ["sse"]}]},
    "policy.rules[0].when.app_version": {"rules": [{"name": "a", "when": {"app_version": "5"}, "preference": ["sse"]}]},
    "policy.rules[1].name": {"rules": [{"name": "a", "preference": ["sse"]}, {"name": "a", "preference": ["sse"]}]},
    "policy.rollouts[0].arms": {"rollouts": [{"name": "r", "arms": {"a": {"weight": 99}}}]},
    "policy.rollouts[0].arms.a.weight": {"rollouts": [{"name": "r", "arms": {"a": {"weight": "all"}}}]},
    "policy.rollouts[0].name": {"rollouts": [{"name": "A Name", "arms": {"a": {"weight": 100}}}]},
}


@pytest.mark.parametrize("field", FAULTS)
@pytest.mark.parametrize("call", ["put", "preview"])
async def test_each_field_that_is_wrong_is_named(admin: Operator, field: str, call: str) -> None:
    policy = FAULTS[field]
    before, _ = await read(admin)
    if call == "put":
        answer = await put(admin, policy, "*")
    else:
        answer = await admin.call("POST", "/policy/preview", {"policy": policy})
    problem = check_problem(answer, 422, "invalid-field")
    assert problem["field"] == field
    assert field in problem["detail"]
    assert (await read(admin))[0] == before


@pytest.mark.parametrize(("wrong", "near"), [("prefrence", "preference"), ("rolouts", "rollouts")])
async def test_the_nearest_name_is_offered(admin: Operator, wrong: str, near: str) -> None:
    assert near in check_problem(await put(admin, {wrong: []}, "*"), 422, "invalid-field")["detail"]


BODIES: tuple[tuple[str, str, object, str], ...] = (
    ("PUT", "/policy", {}, "policy"),
    ("PUT", "/policy", {"policy": []}, "policy"),
    ("PUT", "/policy", {"policy": {}, "reason": 1}, "reason"),
    ("PUT", "/policy", {"policy": {}, "reason": "x" * 501}, "reason"),
    ("PUT", "/policy", {"policy": {}, "why": "so"}, "why"),
    ("PUT", "/policy", [], "body"),
    ("PATCH", "/transports/sse", {}, "enabled"),
    ("PATCH", "/transports/sse", {"enabled": "false"}, "enabled"),
    ("PATCH", "/transports/sse", {"enabled": True, "heartbeat": "1s"}, "heartbeat"),
    ("PATCH", "/rollouts/polls", {}, "weights"),
    ("PATCH", "/rollouts/polls", {"weights": {}}, "weights"),
    ("PATCH", "/rollouts/polls", {"weights": {"polls": "20"}}, "weights.polls"),
    ("PATCH", "/rollouts/polls", {"weights": {"polls": True}}, "weights.polls"),
    ("PATCH", "/rollouts/polls", {"weights": {"pols": 20}}, "weights.pols"),
    ("PATCH", "/rollouts/polls", {"weights": {"polls": 30}}, "weights"),
    ("PATCH", "/rollouts/polls", {"weights": {"polls": -1, "control": 101}}, "weights"),
    ("PATCH", "/rollouts/polls", {"weights": {"polls": 0.001, "control": 99.999}}, "weights"),
    ("POST", "/policy/revisions/1/restore", {"reason": None}, "reason"),
    ("POST", "/policy/preview", {}, "policy"),
    ("POST", "/explain", {"sub": ""}, "sub"),
    ("POST", "/explain", {"sub": "a,b"}, "sub"),
    ("POST", "/explain", {"roles": "admin"}, "roles"),
    ("POST", "/explain", {"channel": "a b"}, "channel"),
    ("POST", "/explain", {"client": {"platform": 1}}, "client.platform"),
    ("POST", "/revocations", {}, "sub"),
    ("POST", "/revocations", {"sub": "a", "jti": "b"}, "sub"),
    ("POST", "/revocations", {"sub": "a b"}, "sub"),
    ("POST", "/revocations", {"jti": ""}, "jti"),
    ("POST", "/revocations", {"sub": "nobody", "until": "tomorrow"}, "until"),
    ("POST", "/revocations", {"sub": "nobody", "until": "2001-01-01T00:00:00Z"}, "until"),
    ("POST", "/revocations", {"sub": "nobody", "until": 10**18}, "until"),
    ("POST", "/revocations", {"sub": "nobody", "until": -1}, "until"),
    ("POST", "/revocations", {"sub": "nobody", "until": True}, "until"),
    ("POST", "/revocations", {"sub": "nobody", "until": 1.5}, "until"),
    ("POST", "/revocations", {"sub": "nobody", "reason": []}, "reason"),
)


@pytest.mark.parametrize(("method", "path", "json", "field"), BODIES, ids=str)
async def test_each_field_of_a_body_that_is_wrong_is_named(
    admin: Operator, method: str, path: str, json: object, field: str
) -> None:
    await admin.change(lambda policy: policy.update(rollouts=[ROLLOUT]))
    problem = check_problem(await admin.call(method, path, json, if_match="*"), 422, "invalid-field")
    assert problem["field"] == field
    assert [one for one in (await admin.get("/revocations"))["revocations"] if one.get("sub") == "nobody"] == []


async def test_a_body_that_is_not_json_is_the_asker_s_fault(desk: Gateway, admin: Operator) -> None:
    headers = {**admin.headers, "If-Match": "*"}
    answer = await desk.http.put("/api/v1/admin/policy", content=b"{policy", headers=headers)
    check_problem(answer, 400, "malformed-body")


# Switches and ramps


async def test_a_switch_keeps_everything_else(admin: Operator) -> None:
    await admin.change(lambda policy: policy["transports"]["sse"].update(heartbeat="7s"))
    before, _ = await read(admin)
    answer = await admin.call("PATCH", "/transports/sse", {"enabled": False, "reason": "a proxy buffers"})
    body = answer.json()
    assert answer.headers["etag"] == f'"{before["revision"] + 1}"'
    assert body["policy"]["transports"]["sse"] == {"enabled": False, "heartbeat": "7s"}
    assert body["reason"] == "a proxy buffers"
    before["policy"]["transports"]["sse"]["enabled"] = False
    assert body["policy"] == before["policy"]
    await admin.switch("sse", enabled=True)


async def test_a_ramp_keeps_the_arms_that_it_does_not_name(admin: Operator) -> None:
    await admin.change(lambda policy: policy.update(rollouts=[ROLLOUT]))
    answer = await admin.call("PATCH", "/rollouts/polls", {"weights": {"polls": 32.5, "control": 67.5}})
    arms = answer.json()["policy"]["rollouts"][0]["arms"]
    assert {name: arm["weight"] for name, arm in arms.items()} == {"control": 67.5, "polls": 32.5}
    assert arms["polls"]["preference"] == ["polling"]


@pytest.mark.parametrize(("path", "body"), [
    ("/transports/long-pol", {"enabled": True}),
    ("/rollouts/pols", {"weights": {"polls": 20}}),
])  # fmt: skip
async def test_what_is_not_there_is_404_and_the_nearest_is_named(admin: Operator, path: str, body: object) -> None:
    await admin.change(lambda policy: policy.update(rollouts=[ROLLOUT]))
    problem = check_problem(await admin.call("PATCH", path, body), 404, "not-found")
    assert "did you mean" in problem["detail"]


async def test_a_patch_heeds_the_revision_it_was_given(admin: Operator) -> None:
    body, _ = await read(admin)
    stale = f'"{body["revision"] - 1}"'
    check_problem(
        await admin.call("PATCH", "/transports/sse", {"enabled": True}, if_match=stale), 412, "precondition-failed"
    )
    check_problem(
        await admin.call("PATCH", "/transports/sse", {"enabled": True}, if_match="newest"), 400, "malformed-parameter"
    )
    answer = await admin.call("PATCH", "/transports/sse", {"enabled": True}, if_match=f'"{body["revision"]}"')
    assert answer.status_code == 200


@pytest.mark.parametrize("tag", ['"never-ours"', '""', '"older", "x,y"', f'"{2**64}"'])
async def test_a_tag_that_no_revision_has_is_one_that_is_in_force_no_longer(admin: Operator, tag: str) -> None:
    body, _ = await read(admin)
    policy = {"policy": body["policy"]}
    problem = check_problem(await admin.call("PUT", "/policy", policy, if_match=tag), 412, "precondition-failed")
    assert problem["revision"] == body["revision"]


async def test_of_several_tags_one_must_be_of_what_is_in_force(admin: Operator) -> None:
    body, tag = await read(admin)
    answer = await admin.call("PUT", "/policy", {"policy": body["policy"]}, if_match=f'"older", W/{tag}, "7"')
    assert answer.status_code == 200, answer.text


# The history


async def test_changes_are_listed_newest_first_in_pages_each_with_what_it_changed(admin: Operator) -> None:
    last = [await admin.prefer("sse", move_within=wait) for wait in ("5s", "6s", "7s")]
    page = (await admin.get("/policy/revisions?limit=2"))["revisions"]
    assert [one["revision"] for one in page] == last[:0:-1]
    assert set(page[0]) == {"revision", "updated_by", "updated_at", "reason", "changes", "dropped", "policy"}
    assert page[0]["dropped"] == []
    assert page[0]["changes"] == [{"path": "move_within", "before": "6s", "after": "7s"}]
    (before,) = (await admin.get(f"/policy/revisions?limit=1&before={last[1]}"))["revisions"]
    assert before["revision"] == last[0]
    assert before == await admin.get(f"/policy/revisions/{last[0]}")
    assert (await admin.get("/policy/revisions?before=1"))["revisions"] == []
    for query in ("limit=0", "limit=201", "limit=x", "before=-1", "before=x", f"before={2**53 + 1}"):
        check_problem(await admin.call("GET", f"/policy/revisions?{query}"), 400, "malformed-parameter")
    for number in (10**6, 2**53, 10**30):
        check_problem(await admin.call("GET", f"/policy/revisions/{number}"), 404, "not-found")
        check_problem(await admin.call("POST", f"/policy/revisions/{number}/restore", {}), 404, "not-found")


async def test_an_earlier_revision_comes_back_as_a_new_one_and_so_does_the_configuration(admin: Operator) -> None:
    first = await admin.prefer("polling", rules=[], rollouts=[])
    policy = (await read(admin))[0]["policy"]
    await admin.prefer("sse")
    answer = await admin.call("POST", f"/policy/revisions/{first}/restore", {"reason": "it was better"})
    assert (answer.json()["policy"], answer.json()["reason"]) == (policy, "it was better")
    assert answer.json()["revision"] == first + 2
    answer = await admin.call("POST", "/policy/revisions/0/restore")
    assert answer.json()["policy"]["preference"] == ["sse", "long-poll", "polling"]
    assert answer.json()["reason"] == "restored revision 0"
    stale = await admin.call("POST", f"/policy/revisions/{first}/restore", {}, if_match=str(first))
    check_problem(stale, 412, "precondition-failed")


# Clients and gateways


async def test_a_revocation_is_told_as_it_was_made(admin: Operator) -> None:
    sub = unique("revoked-")
    answer = await admin.call("POST", "/revocations", {"sub": sub, "until": "2099-01-01T00:00:00+01:00"})
    body = answer.json()
    assert answer.status_code == 201
    assert set(body) == {"sub", "until", "reason", "revoked_by", "revoked_at"}
    assert (body["sub"], body["until"], body["revoked_by"]) == (sub, "2098-12-31T23:00:00.000Z", "alice")
    assert TIME.fullmatch(body["revoked_at"])
    assert body in (await admin.get("/revocations"))["revocations"]
    for path in (f"/revocations/user/{sub}", "/revocations/sub/nobody-known"):
        check_problem(await admin.call("DELETE", path), 404, "not-found")
    answer = await admin.call("DELETE", f"/revocations/sub/{sub}")
    assert (answer.status_code, answer.content) == (204, b"")


async def test_an_admin_who_is_revoked_is_out(desk: Gateway, admin: Operator) -> None:
    sub = unique("admin-")
    other = desk.bearer(sub, roles=("admin",))
    assert (await desk.http.get("/api/v1/admin/policy", headers=other)).status_code == 200
    await admin.call("POST", "/revocations", {"sub": sub})
    check_problem(await desk.http.get("/api/v1/admin/policy", headers=other), 401, "bad-credential")


async def test_the_fleet_is_told_worker_by_worker(desk: Gateway, admin: Operator, viewer: Operator) -> None:

    async def told() -> bool:  # what a worker told as it began, it was not ready yet
        return [one["ready"] for one in (await viewer.get("/gateways"))["gateways"]] == [True]

    await until(told)
    (gateway,) = (await viewer.get("/gateways"))["gateways"]
    assert set(gateway) == {
        "id", "version", "started_at", "ready", "draining", "connections", "workers",
    }  # fmt: skip
    assert (gateway["id"], gateway["ready"], gateway["draining"]) == (desk.worker.member.gateway, True, False)
    (worker,) = gateway["workers"]
    assert set(worker) >= {
        "worker", "revision", "ready", "draining", "connections", "deliveries", "latency_ms", "lag_ms",
    }  # fmt: skip
    check_problem(await admin.call("POST", "/gateways/nobody/drain"), 404, "not-found")


@pytest.mark.parametrize(("method", "path"), [("POST", "/policy"), ("GET", "/transports/sse"), ("PUT", "/explain")])
async def test_another_method_is_405(admin: Operator, method: str, path: str) -> None:
    assert check_problem(await admin.call(method, path, {}), 405, "method-not-allowed")
