"""What is known of the client behind a request, as the policy asks for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from policies.decide import Context

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from realtime.auth import Credential, Identity


def described(
    identity: Identity, client: Mapping[str, str], supported: tuple[str, ...] | None, failed: Iterable[str] = ()
) -> Context:
    """Put together who somebody is and what it said of itself (negotiate's ``client`` object)."""
    return Context(
        supported=supported,
        failed=frozenset(failed),
        sub=identity.sub,
        client_id=client.get("id"),
        channel=identity.channel,
        roles=identity.roles,
        platform=client.get("platform"),
        app_version=client.get("app_version"),
        network=client.get("network"),
        state=client.get("state"),
        sdk=client.get("sdk"),
    )


def sealed(credential: Credential) -> Context:
    """Return what the credential tells: a ticket what was negotiated, any other nothing of what the client can do."""
    ticket = credential.ticket
    if ticket is None:
        return described(credential.identity, {}, None)
    now_ms = time.time_ns() // 1_000_000
    failed = (name for name, until_ms in ticket.failed.items() if until_ms > now_ms)
    return described(credential.identity, ticket.client, ticket.transports, failed)
