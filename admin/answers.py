"""How the console answers: pages and fragments that nobody keeps, frames, or feeds with anything from elsewhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from quart import Response

from admin.render import render
from realtime.errors import GaplessError, PreconditionFailed, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Mapping

HOME: Final = "/admin/"
DOOR: Final = "/admin/sign-in"
STATIC: Final = "/admin/static/"

POLICY: Final = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # with "no-referrer" a browser would send no Origin with a form either
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_NONE: Final[Mapping[str, str]] = {}


def page(
    template: str, shown: Mapping[str, object], *, status: int = 200, headers: Mapping[str, str] = _NONE
) -> Response:
    """Answer with a template, filled in."""
    return Response(render(template, **shown), status, dict(headers), content_type="text/html; charset=utf-8")


def to(place: str, cookie: str | None = None) -> Response:
    """Send the browser to another page of ours, with a cookie to keep."""
    response = Response(status=303, headers={"Location": place})
    if cookie is not None:
        response.headers["Set-Cookie"] = cookie
    return response


def acted(words: str) -> Response:
    """Tell the page that an act was done."""
    return Response(status=204, headers={"HX-Trigger": json.dumps({"console-acted": {"message": words}})})


def refused(error: GaplessError) -> Response:
    """Say no, in words, and tell the page what to do about it."""
    headers: dict[str, str] = {}
    if isinstance(error, Unauthenticated):
        headers |= {"HX-Trigger": "console-over", "HX-Reswap": "none"}
    if isinstance(error, PreconditionFailed):
        headers["HX-Trigger"] = "console-stale"
    return page("parts/problem.html", {"problem": error}, status=error.status, headers=headers)


def guarded(path: str, response: Response) -> Response:
    """Put on every answer what keeps a page to itself."""
    response.headers.update(_HEADERS)
    # What is the same for everyone is asked for anew each time, and mostly not sent again.
    response.headers["Cache-Control"] = "no-cache" if path.startswith(STATIC) else "no-store"
    return response
