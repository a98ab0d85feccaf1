"""The endpoints that Quart serves: negotiate, tickets, history, and whether the service lives and is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import uuid4

import orjson
import structlog
from pydantic import BaseModel, StrictBool, ValidationError
from quart import Quart, Response
from quart import request as quart_request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from realtime import errors
from realtime.negotiate import Proposal
from realtime.offers import EVENTS
from realtime.parameters import is_public
from realtime.publish import MOST_BYTES, body_too_large
from realtime.request import from_asgi
from transports.transport import problem

if TYPE_CHECKING:
    from realtime.auth import Credentials
    from realtime.config import Settings
    from realtime.history import History
    from realtime.negotiate import Negotiator
    from realtime.request import Request
    from transports.transport import Answer

_BEARER_ONLY = "a ticket is given to the holder of a token: send Authorization: Bearer"
Model = TypeVar("Model", bound=BaseModel)
_log = structlog.get_logger("gapless.http")


class TicketRequest(BaseModel):
    """The body of a request for a ticket."""

    cookie: StrictBool = False


class Routes:
    """The handlers, and what they hand over to."""

    def __init__(self, settings: Settings, credentials: Credentials, negotiator: Negotiator, history: History) -> None:
        """Answer with these."""
        self._settings = settings
        self._credentials = credentials
        self._negotiator = negotiator
        self._history = history

    def register(self, app: Quart) -> None:
        """Put the handlers and the error handlers on an application."""
        app.config["MAX_CONTENT_LENGTH"] = MOST_BYTES
        app.url_map.merge_slashes = False  # else Quart redirects, to wherever the Host field says
        app.post(f"{EVENTS}/negotiate")(self.negotiate)
        app.post("/api/v1/auth/ticket")(self.give_ticket)
        app.delete("/api/v1/auth/ticket")(self.clear_ticket)
        app.get(f"{EVENTS}/history")(self.history)
        app.get("/livez")(self.live)
        app.get("/readyz")(self.ready)
        app.register_error_handler(errors.GaplessError, _refused)
        app.register_error_handler(HTTPException, _http)
        app.register_error_handler(Exception, _failed)

    async def negotiate(self) -> Response:
        """Agree on a session, a position and transports."""
        credential = await self._credentials.authenticate_fresh(_request())
        proposal = await _body(Proposal)
        return _json(self._negotiator.negotiate(credential, proposal))

    async def give_ticket(self) -> Response:
        """Give a ticket for a token, in the body or as a cookie."""
        request = _request()
        if "authorization" not in request.headers:
            raise errors.CredentialRequired(_BEARER_ONLY)
        credential = await self._credentials.authenticate_fresh(request)
        wanted = await _body(TicketRequest)
        expires_ms = credential.identity.expires_ms or 0
        ticket = self._credentials.seal(
            credential.identity,
            session=uuid4().hex,
            client={},
            transports=None,
            arms={},
            ttl_ms=expires_ms if wanted.cookie else self._settings.auth.ticket_ttl,
            cookie=wanted.cookie,
        )
        life_ms = ticket.expires_ms - ticket.issued_ms
        if not wanted.cookie:
            return _json({"ticket": ticket.text, "expires_in_ms": life_ms})
        response = _json({"expires_in_ms": life_ms})
        response.headers["Set-Cookie"] = self._credentials.cookie_header(ticket, request)
        return response

    async def clear_ticket(self) -> Response:
        """Clear the cookie."""
        response = Response(status=204, headers={"Cache-Control": "no-store"})
        del response.headers["Content-Type"]
        response.headers["Set-Cookie"] = self._credentials.cookie_header(None, _request())
        return response

    async def history(self) -> Response:
        """Answer with a page of history."""
        request = _request()
        credential = (
            self._credentials.anonymous() if is_public(request) else await self._credentials.authenticate_fresh(request)
        )
        return _response(await self._history.page(credential.identity, request))

    async def live(self) -> Response:
        """Say that the process serves requests."""
        return _json({"status": "ok"})

    async def ready(self) -> Response:
        """Say whether clients may be sent here: the window is filled."""
        if not self._negotiator.follower.filled:
            message = "this gateway has not read the log yet"
            raise errors.LogUnavailable(message)
        return _json({"status": "ok"})


def _request() -> Request:
    return from_asgi(cast("dict[str, Any]", quart_request.scope))


async def _body(model: type[Model]) -> Model:
    """Read a JSON object; an absent body is an empty one.

    Raises:
        MalformedBody: the body is not JSON.
        InvalidField: a field has a wrong value.
    """
    raw = await quart_request.get_data(as_text=False)
    try:
        value = orjson.loads(raw) if raw.strip() else {}
    except orjson.JSONDecodeError as error:
        message = "the body is not JSON in UTF-8"
        raise errors.MalformedBody(message) from error
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "body"
        message = f"{field}: {first['msg']}"
        raise errors.InvalidField(message, field=field) from error


def _json(value: dict[str, Any]) -> Response:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return Response(orjson.dumps(value), headers=headers)


def _response(answer: Answer) -> Response:
    headers = Headers([(name.decode(), value.decode()) for name, value in answer.headers])
    return Response(answer.body, status=answer.status, headers=headers)


async def _refused(error: errors.GaplessError) -> Response:
    return _response(problem(error))


async def _http(error: HTTPException) -> Response:
    """Translate what the framework itself refuses."""
    if isinstance(error, RequestEntityTooLarge):
        return _response(problem(body_too_large()))
    if isinstance(error, NotFound):
        return _response(problem(errors.NotFound("there is nothing here")))
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        refused = errors.MethodNotAllowed(f"use {allowed}", headers={"Allow": allowed})
        return _response(problem(refused))
    return _response(problem(errors.MalformedBody(error.description or "the request can't be read")))


async def _failed(error: Exception) -> Response:
    _log.error("request failed", exc_info=error, path=quart_request.path)
    return _response(problem(errors.InternalError("the service failed to answer: try again")))
