"""The demo's page at `/`, its static files, the session that it asks for, and the way into the console.

Registered by `gapless demo` alone: `POST /demo/session` hands a token to whoever can reach it, which
is right for a demonstration on one's own machine and nowhere else. The token sees what the page
shows, and has no role. `POST /demo/console` makes an operator of whoever presses the button, and so
it takes this machine's own people only: by a loopback address, under a loopback name, not through a
proxy, and from the demo's own page.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, TypedDict, cast
from urllib.parse import urlsplit

from quart import Quart, Response
from quart import request as quart_request

from admin.answers import HOME, to
from admin.session import check_own_page
from realtime.errors import BadCredential
from realtime.framework import Pages, asked

if TYPE_CHECKING:
    from admin.session import Sessions
    from realtime.auth import Credentials
    from realtime.request import Request

SUBJECT: Final = "demo"
SCOPES: Final = ("topic:host",)
SESSION_TTL_MS: Final = 60 * 60 * 1000
OPERATOR: Final = "demo-operator"
CONSOLE_TTL_S: Final = 8 * 60 * 60

_FORWARDED: Final = frozenset(
    {"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-prefix", "x-real-ip"}
)

# The page is what it claims to be, only if nothing but this service can speak in it.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
)
HEADERS: Final = {
    # A demo is updated in place: the browser asks each time, and mostly hears "unchanged".
    "Cache-Control": "no-cache",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class Session(TypedDict):
    """The answer of `POST /demo/session`."""

    token: str
    expires_in_ms: int


def register(app: Quart, credentials: Credentials, sessions: Sessions) -> None:
    """Add the page, its session, and the way into the console to `app`."""
    app.register_blueprint(blueprint(credentials, sessions))


def blueprint(credentials: Credentials, sessions: Sessions) -> Pages:
    """Return the routes `/`, `/demo/static/<file>`, `POST /demo/session` and `POST /demo/console`."""
    demo = Pages("demo", __name__, static_folder="static", static_url_path="/demo/static")

    @demo.get("/")
    async def page() -> Response:
        return await demo.send_static_file("index.html")

    @demo.post("/demo/session")
    async def session() -> Session:
        token = credentials.mint(SUBJECT, scopes=SCOPES, ttl_s=SESSION_TTL_MS / 1000)
        return {"token": token, "expires_in_ms": SESSION_TTL_MS}

    @demo.post("/demo/console")
    async def console() -> Response:
        request = asked()
        check_own_page(request)
        if not _is_from_here(request):
            raise BadCredential("the demo's way into the console is for this machine's own browser: sign in there")
        operator = sessions.begin(credentials.bearer(credentials.mint(OPERATOR, roles=("admin",), ttl_s=CONSOLE_TTL_S)))
        return to(f"{request.prefix}{HOME}", sessions.cookie(operator, request))

    @demo.after_request
    async def guard(response: Response) -> Response:
        response.headers.update(HEADERS)
        if response.mimetype == "application/json":  # it holds a token
            response.headers["Cache-Control"] = "no-store"
        return response

    return demo


def _is_from_here(request: Request) -> bool:
    """Tell whether a browser of this machine asks for this machine: no other one, no name that only leads here."""
    client = cast("dict[str, Any]", quart_request.scope).get("client")
    host = urlsplit(f"//{request.header('host')}").hostname or ""
    return (
        client is not None
        and _is_loopback(client[0])
        and (host == "localhost" or _is_loopback(host))
        and _FORWARDED.isdisjoint(request.headers)
    )


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
