"""The console under ``/admin/``: the desk, for people. Pages and fragments of pages; htmx puts the fragments in place.

Rules:

* every change goes through the desk, like the API's, and names the operator;
* what changes something wants the session's own text besides the cookie (`admin.session`);
* nothing is inline, and nothing comes from elsewhere: the policy of the page's content allows this service alone;
* a refusal is a fragment too, in words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import structlog
from pydantic import ValidationError
from quart import Quart, Response
from quart import request as quart_request
from werkzeug.exceptions import HTTPException

from admin import views
from admin.acts import counted, number
from admin.answers import DOOR, HOME, acted, guarded, page, refused, to
from admin.bodies import ExplainBody, time_of
from admin.changes import CHANGES
from admin.commands import COMMANDS, TERMS
from admin.door import operator as admitted
from admin.session import CSRF_HEADER, NAME, check_csrf
from realtime.errors import GaplessError, InternalError, InvalidField, LogUnavailable, NotFound, Unauthenticated
from realtime.framework import Pages, asked
from realtime.parameters import whole_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from admin.acts import Act
    from admin.desk import Desk
    from admin.session import Session, Sessions

_ACTS: Final = {**CHANGES, **COMMANDS}
_REVISIONS: Final = 10
_LONGEST_REASON: Final = 500
_NO_ERROR: Final = 400
_WHY: Final = {"out": "You are signed out.", "over": "Your session is over: sign in again."}

_log = structlog.get_logger("gapless.admin")


class Console:
    """The handlers."""

    def __init__(self, desk: Desk, sessions: Sessions) -> None:
        """Show a desk to whom `sessions` knows."""
        self._desk = desk
        self._sessions = sessions
        self._parts: Mapping[str, Callable[[], Mapping[str, object]]] = {
            "status": self._status,
            "summary": self._summary,
            "transports": self._transports,
            "rollouts": self._rollouts,
            "gateways": self._gateways,
            "revocations": self._revocations,
        }

    def register(self, app: Quart) -> None:
        """Put the handlers on an application."""
        pages = Pages("console", __name__, url_prefix="/admin", static_folder="static", static_url_path="/static")
        pages.get("")(self.redirect)
        pages.get("/")(self.home)
        pages.get("/sign-in")(self.door)
        pages.post("/sign-in")(self.sign_in)
        pages.post("/sign-out")(self.sign_out)
        pages.get("/parts/<any(status,summary,transports,rollouts,gateways,revocations):name>")(self.part)
        pages.get("/parts/history")(self.history)
        pages.post("/clients")(self.clients)
        pages.post("/explain")(self.explain)
        pages.post("/explain/session")(self.explain_session)
        pages.post("/ask")(self.ask)
        pages.post("/act")(self.act)
        pages.register_error_handler(GaplessError, self._refused)
        pages.register_error_handler(HTTPException, self._unreadable)
        pages.register_error_handler(Exception, self._failed)
        pages.after_request(_guarded)
        app.register_blueprint(pages)

    # Coming and going

    async def redirect(self) -> Response:
        """Lead to the page itself."""
        return to(f"{asked().prefix}{HOME}")

    async def door(self) -> Response:
        """Show the form to sign in."""
        return page("sign_in.html", {"why": _WHY.get(asked().query.get("why", ""), "")})

    async def sign_in(self) -> Response:
        """Sign the holder of a token in."""
        form = await quart_request.form
        token = str(form.get("token", "")).strip().removeprefix("Bearer ").strip()
        try:
            session = await self._sessions.sign_in(token, asked())
        except GaplessError as error:
            return page("sign_in.html", {"why": error.detail}, status=error.status)
        return to(f"{asked().prefix}{HOME}", self._sessions.cookie(session, asked()))

    async def sign_out(self) -> Response:
        """Forget the session in this browser."""
        await self._changing()
        return to(f"{asked().prefix}{DOOR}?why=out", self._sessions.cookie(None, asked()))

    # Looking

    async def home(self) -> Response:
        """Show everything."""
        try:
            session = self._sessions.open(asked())
        except Unauthenticated:
            known = NAME in asked().header("cookie")
            return to(f"{asked().prefix}{DOOR}{'?why=over' if known else ''}")
        shown = {key: value for part in self._parts.values() for key, value in part().items()}
        shown |= await self._revisions()
        shown |= {"expires_at": time_of(session.expires_ms), "now_ms": self._sessions.now_ms()}
        return page("console.html", {"session": session, **shown})

    async def part(self, name: str) -> Response:
        """Show one part anew."""
        session = self._sessions.open(asked())
        await self._desk.heeded()
        return page(f"parts/{name}.html", {"session": session, **self._parts[name]()})

    async def history(self) -> Response:
        """Show changes, the newest or those before one."""
        session = self._sessions.open(asked())
        await self._desk.heeded()
        text = asked().query.get("before")
        before = None if text is None else whole_number("before", text, 0, 2**53)
        template = "parts/history.html" if before is None else "parts/revisions.html"
        return page(template, {"session": session, **await self._revisions(before)})

    def _status(self) -> Mapping[str, object]:
        revisions = self._desk.revisions
        current = views.revision(revisions.current, revisions.current.number)
        return {"stale": revisions.is_stale, "current": current}

    def _summary(self) -> Mapping[str, object]:
        return {"summary": views.summary(self._desk.gateways(), self._desk.fleet.samples())}

    def _transports(self) -> Mapping[str, object]:
        revisions = self._desk.revisions
        return {
            "transports": views.transports(revisions.document, self._desk.fleet.samples()),
            "rules": views.rules(revisions.document),
            "preference": revisions.document.preference,
            "revision": revisions.current.number,
        }

    def _rollouts(self) -> Mapping[str, object]:
        revisions = self._desk.revisions
        return {"rollouts": views.rollouts(revisions.document), "revision": revisions.current.number}

    def _gateways(self) -> Mapping[str, object]:
        return {"gateways": [views.gateway(one) for one in self._desk.gateways()]}

    def _revocations(self) -> Mapping[str, object]:
        known = self._desk.revocations.list()
        return {"revocations": [(one, time_of(one.at), time_of(one.until)) for one in known], "terms": TERMS}

    async def _revisions(self, before: int | None = None) -> Mapping[str, object]:
        current = self._desk.revisions.current.number
        try:
            found = await self._desk.revisions.list(_REVISIONS + 1, before)
        except LogUnavailable:
            return {"revisions": [], "older": None, "revision": current, "is_read": False}
        more = found[_REVISIONS - 1].number if len(found) > _REVISIONS else None
        shown = [views.revision(one, current) for one in found[:_REVISIONS]]
        return {"revisions": shown, "older": more, "revision": current, "is_read": True}

    # Asking

    async def clients(self) -> Response:
        """Find clients by their subject, or by their session."""
        session = await self._changing()
        who = str((await quart_request.form).get("who", "")).strip()
        found = await self._desk.connections(sub=who or None)
        if not found:
            found = await self._desk.connections(session=who)
        return page(
            "parts/clients.html", {"session": session, "who": who, "found": views.found(found), "counted": counted}
        )

    async def explain_session(self) -> Response:
        """Explain the decision for a client that is connected."""
        await self._changing()
        name = str((await quart_request.form).get("session", ""))
        found = await self._desk.connections(session=name) if name else []
        if not found:
            raise NotFound("this client is not connected any more: search again")
        return self._explained(views.proposal(found[0]), found[0])

    async def explain(self) -> Response:
        """Explain the decision for a client that may come."""
        await self._changing()
        form = await quart_request.form
        texts = {name: str(text).strip() for name, text in form.items() if str(text).strip()}
        known = ("id", "platform", "app_version", "network", "state", "sdk")
        wanted = {
            "sub": texts.get("sub"),
            "channel": texts.get("channel", "main"),
            "roles": texts.get("roles", "").replace(",", " ").split(),
            "transports": form.getlist("transports") or None,
            "client": {name: texts[name] for name in known if name in texts},
            "failed": [{"transport": name, "reason": "refused"} for name in form.getlist("failed")],
        }
        return self._explained(wanted, None)

    def _explained(self, wanted: Mapping[str, Any], one: Mapping[str, Any] | None) -> Response:
        try:
            body = ExplainBody.model_validate(wanted)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise InvalidField(f"{field}: {first['msg']}", field=field) from error
        explanation = self._desk.explain(body, body.sub, body.roles, body.channel, asked().prefix)
        return page(
            "parts/explanation.html",
            {
                "who": None if one is None else one["sub"] or "an anonymous client",
                "verdict": views.verdict(explanation, one),
                "offers": views.offers(explanation),
                "steps": explanation.steps,
                "revision": self._desk.revisions.current.number,
            },
        )

    # Changing

    async def ask(self) -> Response:
        """Tell what an act will bring about, and ask whether it is meant."""
        session = await self._changing()
        admitted(session.identity, to_write=True)
        act, form = await self._act()
        expected = _revision(form)
        question = await act.ask(self._desk, expected)
        changes = [views.change(one) for one in question.changes]
        shown = {"question": question, "changes": changes, "act": act, "expected": expected}
        return page("parts/question.html", shown)

    async def act(self) -> Response:
        """Do what was confirmed."""
        session = await self._changing()
        operator = admitted(session.identity, to_write=True)
        act, form = await self._act()
        done = await act.do(self._desk, operator, form.get("reason", "").strip()[:_LONGEST_REASON], _revision(form))
        return acted(done)

    async def _act(self) -> tuple[Act, Mapping[str, str]]:
        form = {name: str(text) for name, text in (await quart_request.form).items()}
        read = _ACTS.get(form.get("act", ""))
        if read is None:
            raise InvalidField(f"act: one of {', '.join(_ACTS)} is expected", field="act")
        return read(form), form

    async def _changing(self) -> Session:
        """Return who asks, by a request that a page of ours made."""
        request = asked()
        session = self._sessions.open(request)
        given = request.header(CSRF_HEADER) or str((await quart_request.form).get("csrf", ""))
        check_csrf(session, given)
        return session

    # Refusing

    async def _refused(self, error: GaplessError) -> Response:
        return refused(error)

    async def _unreadable(self, error: HTTPException) -> Response:
        if error.code is not None and error.code < _NO_ERROR:  # a redirect of the framework's own
            return cast("Response", error.get_response())
        return refused(NotFound("there is nothing here"))

    async def _failed(self, error: Exception) -> Response:
        _log.error("console failed", exc_info=error, path=quart_request.path)
        return refused(InternalError("the service failed to answer: try again"))


async def _guarded(response: Response) -> Response:
    return guarded(quart_request.path, response)


def _revision(form: Mapping[str, str]) -> int | None:
    """Return the revision that a form was made from."""
    return number(form, "revision") if form.get("revision") else None
