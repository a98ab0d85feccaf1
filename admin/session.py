"""Who is signed in to the console: the holder of an admin's or a viewer's token, in a cookie of its own.

What the cookie holds is sealed like a ticket, with a key of its own: no ticket is ever a session, nor the reverse. It
says who the operator is and what they may do here, and none of the scopes and powers that the token may have besides.
It lives as long as the token, and ends when its subject or the token is revoked.

A browser sends the cookie along whatever page makes it ask. So it counts only for our own pages (Fetch Metadata,
Origin), and changes nothing without the session's own text, which only a page of ours can have read.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from admin.desk import Operator
from admin.door import ADMIN, VIEWER, operator
from realtime.auth import somebody
from realtime.auth.cookie import LARGEST, is_same_host, is_secure, value
from realtime.auth.credentials import unix_ms
from realtime.auth.tickets import Content, Tickets, derived
from realtime.errors import BadCredential, CredentialRequired, InvalidField

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.auth import Credentials, Identity
    from realtime.config import Settings
    from realtime.request import Request

NAME: Final = "gapless_console"
PATH: Final = "/admin"
CSRF_HEADER: Final = "x-csrf-token"

_PURPOSE: Final = b"gapless console 1"
_CSRF: Final = b"gapless console csrf 1"
_OURS: Final = frozenset({"", "same-origin", "none"})

_log = structlog.get_logger("gapless.security")


class Session(NamedTuple):
    """Who is signed in, and until when (unix milliseconds)."""

    operator: Operator
    identity: Identity
    expires_ms: int
    csrf: str
    """What a request that changes something must repeat."""
    text: str
    """The cookie's value."""


class Sessions:
    """Signs operators in, knows them again, and signs them out."""

    def __init__(
        self, secret: str, credentials: Credentials, settings: Settings, now_ms: Callable[[], int] = unix_ms
    ) -> None:
        """Sign in whom `credentials` knows; the keys come from the secret."""
        self._tickets = Tickets(secret, None, now_ms, _PURPOSE)
        self._key = derived(secret, _CSRF)
        self._credentials = credentials
        self._secure = settings.auth.cookie_secure
        self.now_ms = now_ms

    async def sign_in(self, token: str, request: Request) -> Session:
        """Return a session for the holder of a token.

        Raises:
            BadCredential: the token is not good, or another site's page sent it.
            RoleNotHeld: it is no admin's and no viewer's.
            InvalidField: it says more of its holder than a cookie can keep.
        """
        check_own_page(request)
        bearer = request._replace(headers={"authorization": f"Bearer {token}"}, query={})
        credential = await self._credentials.authenticate_fresh(bearer)
        known = credential.identity
        operator(known, to_write=False)
        _log.info("signed in to the console", sub=known.sub, roles=sorted(known.roles & {ADMIN, VIEWER}))
        return self.begin(known)

    def begin(self, known: Identity) -> Session:
        """Return a session for somebody who is known.

        Raises:
            InvalidField: the name of the subject or the token is longer than a cookie can keep.
        """
        who = somebody(known.sub, roles=known.roles & {ADMIN, VIEWER}, expires_ms=known.expires_ms, jti=known.jti)
        ttl_ms = (known.expires_ms or 0) - self.now_ms()
        ticket = self._tickets.seal(who, Content(session="", cookie=True), ttl_ms)
        if len(NAME) + 1 + len(ticket.text) > LARGEST:
            raise InvalidField(f"the token's id does not fit a cookie ({LARGEST} bytes)", field="token")
        return self._session(ticket.identity, ticket.expires_ms, ticket.text)

    def open(self, request: Request) -> Session:
        """Return the session that a request comes with.

        Raises:
            CredentialRequired: it comes with none.
            BadCredential: it is over, was revoked, is not ours, or another site's page asks.
        """
        check_own_page(request)
        text = value(request.header("cookie"), NAME)
        if not text:
            raise CredentialRequired("sign in with the token of an admin or viewer")
        ticket = self._tickets.open(text, cookie=True)
        if self._credentials.revoked(ticket.identity):
            raise BadCredential("the credential was revoked")
        return self._session(ticket.identity, ticket.expires_ms, text)

    def _session(self, who: Identity, expires_ms: int, text: str) -> Session:
        mac = hmac.digest(self._key, text.encode(), "sha256")
        return Session(Operator.of(who), who, expires_ms, urlsafe_b64encode(mac).rstrip(b"=").decode(), text)

    def cookie(self, session: Session | None, request: Request) -> str:
        """Return the value of ``Set-Cookie``: a cookie with the session, or one that clears it."""
        secure = "; Secure" if is_secure(self._secure, request) else ""
        attributes = f"Path={request.prefix}{PATH}; HttpOnly; SameSite=Strict{secure}"
        if session is None:
            return f"{NAME}=; Max-Age=0; {attributes}"
        left_s = max(0, session.expires_ms - self.now_ms()) // 1000
        return f"{NAME}={session.text}; Max-Age={left_s}; {attributes}"


def check_own_page(request: Request) -> None:
    """Check that a page of ours asks, or a person who came by an address or a link.

    Raises:
        BadCredential: another site's page asks.
    """
    is_visit = (request.method, request.header("sec-fetch-mode"), request.header("sec-fetch-dest"))
    if is_visit == ("GET", "navigate", "document"):
        return
    origin = request.headers.get("origin")
    if request.header("sec-fetch-site") in _OURS and (origin is None or is_same_host(origin, request)):
        return
    _log.warning("another site's page asked the console", origin=(origin or "")[:255])
    raise BadCredential("this comes from another site's page: open the console itself")


def check_csrf(session: Session, given: str) -> None:
    """Check that a request to change something repeats the session's own text.

    Raises:
        BadCredential: it does not.
    """
    if not hmac.compare_digest(session.csrf.encode(), given.encode("utf-8", "replace")):
        _log.warning("a change without the console's own text", sub=session.identity.sub)
        raise BadCredential("this does not come from the console's own page: reload it, and try again")
