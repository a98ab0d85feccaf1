"""A key server that is away is the service's fault, and no client's (PROTOCOL §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.realtime.auth.makers import rsa_key
from tests.support.gateway import gateway
from tests.support.ports import free_port
from tests.wire.support import BROWSER, EVENTS, HISTORY, LONG_POLL, NEGOTIATE, POLL, STREAM, TICKET, check_problem
from tests.wire.test_auth_http import bearer, signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.gateway import Gateway
    from tests.support.redis import RedisServer

GETS = [STREAM, LONG_POLL, POLL, HISTORY]


@pytest.fixture
async def keyless(tmp_path: Path, valkey: RedisServer) -> AsyncIterator[Gateway]:
    """A gateway whose key server does not answer."""
    overrides = {"AUTH__ALGORITHM": "RS256", "AUTH__JWKS_URL": f"http://127.0.0.1:{free_port()}/jwks.json"}
    async with gateway(tmp_path, valkey.empty(), overrides) as running:
        yield running


def token() -> dict[str, str]:
    return bearer(signed(rsa_key(), "RS256"))  # type: ignore[arg-type] # a key pair signs as well as a text


@pytest.mark.parametrize("path", GETS)
async def test_a_get_is_told_to_come_again(keyless: Gateway, path: str) -> None:
    answer = await keyless.http.get(path, headers=token())
    check_problem(answer, 503, "keys-unavailable")
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("path", [EVENTS, NEGOTIATE, TICKET])
async def test_a_post_is_told_to_come_again(keyless: Gateway, path: str) -> None:
    answer = await keyless.http.post(path, headers=token(), json={})
    check_problem(answer, 503, "keys-unavailable")
    assert int(answer.headers["Retry-After"]) >= 1


async def test_an_event_source_comes_again_by_itself(keyless: Gateway) -> None:
    answer = await keyless.http.get(STREAM, headers={**BROWSER, **token()})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert "retry: " in answer.text


async def test_a_malformed_token_is_still_the_clients_fault(keyless: Gateway) -> None:
    check_problem(await keyless.http.get(POLL, headers=bearer("not.a.token")), 401, "bad-credential")
