"""The door: from a request to who makes it, whatever credential came along."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec
import structlog

from realtime.auth.claims import Claims
from realtime.auth.cookie import TicketCookie
from realtime.auth.identity import MAIN, Identity, anonymous
from realtime.auth.keys import KeyUnknown, fetch
from realtime.auth.tickets import Content, Ticket, Tickets
from realtime.auth.tokens import Tokens
from realtime.errors import BadCredential, CredentialRequired, KeysUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realtime.auth.keys import Fetch
    from realtime.config import Settings
    from realtime.request import Request

_JTI_BYTES = 12


class Credential(NamedTuple):
    """Who asks, by what."""

    identity: Identity
    ticket: Ticket | None
    """The ticket, where the identity comes from one."""
    via: Literal["header", "query", "cookie", "anonymous"]


Failed = Callable[["Request"], None]
Revoked = Callable[[Identity], bool]


def _let_pass(_: Request) -> None:
    return


def _nobody(_: Identity) -> bool:
    return False


def unix_ms() -> int:
    """Return this machine's clock in unix milliseconds."""
    return time.time_ns() // 1_000_000


class Credentials:
    """Reads all kinds of credentials, and makes tickets."""

    def __init__(
        self,
        settings: Settings,
        secret: str,
        *,
        now_ms: Callable[[], int] = unix_ms,
        fetch: Fetch = fetch,
    ) -> None:
        """Prepare the keys; `secret` is `config.resolve_secret`'s, `fetch` gets the key set of a JWKS address.

        Raises:
            ConfigError: the configured key can't be used.
        """
        self._anonymous = _anonymous(settings)
        self._now_ms = now_ms
        self._audience = settings.auth.audience or ()
        self._tokens = Tokens(settings.auth, secret, now_ms, fetch)
        anonymous = self._anonymous and self._anonymous.identity
        self._tickets = Tickets(secret, anonymous, now_ms, leeway_ms=settings.auth.leeway)
        self._cookie = TicketCookie(settings)
        self.failed: Failed = _let_pass
        """Hears of each request that comes with a bad credential, and may have it told something else than 401."""
        self.revoked: Revoked = _nobody
        """Tells whether an identity was revoked, and is refused though its credential is good."""
        self.fetches_keys = settings.auth.jwks_url is not None
        """Whether keys come from a JWKS address, so that a token may need one that has to be fetched first."""

    def take(self, settings: Settings) -> None:
        """Take on another configuration's anonymous scopes and origins; its keys need a restart."""
        self._anonymous = _anonymous(settings)
        self._tickets.take_for_anonymous(self._anonymous and self._anonymous.identity)
        self._cookie = TicketCookie(settings)

    def authenticate(self, request: Request) -> Credential:
        """Return who makes a request: by the header, else the query, else the cookie, else anonymous.

        Raises:
            KeyUnknown: a token's key isn't known; `authenticate_fresh` looks for it.
            KeysUnavailable: the same, and the last attempt to fetch the keys failed.
            BadCredential: the first credential that is present isn't good, whatever the others are, or was revoked.
            CredentialRequired: there is none, and no anonymous client may see anything.
        """
        try:
            return self._unrevoked(self._known(request))
        except KeyUnknown:
            raise
        except BadCredential:
            self.failed(request)
            raise

    def _unrevoked(self, credential: Credential) -> Credential:
        if self.revoked(credential.identity):
            raise BadCredential("the credential was revoked")
        return credential

    def _known(self, request: Request) -> Credential:
        header = request.headers.get("authorization")
        if header is not None:
            return Credential(self.bearer(_bearer_token(header)), None, "header")
        text = request.query.get("ticket")
        if text is not None:
            ticket = self._tickets.open(text)
            return Credential(ticket.identity, ticket, "query")
        text = self._cookie.read(request)
        if text is not None:
            ticket = self._tickets.open(text, cookie=True)
            return Credential(ticket.identity, ticket, "cookie")
        return self.anonymous()

    async def authenticate_fresh(self, request: Request) -> Credential:
        """Do as `authenticate`, with a look for new keys when a token's isn't known, and have the logs say who asks."""
        credential = await self._fresh(request)
        if credential.identity.sub is not None:
            structlog.contextvars.bind_contextvars(sub=credential.identity.sub)
        return credential

    async def _fresh(self, request: Request) -> Credential:
        try:
            return self.authenticate(request)
        except (KeyUnknown, KeysUnavailable):
            await self.refresh()
        return self.authenticate(request)

    async def refresh(self) -> bool:
        """Fetch the key set of a JWKS address, if there is one, at most every 30 s; tell whether it was fetched.

        To be called at start, and every few minutes, so that keys that were withdrawn count no longer.
        """
        return await self._tokens.refresh()

    def sweep(self) -> int:
        """Forget the tokens and tickets that were not used since the last sweep; return how many."""
        return self._tokens.sweep() + self._tickets.sweep()

    def anonymous(self) -> Credential:
        """Return what a client without a credential is.

        Raises:
            CredentialRequired: nothing.
        """
        if self._anonymous is None:
            raise CredentialRequired(
                "send a token (Authorization: Bearer …), a ticket (?ticket=…) or the ticket cookie"
            )
        return self._anonymous

    def bearer(self, token: str) -> Identity:
        """Return whom a token describes; raises as `authenticate` does."""
        return self._tokens.read(token)

    def open_ticket(self, text: str, *, cookie: bool = False) -> Ticket:
        """Return the ticket of a text, which came in the query, or in the cookie; raises as `authenticate` does."""
        return self._tickets.open(text, cookie=cookie)

    def seal(self, identity: Identity, content: Content, ttl_ms: int) -> Ticket:
        """Make a ticket that lives `ttl_ms`, and never longer than the token behind the identity."""
        return self._tickets.seal(identity, content, ttl_ms)

    def renew(self, ticket: Ticket, ttl_ms: int) -> Ticket:
        """Make a later ticket of the same content, which lives `ttl_ms`, and never longer than the token behind it."""
        return self.seal(ticket.identity, ticket, ttl_ms)

    def cookie_header(self, ticket: Ticket | None, request: Request) -> str:
        """Return the ``Set-Cookie`` that carries a ticket made for the cookie, or with ``None`` clears it.

        Raises:
            InvalidField: the ticket is larger than browsers keep.
        """
        return self._cookie.write(ticket, request)

    def mint(  # noqa: PLR0913, PLR0917 - one parameter for each claim
        self,
        sub: str,
        roles: Sequence[str] = (),
        scopes: Sequence[str] = (),
        channel: str = MAIN,
        ttl_s: float = 3600,
        publish: Sequence[str] | None = None,
    ) -> str:
        """Return a token that is good for `ttl_s` seconds from now, rounded up to a whole second.

        Raises:
            ConfigError: tokens are signed with a private key, which isn't here.
            MalformedParameter: a claim doesn't follow its grammar.
        """
        claims = Claims(
            sub=sub,
            exp=math.ceil(self._now_ms() / 1000 + ttl_s),
            channel=channel,
            scopes=tuple(scopes),
            roles=tuple(roles),
            publish=msgspec.UNSET if publish is None else tuple(publish),
            jti=secrets.token_urlsafe(_JTI_BYTES),
            aud=self._audience,
        )
        return self._tokens.mint(claims)


def _anonymous(settings: Settings) -> Credential | None:
    """Return what a client without a credential is, if it may see anything."""
    scopes = settings.auth.anonymous_scopes
    return Credential(anonymous(scopes), None, "anonymous") if scopes else None


def _bearer_token(header: str) -> str:
    """Return the token of an ``Authorization`` field (RFC 6750 §2.1); the scheme's case doesn't matter."""
    scheme, _, token = header.partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not token or " " in token:
        raise BadCredential("the Authorization header isn't of the form: Bearer <token>")
    return token
