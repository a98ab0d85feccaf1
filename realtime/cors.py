"""Cross-origin requests (WHATWG Fetch, section 3.2): pages of the configured sites may call, with credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

    from realtime.delivery.asgi import Message, Send

_PREFLIGHT = (
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
    (
        b"access-control-allow-headers",
        b", ".join(
            (
                *(b"authorization", b"baggage", b"cache-control", b"content-type", b"if-match", b"if-none-match"),
                *(b"last-event-id", b"traceparent", b"tracestate"),
            )
        ),
    ),
    (b"access-control-max-age", b"7200"),
)
_EXPOSED = (b"access-control-expose-headers", b"etag, retry-after, www-authenticate, x-request-id")
_ANYONE = (b"access-control-allow-origin", b"*")


class Cors:
    """Which origins may call, and the header fields that tell their browsers so."""

    def __init__(self, origins: Collection[str]) -> None:
        """Allow these origins: scheme, host and port, as browsers send them."""
        self.allow(origins)

    def allow(self, origins: Collection[str]) -> None:
        """Allow these origins from now on, and no others."""
        self._origins = frozenset(origin.encode() for origin in origins)

    def allowed(self, scope: dict[str, Any]) -> bytes | None:
        """Return a request's origin when it is allowed."""
        if not self._origins:
            return None
        origin = next((value for name, value in scope["headers"] if name == b"origin"), None)
        return origin if origin in self._origins else None

    def wrap(self, send: Send, origin: bytes) -> Send:
        """Add the header fields to an answer."""

        async def with_fields(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [field for field in message["headers"] if field[0] != b"vary"]
                varies = [value for name, value in message["headers"] if name == b"vary"]
                message["headers"] = [*own, *_fields(origin, *varies), _EXPOSED]
            await send(message)

        return with_fields

    def wrap_public(self, send: Send) -> Send:
        """Let pages of any site read an answer for everyone, whoever asks first; its refusals too."""

        async def with_field(message: Message) -> None:
            if message["type"] == "http.response.start" and _ANYONE not in message["headers"]:
                message["headers"] = [*message["headers"], _ANYONE]
            await send(message)

        return with_field

    async def preflight(self, send: Send, origin: bytes) -> None:
        """Answer a preflight request of an allowed origin."""
        await send({"type": "http.response.start", "status": 204, "headers": [*_fields(origin), *_PREFLIGHT]})
        await send({"type": "http.response.body", "body": b""})


def is_preflight(scope: dict[str, Any]) -> bool:
    """Tell whether a request only asks whether another may be made."""
    asks = any(name == b"access-control-request-method" for name, _ in scope["headers"])
    return asks and scope["method"] == "OPTIONS"


def _fields(origin: bytes, *varies: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Return the fields that let an origin read an answer, which may vary by more than the origin."""
    return (
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),
        (b"vary", b", ".join((*varies, b"Origin"))),
    )
