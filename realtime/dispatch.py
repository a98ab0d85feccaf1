"""The ASGI application: the four hot endpoints, served here, and everything else, served by Quart."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import structlog
from werkzeug.exceptions import BadHost

from realtime import security
from realtime.attach import write
from realtime.cors import Cors, is_preflight
from realtime.delivery.asgi import ASGIExchange, lingering
from realtime.errors import GaplessError, InternalError, MalformedBody, MalformedParameter, MethodNotAllowed
from realtime.offers import EVENTS
from realtime.publish import MOST_BYTES, body_too_large
from realtime.request import from_asgi, parse_query
from realtime.tracing import Trace
from transports.transport import problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from quart import Quart

    from realtime.attach import Attacher
    from realtime.auth import Credentials
    from realtime.channel.follower import Follower
    from realtime.delivery.asgi import Receive, Send
    from realtime.metrics import Metrics
    from realtime.publish import Publisher
    from realtime.request import Request
    from realtime.tracing import Tracer
    from transports.transport import Answer, Transport

    Scope = dict[str, Any]
    Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_CATCH_UP_S = 1.0
_log = structlog.get_logger("gapless.http")


class Dispatcher:
    """Routes the hot endpoints past the framework."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that it hands over to
        self,
        transports: Mapping[str, Transport],
        attacher: Attacher,
        publisher: Publisher,
        credentials: Credentials,
        follower: Follower,
        metrics: Metrics,
    ) -> None:
        """Serve these transports and the publish endpoint."""
        self._metrics = metrics
        self._paths = {f"{EVENTS}/{transport.path}": transport for transport in transports.values()}
        self._attacher = attacher
        self._publisher = publisher
        self._credentials = credentials
        self._follower = follower

    def carries(self, scope: Scope) -> bool:
        """Tell whether a request is for a transport."""
        return scope["path"] in self._paths

    def handles(self, scope: Scope) -> bool:
        """Tell whether a request is for a hot endpoint."""
        return scope["path"] in self._paths or scope["path"] == EVENTS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request that `handles` accepted."""
        exchange = ASGIExchange(send, partial(self._metrics.answered, scope["method"], scope["path"]))
        try:
            await self._serve(scope, receive, exchange)
        except GaplessError as error:
            security.note(error, scope["path"])
            write(exchange, problem(error))
        except Exception:
            _log.exception("request failed", path=scope["path"])
            if exchange.begun:
                raise
            write(exchange, problem(InternalError("the service failed to answer: try again")))
        await exchange.wait(receive)

    async def _serve(self, scope: Scope, receive: Receive, exchange: ASGIExchange) -> None:
        transport = self._paths.get(scope["path"])
        allowed = "POST" if transport is None else "GET"
        if scope["method"] != allowed:
            message = f"{scope['method']} is not allowed here: use {allowed}"
            raise MethodNotAllowed(message, headers={"Allow": allowed})
        request = from_asgi(scope)
        if transport is None:
            write(exchange, await self._publish(request, receive))
            return
        if self._credentials.fetches_keys and "authorization" in request.headers:
            await self._look_for_key(request)
        if self._follower.is_behind:
            await self._follower.catch_up(_CATCH_UP_S)
        self._attacher.attach(transport, request, exchange)

    async def _publish(self, request: Request, receive: Receive) -> Answer:
        credential = await self._credentials.authenticate_fresh(request)
        return await self._publisher.publish(credential.identity, await _body(receive))

    async def _look_for_key(self, request: Request) -> None:
        """Fetch the key of a token that is not known yet; what is wrong with the token is said when attaching."""
        with suppress(GaplessError):
            await self._credentials.authenticate_fresh(request)


class Front:
    """The whole service as one ASGI application: cross-origin rules, the hot endpoints, then the framework."""

    def __init__(
        self, dispatcher: Dispatcher, framework: Quart, cors: Cors, metrics: Metrics, tracer: Tracer | None = None
    ) -> None:
        """Serve the dispatcher before the framework."""
        self._metrics = metrics
        self._tracer = tracer
        self._dispatcher = dispatcher
        self._application = cast("Application", framework)
        self._cors = cors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        origin = self._cors.allowed(scope)
        if origin is not None and is_preflight(scope):
            await self._cors.preflight(send, origin)
            return
        is_public = _is_public(scope)
        if is_public:
            send = self._cors.wrap_public(send)
        elif origin is not None:
            send = self._cors.wrap(send, origin)
        if _has_body(scope):
            receive, send = lingering(receive, send)
        if self._dispatcher.carries(scope):
            await self._dispatcher(scope, receive, send)
        else:
            await self._traced(scope, receive, send, names_it=not is_public)

    async def _traced(self, scope: Scope, receive: Receive, send: Send, *, names_it: bool) -> None:
        trace = Trace(scope, self._tracer)
        send = cast("Send", trace.wrap(send, names_it=names_it))
        try:
            if self._dispatcher.handles(scope):
                scope["route"] = scope["path"]
                await self._dispatcher(scope, receive, send)
            else:
                await self._framed(scope, receive, send)
                self._metrics.answered(scope["method"], trace.route, trace.status)
        finally:
            trace.end()

    async def _framed(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._application(scope, receive, send)
        except BadHost:  # raised before the framework could ask our handlers
            write(ASGIExchange(send), problem(MalformedParameter("the Host field names no host")))


def _is_public(scope: Scope) -> bool:
    query = scope["query_string"]
    if b"audience" not in query and b"%" not in query:
        return False
    return parse_query(query).get("audience") == "public"


def _has_body(scope: Scope) -> bool:
    """Tell whether a body comes without being asked for; who expects `100 Continue` sends none when refused."""
    if scope["method"] == "GET":
        return False
    names = {name for name, _ in scope["headers"]}
    return not names.isdisjoint((b"content-length", b"transfer-encoding")) and b"expect" not in names


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            incomplete = "the connection ended within the body"
            raise MalformedBody(incomplete)
        part = message.get("body", b"")
        size += len(part)
        if size > MOST_BYTES:
            raise body_too_large()
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)
