"""An operator of a gateway: the admin API, called as its documentation has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx2

    from tests.support.gateway import Gateway

ADMIN = "/api/v1/admin"
Policy = dict[str, Any]


@dataclass
class Operator:
    """Somebody with a token, at one gateway."""

    http: httpx2.AsyncClient
    headers: Mapping[str, str]

    @classmethod
    def at(cls, gateway: Gateway, *roles: str, sub: str = "alice") -> Self:
        """Sit down at a gateway, as an admin unless told otherwise."""
        return cls(gateway.http, gateway.bearer(sub, roles=roles or ("admin",)))

    async def call(self, method: str, path: str, json: object = None, **headers: str) -> httpx2.Response:
        """Call the API."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return await self.http.request(method, f"{ADMIN}{path}", json=json, headers={**self.headers, **named})

    async def get(self, path: str) -> dict[str, Any]:
        """Read something that is there."""
        answer = await self.call("GET", path)
        assert answer.status_code == 200, answer.text
        value: dict[str, Any] = answer.json()
        return value

    async def change(self, edit: Callable[[Policy], None], reason: str = "a test") -> int:
        """Read the policy, edit it, and put it in force; return its revision."""
        read = await self.call("GET", "/policy")
        policy = read.json()["policy"]
        edit(policy)
        answer = await self.call("PUT", "/policy", {"policy": policy, "reason": reason}, if_match=read.headers["etag"])
        assert answer.status_code == 200, answer.text
        revision: int = answer.json()["revision"]
        return revision

    async def prefer(self, *preference: str, **policy: object) -> int:
        """Put another order of transports in force; `policy` has other keys of the document."""
        return await self.change(lambda document: document.update(preference=list(preference), **policy))

    async def switch(self, name: str, *, enabled: bool) -> int:
        """Throw a transport's switch."""
        answer = await self.call("PATCH", f"/transports/{name}", {"enabled": enabled})
        assert answer.status_code == 200, answer.text
        revision: int = answer.json()["revision"]
        return revision

    async def sees(self, revision: int, patience_s: float = 1.0) -> None:
        """Wait until this gateway has a revision in force: a second, unless told otherwise."""

        async def is_in_force() -> bool:
            found: int = (await self.get("/policy"))["revision"]
            return found >= revision

        await until(is_in_force, patience_s)
