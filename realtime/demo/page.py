"""The demo's page at `/`, its static files, and the session that it asks for.

Registered by `gapless demo` alone: `POST /demo/session` hands a token to whoever can reach it, which
is right for a demonstration on one's own machine and nowhere else. The token sees what the page
shows, and has no role.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict

from quart import Blueprint, Quart, Response

if TYPE_CHECKING:
    from realtime.auth import Credentials

SUBJECT: Final = "demo"
SCOPES: Final = ("topic:host",)
SESSION_TTL_MS: Final = 60 * 60 * 1000

# The page is what it claims to be, only if nothing but this service can speak in it.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
)
HEADERS: Final = {
    # A demo is updated in place: the browser asks each time, and mostly hears "unchanged".
    "Cache-Control": "no-cache",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Session(TypedDict):
    """The answer of `POST /demo/session`."""

    token: str
    expires_in_ms: int


def register(app: Quart, credentials: Credentials) -> None:
    """Add the page and its session to `app`."""
    app.register_blueprint(blueprint(credentials))


def blueprint(credentials: Credentials) -> Blueprint:
    """Return the routes `/`, `/demo/static/<file>` and `POST /demo/session`."""
    demo = Blueprint("demo", __name__, static_folder="static", static_url_path="/demo/static")

    @demo.get("/")
    async def page() -> Response:
        return await demo.send_static_file("index.html")

    @demo.post("/demo/session")
    async def session() -> Session:
        token = credentials.mint(SUBJECT, scopes=SCOPES, ttl_s=SESSION_TTL_MS / 1000)
        return {"token": token, "expires_in_ms": SESSION_TTL_MS}

    @demo.after_request
    async def guard(response: Response) -> Response:
        response.headers.update(HEADERS)
        if response.mimetype == "application/json":  # it holds a token
            response.headers["Cache-Control"] = "no-store"
        return response

    return demo
