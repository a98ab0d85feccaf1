"""The admin API at the bounds of what it takes: each of these once was an answer that it should not give."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from admin.api import ADMIN
from tests.wire.support import check_problem

if TYPE_CHECKING:
    from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_there_is_no_revision_below_the_lowest(plain: Gateway) -> None:
    headers = plain.bearer("ada", roles=("viewer",))
    for before in (0, 1):
        answer = await plain.http.get(f"{ADMIN}/policy/revisions", params={"before": before}, headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"revisions": []})
    answer = await plain.http.get(f"{ADMIN}/policy/revisions", params={"before": -1}, headers=headers)
    check_problem(answer, 400, "malformed-parameter")


async def test_there_is_no_revision_above_what_an_id_can_be(plain: Gateway) -> None:
    headers = plain.bearer("ada", roles=("admin",))
    for number in (2**53, 2**64, 10**40):
        path = f"{ADMIN}/policy/revisions/{number}"
        check_problem(await plain.http.get(path, headers=headers), 404, "not-found")
        check_problem(await plain.http.post(f"{path}/restore", headers=headers), 404, "not-found")


@pytest.mark.parametrize("name", ["sub", "session"])
async def test_a_name_that_is_not_utf_8_is_malformed(plain: Gateway, name: str) -> None:
    answer = await plain.http.get(f"{ADMIN}/connections?{name}=%ff", headers=plain.bearer("ada", roles=("viewer",)))
    check_problem(answer, 400, "malformed-parameter")


NO_TIMES = [-1, 253_402_300_800_000, 2**53, "0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:59", "soon", ""]


@pytest.mark.parametrize("until", NO_TIMES)
async def test_nobody_is_revoked_until_a_time_that_cannot_be_written(plain: Gateway, until: int | str) -> None:
    body = {"sub": "bounds", "until": until}
    answer = await plain.http.post(f"{ADMIN}/revocations", json=body, headers=plain.bearer("ada", roles=("admin",)))
    assert check_problem(answer, 422, "invalid-field")["field"] == "until"


async def test_somebody_is_revoked_until_the_last_time_that_can_be_written(plain: Gateway) -> None:
    headers = plain.bearer("ada", roles=("admin",))
    body = {"sub": "bounds", "until": 253_402_300_799_999}
    answer = await plain.http.post(f"{ADMIN}/revocations", json=body, headers=headers)
    assert (answer.status_code, answer.json()["until"]) == (201, "9999-12-31T23:59:59.999Z")
    assert (await plain.http.delete(f"{ADMIN}/revocations/sub/bounds", headers=headers)).status_code == 204
