"""The admin API, under ``/api/v1/admin`` (PROTOCOL §4, Admin): the desk, by HTTP and JSON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from quart import Quart, Response

from admin import bodies
from admin.door import bearer
from policies.document import parse
from realtime.channel.event import LARGEST
from realtime.errors import InvalidField, MalformedParameter, PreconditionRequired
from realtime.framework import asked, body, json
from realtime.parameters import text, whole_number

if TYPE_CHECKING:
    from admin.desk import Desk, Operator
    from realtime.auth import Credentials
    from realtime.revision import Revision

ADMIN = "/api/v1/admin"
_TAG = r'(?:(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"|([0-9]+))'
_TAGS = re.compile(rf"\s*{_TAG}(?:\s*,\s*{_TAG})*\s*")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")
_NEVER = -1
"""A revision that there never is: what a tag names that is none of ours."""
_MOST_REVISIONS = 200


class Api:
    """The handlers."""

    def __init__(self, desk: Desk, credentials: Credentials) -> None:
        """Serve a desk to whom `credentials` knows as an admin or a viewer."""
        self._desk = desk
        self._credentials = credentials

    def register(self, app: Quart) -> None:
        """Put the handlers on an application."""
        app.get(f"{ADMIN}/policy")(self.policy)
        app.put(f"{ADMIN}/policy")(self.put_policy)
        app.patch(f"{ADMIN}/transports/<name>")(self.switch)
        app.patch(f"{ADMIN}/rollouts/<name>")(self.ramp)
        app.get(f"{ADMIN}/policy/revisions")(self.revisions)
        app.get(f"{ADMIN}/policy/revisions/<int:number>")(self.revision)
        app.post(f"{ADMIN}/policy/revisions/<int:number>/restore")(self.restore)
        app.post(f"{ADMIN}/policy/preview")(self.preview)
        app.post(f"{ADMIN}/explain")(self.explain)
        app.get(f"{ADMIN}/connections")(self.connections)
        app.delete(f"{ADMIN}/connections/<session>")(self.dismiss)
        app.get(f"{ADMIN}/revocations")(self.revocations)
        app.post(f"{ADMIN}/revocations")(self.revoke)
        app.delete(f"{ADMIN}/revocations/<any(sub,jti):kind>/<path:name>")(self.lift)
        app.get(f"{ADMIN}/gateways")(self.gateways)
        app.post(f"{ADMIN}/gateways/<name>/drain")(self.drain)

    async def _reader(self) -> Operator:
        return await bearer(self._credentials, to_write=False)

    async def _writer(self) -> Operator:
        return await bearer(self._credentials, to_write=True)

    # The policy

    async def policy(self) -> Response:
        """Tell the policy in force."""
        await self._reader()
        return self._in_force(self._desk.revisions.current)

    async def put_policy(self) -> Response:
        """Replace the policy that was read."""
        operator = await self._writer()
        if "if-match" not in asked().headers:
            raise PreconditionRequired("send If-Match with the ETag of the policy that you read")
        expected = self._expected()
        wanted = await body(bodies.PolicyBody)
        return self._in_force(await self._desk.put(wanted.policy, operator, wanted.reason, expected))

    async def switch(self, name: str) -> Response:
        """Throw a transport's switch."""
        operator = await self._writer()
        wanted = await body(bodies.SwitchBody)
        expected = self._expected()
        switched = self._desk.switch(name, operator, wanted.reason, enabled=wanted.enabled, expected=expected)
        return self._in_force(await switched)

    async def ramp(self, name: str) -> Response:
        """Give a rollout's arms other weights."""
        operator = await self._writer()
        wanted = await body(bodies.WeightsBody)
        ramped = self._desk.ramp(name, wanted.weights, operator, wanted.reason, self._expected())
        return self._in_force(await ramped)

    async def revisions(self) -> Response:
        """List the changes, newest first."""
        await self._reader()
        query = asked().query
        limit = whole_number("limit", query.get("limit", "50"), 1, _MOST_REVISIONS)
        before = whole_number("before", query["before"], 0, LARGEST) if "before" in query else None
        found = await self._desk.revisions.list(limit, before)
        return json({"revisions": [bodies.revision_body(one) for one in found]})

    async def revision(self, number: int) -> Response:
        """Tell one revision."""
        await self._reader()
        return json(bodies.revision_body(await self._desk.revisions.revision(number)))

    async def restore(self, number: int) -> Response:
        """Put an earlier revision in force again."""
        operator = await self._writer()
        wanted = await body(bodies.ReasonBody)
        return self._in_force(await self._desk.restore(number, operator, wanted.reason, self._expected()))

    async def preview(self) -> Response:
        """Count whom a policy would move."""
        await self._reader()
        wanted = await body(bodies.PreviewBody)
        return json(bodies.preview_body(await self._desk.preview(parse(wanted.policy))))

    async def explain(self) -> Response:
        """Decide for a client, and tell each step."""
        await self._reader()
        wanted = await body(bodies.ExplainBody)
        explained = self._desk.explain(wanted, wanted.sub, wanted.roles, wanted.channel, asked().prefix)
        return json(bodies.explanation_body(explained))

    def _in_force(self, revision: Revision) -> Response:
        value = bodies.policy_body(revision, stale=self._desk.revisions.is_stale)
        return json(value, headers={"ETag": f'"{revision.number}"'})

    def _expected(self) -> int | None:
        """Return the revision that `If-Match` names (RFC 9110 §13.1.1); `None`, as for `*`: whichever is in force."""
        given = asked().header("if-match") if "if-match" in asked().headers else "*"
        if given.strip() == "*":
            return None
        if not _TAGS.fullmatch(given):
            raise MalformedParameter('If-Match: the ETag of the policy is expected, such as "17"')
        numbers = [_numbered(quoted or bare) for quoted, bare in re.findall(_TAG, given)]
        current = self._desk.revisions.current.number
        return current if current in numbers else max(numbers)

    # Clients

    async def connections(self) -> Response:
        """List who is connected."""
        await self._reader()
        query = asked().query
        sub, session = (text(name, query.get(name)) for name in ("sub", "session"))
        found = await self._desk.connections(sub, session)
        return json({"connections": found})

    async def dismiss(self, session: str) -> Response:
        """Disconnect a session."""
        operator = await self._writer()
        return json({"session": session, "closed": await self._desk.dismiss(session, operator)})

    async def revocations(self) -> Response:
        """List who is refused."""
        await self._reader()
        return json({"revocations": [bodies.revocation_body(one) for one in self._desk.revocations.list()]})

    async def revoke(self) -> Response:
        """Refuse a subject or a token."""
        operator = await self._writer()
        wanted = await body(bodies.RevocationBody)
        kind: Literal["sub", "jti"] = "jti" if wanted.sub is None else "sub"
        name = wanted.sub or wanted.jti
        if name is None or (wanted.sub and wanted.jti):
            raise InvalidField("sub: either sub or jti is expected", field="sub")
        until = bodies.until_ms(wanted.until)
        return json(bodies.revocation_body(await self._desk.revoke(kind, name, operator, wanted.reason, until)), 201)

    async def lift(self, kind: Literal["sub", "jti"], name: str) -> Response:
        """Refuse somebody no longer."""
        operator = await self._writer()
        await self._desk.lift(kind, name, operator)
        return Response(status=204, headers={"Cache-Control": "no-store"})

    # Gateways

    async def gateways(self) -> Response:
        """List the fleet."""
        await self._reader()
        return json({"gateways": [bodies.gateway_body(one) for one in self._desk.gateways()]})

    async def drain(self, name: str) -> Response:
        """Drain a gateway."""
        operator = await self._writer()
        await self._desk.drain(name, operator)
        return json({"id": name, "draining": True}, 202)


def _numbered(tag: str) -> int:
    return int(tag) if _NUMBER.fullmatch(tag) else _NEVER
