"""The ASGI application: the four hot endpoints, served here, and everything else, served by Quart."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import structlog

from realtime import security
from realtime.attach import write
from realtime.cors import Cors, is_preflight
from realtime.delivery.asgi import ASGIExchange, lingering
from realtime.delivery.connection import LEFT
from realtime.errors import GaplessError, InternalError, MalformedBody, MalformedParameter, MethodNotAllowed
from realtime.offers import EVENTS
from realtime.publish import MOST_BYTES, body_too_large
from realtime.request import check_host, from_asgi, parse_query
from realtime.tracing import TRACEPARENT, Trace
from transports.transport import problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from quart import Quart

    from realtime.attach import Attacher
    from realtime.auth import Credentials, Identity
    from realtime.channel.follower import Follower
    from realtime.delivery.asgi import Receive, Send
    from realtime.delivery.direct import DirectExchange
    from realtime.delivery.exchange import Exchange
    from realtime.delivery.head import Heads
    from realtime.known import KnownClients
    from realtime.metrics import Metrics
    from realtime.peer import Proxies
    from realtime.publish import Publisher
    from realtime.rates import Rates
    from realtime.request import Request
    from realtime.tracing import Tracer
    from transports.transport import Answer, Transport

    Scope = dict[str, Any]
    Feed = Callable[[Request, Exchange], None]
    Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_CATCH_UP_S = 1.0
_FILL_UP_S = 3.0
"""How long a request waits for a gateway that has just begun to listen, and has not read the log yet."""
_CHANNEL = f"{EVENTS}/"
_HEALTH = f"{EVENTS}/health"
_CONSOLE = "/admin/"
_BLANKS = b" \t"
"""Around a field's value, and no part of it (RFC 9110 §5.5); not every server cuts them."""
_log = structlog.get_logger("gapless.http")


class Dispatcher:
    """Routes the hot endpoints past the framework."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that it hands over to
        self,
        transports: Mapping[str, Transport],
        attacher: Attacher,
        known: KnownClients,
        publisher: Publisher,
        credentials: Credentials,
        rates: Rates,
        follower: Follower,
        metrics: Metrics,
    ) -> None:
        """Serve these transports and the publish endpoint."""
        self._feeds: dict[str, Feed] = {}
        self.paths = {f"{EVENTS}/{transport.path}": transport for transport in transports.values()}
        """The hot endpoints that are got."""
        self.known = known
        self._metrics = metrics
        self.methods: Mapping[str, str] = {**dict.fromkeys(self.paths, "GET"), EVENTS: "POST"}
        """The hot endpoints: the one method that each takes."""
        self._attacher = attacher
        self._publisher = publisher
        self._credentials = credentials
        self._rates = rates
        self._follower = follower
        self._publishing: set[asyncio.Task[None]] = set()

    def feed(self, path: str, attach: Feed) -> None:
        """Serve another log at a path of its own: `attach` takes a ``GET`` and its exchange, refusals too."""
        self._feeds[path] = attach

    def carries(self, scope: Scope) -> bool:
        """Tell whether a request is for a transport."""
        return scope["path"] in self.paths or scope["path"] in self._feeds

    def handles(self, scope: Scope) -> bool:
        """Tell whether a request is for a hot endpoint."""
        return scope["path"] in self.methods or scope["path"] in self._feeds

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
        if LEFT in scope.get("extensions", ()):
            scope["extensions"][LEFT]["hear"](exchange.left)
        await exchange.wait(receive)

    async def ready_for(self, scope: Scope) -> None:
        """Wait for a while until the window is filled, where a request is about the channel."""
        if not self._follower.filled and scope["path"].startswith(_CHANNEL) and scope["path"] != _HEALTH:
            await self._follower.fill_up(_FILL_UP_S)

    async def _serve(self, scope: Scope, receive: Receive, exchange: ASGIExchange) -> None:
        transport, feed = self.paths.get(scope["path"]), self._feeds.get(scope["path"])
        allowed = self.methods.get(scope["path"], "GET")
        if scope["method"] != allowed:
            message = f"{scope['method']} is not allowed here: use {allowed}"
            raise MethodNotAllowed(message, headers={"Allow": allowed})
        request = from_asgi(scope)
        if feed is not None:
            feed(request, exchange)
            return
        if transport is None:
            identity = await self._publisher_of(request)
            write(exchange, await self._publisher.publish(identity, await _body(receive)))
            return
        if self._credentials.fetches_keys and "authorization" in request.headers:
            await self._look_for_key(request)
        if self._follower.is_behind:
            await self._follower.catch_up(_CATCH_UP_S)
        self._attacher.attach(transport, request, exchange)

    def take(self, request: Request, exchange: DirectExchange) -> bool:
        """Serve a plain request of the fast lane; `False`: something has to be waited for first, or it is not plain."""
        if "audience" in request.query or self._follower.is_behind or not self._follower.filled:
            return False
        if self._credentials.fetches_keys and "authorization" in request.headers:
            return False
        exchange.counted = partial(self._metrics.answered, "GET", request.path)
        try:
            self._attacher.attach(self.paths[request.path], request, exchange)
        except Exception:  # noqa: BLE001 - what would be ASGI's 500 elsewhere
            fail(exchange)
        return True

    async def _publisher_of(self, request: Request) -> Identity:
        credential = await self._credentials.authenticate_fresh(request)
        await self._rates.check("publish", credential.identity, request)
        return credential.identity

    def publish(self, request: Request, body: bytes, exchange: DirectExchange) -> None:
        """Publish what came whole, on the fast lane."""
        exchange.counted = partial(self._metrics.answered, "POST", request.path)
        task = asyncio.get_running_loop().create_task(self._publish_whole(request, body, exchange))
        self._publishing.add(task)
        task.add_done_callback(self._publishing.discard)

    async def _publish_whole(self, request: Request, body: bytes, exchange: DirectExchange) -> None:
        parent = request.headers.get("traceparent")
        trace = Trace({"headers": [] if parent is None else [(TRACEPARENT, parent.encode())]}, None)
        try:
            answer = await self._publisher.publish(await self._publisher_of(request), body)
        except GaplessError as error:
            security.note(error, request.path)
            answer = problem(error)
        except Exception:  # noqa: BLE001 - what would be ASGI's 500 elsewhere
            answer = _failed()
        exchange.own = trace.header
        write(exchange, answer)

    async def _look_for_key(self, request: Request) -> None:
        """Fetch the key of a token that is not known yet; what is wrong with the token is said when attaching."""
        with suppress(GaplessError):
            await self._credentials.authenticate_fresh(request)


class Taker:
    """The plain requests of uvicorn's connections, past ASGI: the same endpoints, the same way."""

    publishing = f"POST {EVENTS} ".encode()

    def __init__(self, dispatcher: Dispatcher, proxies: Proxies, heads: Heads, *, traces: bool = False) -> None:
        """Serve them by the dispatcher; where somebody keeps traces, publishing is ASGI's."""
        self._traces = traces
        self.paths = dispatcher.paths
        self.client = dispatcher.known.client
        self.fail = fail
        self.heads = heads
        self._dispatcher = dispatcher
        self._proxies = proxies

    def publish(self, request: Request, body: bytes, exchange: DirectExchange) -> bool:
        """Serve a request that publishes, unless that is traced."""
        if self._traces:
            return False
        self._dispatcher.publish(self._heard(request), body, exchange)
        return True

    def take(self, request: Request, exchange: DirectExchange) -> bool:
        """Serve a request, unless it is not plain."""
        return self._dispatcher.take(self._heard(request), exchange)

    def _heard(self, request: Request) -> Request:
        told = self._proxies.heard(request.peer, request.scheme, request.headers)
        if told == (request.peer, request.scheme, request.prefix):
            return request
        return request._replace(peer=told.peer, scheme=told.scheme, prefix=told.prefix)


