"""The endpoints for clients that Quart serves: negotiate, tickets, history, reports."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import structlog
from pydantic import BaseModel, StrictBool
from quart import Quart, Response
from quart import request as quart_request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from realtime import errors, security
from realtime.auth import Content
from realtime.framework import answered, asked, body, json, name_routes, nothing, route
from realtime.negotiate import Proposal
from realtime.offers import EVENTS
from realtime.parameters import is_public
from realtime.publish import MOST_BYTES, body_too_large
from realtime.reports import Report
from transports.transport import problem

if TYPE_CHECKING:
    from realtime.auth import Credentials
    from realtime.config import Live
    from realtime.history import History
    from realtime.negotiate import Negotiator
    from realtime.rates import Rates
    from realtime.reports import Reports

_BEARER_ONLY = "a ticket is given to the holder of a token: send Authorization: Bearer"
_log = structlog.get_logger("gapless.http")


class TicketRequest(BaseModel):
    """The body of a request for a ticket."""

    cookie: StrictBool = False


class Routes:
    """The handlers, and what they hand over to."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that it hands over to
        self,
        live: Live,
        credentials: Credentials,
        negotiator: Negotiator,
        history: History,
        reports: Reports,
        rates: Rates,
    ) -> None:
        """Answer with these."""
        self._live = live
        self._credentials = credentials
        self._negotiator = negotiator
        self._history = history
        self._rates = rates
        self._reports = reports

    def register(self, app: Quart) -> None:
        """Put the handlers and the error handlers on an application."""
        app.config["MAX_CONTENT_LENGTH"] = MOST_BYTES
        app.url_map.merge_slashes = False  # else Quart redirects, to wherever the Host field says
        app.post(f"{EVENTS}/negotiate")(self.negotiate)
        app.post("/api/v1/auth/ticket")(self.give_ticket)
        app.delete("/api/v1/auth/ticket")(self.clear_ticket)
        app.get(f"{EVENTS}/history")(self.history)
        app.post(f"{EVENTS}/report")(self.report)
        name_routes(app)
        app.register_error_handler(errors.GaplessError, _refused)
        app.register_error_handler(HTTPException, _http)
        app.register_error_handler(Exception, _failed)

    async def negotiate(self) -> Response:
        """Agree on a session, a position and transports."""
        request = asked()
        credential = await self._credentials.authenticate_fresh(request)
        await self._rates.check("negotiate", credential.identity, request)
        proposal = await body(Proposal)
        return json(self._negotiator.negotiate(credential, proposal, request.prefix), has_ticket=True)

    async def give_ticket(self) -> Response:
        """Give a ticket for a token, in the body or as a cookie."""
        request = asked()
        if "authorization" not in request.headers:
            raise errors.CredentialRequired(_BEARER_ONLY)
        credential = await self._credentials.authenticate_fresh(request)
        wanted = await body(TicketRequest)
        ttl_ms = credential.identity.expires_ms or 0 if wanted.cookie else self._live.settings.auth.ticket_ttl
        content = Content(session=uuid4().hex, cookie=wanted.cookie)
        ticket = self._credentials.seal(credential.identity, content, ttl_ms)
        life_ms = ticket.expires_ms - ticket.issued_ms
        if not wanted.cookie:
            return json({"ticket": ticket.text, "expires_in_ms": life_ms}, has_ticket=True)
        response = json({"expires_in_ms": life_ms})
        response.headers["Set-Cookie"] = self._credentials.cookie_header(ticket, request)
        return response

    async def clear_ticket(self) -> Response:
        """Clear the cookie."""
        response = nothing(204)
        response.headers["Set-Cookie"] = self._credentials.cookie_header(None, asked())
        return response

    async def history(self) -> Response:
        """Answer with a page of history."""
        request = asked()
        credential = (
            self._credentials.anonymous() if is_public(request) else await self._credentials.authenticate_fresh(request)
        )
        return answered(await self._history.page(credential.identity, request))

    async def report(self) -> Response:
        """Take what a client reports."""
        request = asked()
        credential = await self._credentials.authenticate_fresh(request)
        if credential.via == "anonymous":
            raise errors.CredentialRequired("a report comes with a ticket, the cookie or a token")
        await self._rates.check("report", credential.identity, request)
        self._reports.take(credential, await body(Report))
        return nothing(202)


async def _refused(error: errors.GaplessError) -> Response:
    security.note(error, route())
    return answered(problem(error))


async def _http(error: HTTPException) -> Response:
    """Translate what the framework itself refuses."""
    if isinstance(error, RequestEntityTooLarge):
        return answered(problem(body_too_large()))
    if isinstance(error, NotFound):
        return answered(problem(errors.NotFound("there is nothing here")))
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        refused = errors.MethodNotAllowed(f"use {allowed}", headers={"Allow": allowed})
        return answered(problem(refused))
    return answered(problem(errors.MalformedBody(error.description or "the request can't be read")))


async def _failed(error: Exception) -> Response:
    _log.error("request failed", exc_info=error, path=quart_request.path)
    return answered(problem(errors.InternalError("the service failed to answer: try again")))
