"""A person at the console, without a browser: a client that keeps the cookie, and repeats the page's own text."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.support.gateway import Gateway

HTMX = {"HX-Request": "true", "Sec-Fetch-Site": "same-origin"}


@dataclass
class Person:
    """Somebody who is signed in."""

    http: httpx2.AsyncClient
    csrf: str
    token: str
    """What they signed in with."""

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        return await self.http.get(f"/admin/{path}", headers=HTMX | headers)

    async def post(self, path: str, form: Mapping[str, str], **headers: str) -> httpx2.Response:
        return await self.http.post(f"/admin/{path}", data=form, headers={**HTMX, "X-CSRF-Token": self.csrf} | headers)


@asynccontextmanager
async def browser(gateway: Gateway) -> AsyncIterator[httpx2.AsyncClient]:
    """Keep cookies, as a browser does."""
    async with httpx2.AsyncClient(base_url=gateway.url, timeout=30, trust_env=False) as http:
        yield http


@asynccontextmanager
async def signed_in(
    gateway: Gateway, role: str = "admin", sub: str = "olga", ttl_s: float = 3600
) -> AsyncIterator[Person]:
    """Sign somebody in with a token of a role."""
    async with browser(gateway) as http:
        token = gateway.token(sub, roles=(role,), ttl_s=ttl_s)
        answer = await http.post("/admin/sign-in", data={"token": token})
        assert answer.status_code == 303, answer.text
        page = await http.get("/admin/")
        found = re.search(r'"X-CSRF-Token": "([\w-]+)"', page.text)
        assert found is not None, page.text
        yield Person(http, found[1], token)