def fail(exchange: DirectExchange) -> None:
    """Answer a request that something of ours went wrong with, from within an exception's handler."""
    write(exchange, _failed())


def _failed() -> Answer:
    _log.exception("request failed")
    return problem(InternalError("the service failed to answer: try again"))


class Front:
    """The whole service as one ASGI application: cross-origin rules, the hot endpoints, then the framework."""

    def __init__(  # noqa: PLR0913, PLR0917 - what is done around every request
        self,
        dispatcher: Dispatcher,
        framework: Quart,
        cors: Cors,
        proxies: Proxies,
        metrics: Metrics,
        tracer: Tracer | None = None,
    ) -> None:
        """Serve the dispatcher before the framework; `proxies` tell who is at the other end."""
        self._metrics = metrics
        self._tracer = tracer
        self.dispatcher = dispatcher
        self._application = cast("Application", framework)
        self._cors = cors
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        scope["headers"] = [(name, value.strip(_BLANKS)) for name, value in scope["headers"]]
        try:
            check_host(scope)
        except MalformedParameter as error:
            await self._refuse(scope, send, error)
            return
        self._proxies.apply(scope)
        origin = None if _is_console(scope) else self._cors.allowed(scope)
        if origin is not None and is_preflight(scope):
            await self._cors.preflight(send, origin)
            return
        is_public = _is_public(scope) and not _is_console(scope)
        if is_public:
            send = self._cors.wrap_public(send)
        elif origin is not None:
            send = self._cors.wrap(send, origin)
        if _has_body(scope):
            receive, send = lingering(receive, send)
        await self.dispatcher.ready_for(scope)
        if self.dispatcher.carries(scope):
            await self.dispatcher(scope, receive, send)
        else:
            await self._traced(scope, receive, send, names_it=not is_public)

    async def _refuse(self, scope: Scope, send: Send, error: GaplessError) -> None:
        """Answer a request that is for no host of ours to know."""
        exchange = ASGIExchange(send, partial(self._metrics.answered, scope["method"], ""))
        write(exchange, problem(error))

    async def _traced(self, scope: Scope, receive: Receive, send: Send, *, names_it: bool) -> None:
        trace = Trace(scope, self._tracer)
        send = cast("Send", trace.wrap(send, names_it=names_it))
        try:
            if self.dispatcher.handles(scope):
                scope["route"] = scope["path"]
                await self.dispatcher(scope, receive, send)
            else:
                await self._application(scope, receive, send)
                self._metrics.answered(scope["method"], trace.route, trace.status)
        finally:
            trace.end()


def _is_console(scope: Scope) -> bool:
    """Tell whether a request is for the console, which is for no other site's pages, whatever else they may call."""
    path: str = scope["path"]
    return f"{path}/".startswith(_CONSOLE)


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
