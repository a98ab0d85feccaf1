"""The ticket cookie: for a stock `EventSource`, which can send no header and no new URL.

A cookie comes along with whatever page makes the browser ask, so it counts only where nothing is changed by asking, and
only for pages that are ours (PROTOCOL §3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from realtime.errors import InvalidField

if TYPE_CHECKING:
    from realtime.auth.tickets import Ticket
    from realtime.config import Settings
    from realtime.request import Request

NAME: Final = "gapless_ticket"
PATH: Final = "/api/v1/events"
LARGEST: Final = 4096
"""Bytes of name and value together; browsers drop a larger cookie in silence (RFC 6265bis §5.6)."""

_PREFIX: Final = NAME + "="
_BELOW: Final = PATH + "/"
_POSTS: Final = frozenset({_BELOW + "negotiate", _BELOW + "report"})
_OWN_PAGES: Final = frozenset({"", "same-origin", "none"})
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


class TicketCookie:
    """Reads and writes the cookie by the configuration's rules."""

    def __init__(self, settings: Settings) -> None:
        self._origins = frozenset(settings.cors.origins)
        self._secure = settings.auth.cookie_secure
        self._same_site = settings.auth.cookie_same_site

    def read(self, request: Request) -> str | None:
        """Return the ticket's text, ``None`` when there is no cookie, or where it doesn't count."""
        header = request.headers.get("cookie")
        if header is None or _PREFIX not in header:
            return None
        text = value(header, NAME)
        return text if text is not None and _is_read(request) and self._is_from_us(request) else None

    def _is_from_us(self, request: Request) -> bool:
        """Tell whether a page of ours asks, or somebody who typed the address (Fetch Metadata, Origin: RFC 6454)."""
        origin = request.headers.get("origin")
        if origin is None:
            return request.headers.get("sec-fetch-site", "") in _OWN_PAGES
        return origin in self._origins or is_same_host(origin, request)

    def write(self, ticket: Ticket | None, request: Request) -> str:
        """Return the value of ``Set-Cookie``: a session cookie with the ticket, or one that clears it.

        Raises:
            InvalidField: the ticket is larger than browsers keep.
        """
        if ticket is None:
            return f"{_PREFIX}; Max-Age=0; {self._attributes(request)}"
        if not ticket.cookie:
            raise ValueError("a ticket that wasn't made for the cookie would not count in it")
        if len(_PREFIX) + len(ticket.text) > LARGEST:
            raise InvalidField(
                f"the token's scopes and roles don't fit a cookie ({LARGEST} bytes): ask for a ticket without a cookie",
                field="cookie",
            )
        return f"{_PREFIX}{ticket.text}; {self._attributes(request)}"

    def _attributes(self, request: Request) -> str:
        path = f"Path={request.prefix}{PATH}; HttpOnly"
        if self._same_site == "none":
            return f"{path}; SameSite=None; Secure; Partitioned"
        secure = "; Secure" if is_secure(self._secure, request) else ""
        return f"{path}; SameSite={self._same_site.capitalize()}{secure}"


def value(header: str, name: str) -> str | None:
    """Return the first cookie of a name: browsers send that of the longest path first (RFC 6265 §5.4)."""
    prefix = f"{name}="
    pairs = (pair.strip() for pair in header.split(";"))
    return next((pair.removeprefix(prefix) for pair in pairs if pair.startswith(prefix)), None)


def is_secure(setting: str, request: Request) -> bool:
    """Tell whether a cookie is for https only, as ``auth.cookie_secure`` has it."""
    return setting == "always" or (setting == "auto" and request.scheme == "https")


def _is_read(request: Request) -> bool:
    """Tell whether a request only asks: the GETs, negotiate and report."""
    if request.method == "GET":
        return request.path.startswith(_BELOW)
    return request.method == "POST" and request.path in _POSTS


def is_same_host(origin: str, request: Request) -> bool:
    """Tell whether an origin is the host and port that were asked.

    The scheme isn't compared, for a proxy in front may have ended TLS; but a page without TLS is none of ours when we
    know that we have it.
    """
    scheme, separator, host = origin.partition("://")
    if not separator or scheme not in _DEFAULT_PORTS or (scheme == "http" and request.scheme == "https"):
        return False
    port = _DEFAULT_PORTS[scheme]
    return host.lower().removesuffix(port) == request.header("host").lower().removesuffix(port) != ""
