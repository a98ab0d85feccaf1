"""Tickets: short-lived credentials of our own, which seal what a hot request is decided on.

A ticket is ``<what is sealed>.<HMAC-SHA-256 of that text>``, both base64url without padding: signed, not encrypted.
Whoever holds one may read in it what they are, and change nothing. The key is derived from the secret for this purpose
alone. Not a JWT: it has one algorithm, one reader, and a client gets a new one every half minute.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from realtime.auth.identity import Identity, somebody
from realtime.auth.recent import Recent
from realtime.errors import BadCredential

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LONGEST: Final = 16 * 1024
"""Characters of a ticket: what the largest token says, and the client's context."""

_PURPOSE: Final = b"gapless ticket 1"
"""Goes into the key. The number changes with the meaning of a sealed field, never for a field added at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a ticket says of its client, besides who that is."""

    session: str
    client: Mapping[str, Any] = field(default_factory=dict)
    """What negotiate was told of the client (its ``client`` object)."""
    transports: tuple[str, ...] | None = None
    """What the client supports; ``None`` when it didn't say."""
    arms: Mapping[str, str] = field(default_factory=dict)
    """Rollout → the arm that the client is in."""
    cookie: bool = False
    """Whether it is made for the cookie; it counts nowhere else."""
    failed: Mapping[str, int] = field(default_factory=dict)
    """Transport that failed for the client → until when it is avoided, in unix milliseconds."""
    first: str = ""
    """The transport that the client was told to use first."""
    revision: int = 0
    """The policy's revision that it was told so by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket(Content):
    """One client's identity, session and context, sealed in `text` until `expires_ms` (unix milliseconds)."""

    identity: Identity
    expires_ms: int
    issued_ms: int
    text: str = field(repr=False)


class _Seal(msgspec.Struct, array_like=True, frozen=True):
    """What a ticket's text holds, in this order."""

    sub: str | None
    channel: str
    granted: tuple[str, ...]
    roles: tuple[str, ...]
    publish: tuple[str, ...] | None
    jti: str | None
    token_expires_ms: int | None
    session: str
    client: dict[str, Any]
    transports: tuple[str, ...] | None
    arms: dict[str, str]
    issued_ms: int
    expires_ms: int
    cookie: bool
    failed: dict[str, int] = {}
    first: str = ""
    revision: int = 0

    def identity(self) -> Identity:
        return somebody(
            self.sub,
            channel=self.channel,
            granted=self.granted,
            roles=self.roles,
            publish=self.publish,
            expires_ms=self.token_expires_ms,
            jti=self.jti,
        )


def derived(secret: str, purpose: bytes) -> bytes:
    """Return the key that is used for one purpose and no other."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret.encode())


class Tickets:
    """Seals and opens tickets."""

    def __init__(
        self,
        secret: str,
        anonymous: Identity | None,
        now_ms: Callable[[], int],
        purpose: bytes = _PURPOSE,
        *,
        leeway_ms: int = 0,
    ) -> None:
        """Derive the key; `anonymous` is what clients without a credential are, ``None`` where there are none.

        What was sealed for one `purpose` is none of ours for another. A token counts for `leeway_ms` past its expiry.
        """
        self._key = derived(secret, purpose)
        self._anonymous = anonymous
        self._now_ms = now_ms
        self._leeway_ms = leeway_ms
        self._opened: Recent[Ticket] = Recent()

    def take_for_anonymous(self, anonymous: Identity | None) -> None:
        """Take who comes without a credential for this from now on."""
        self._anonymous = anonymous
        self._opened.clear()

    def sweep(self) -> int:
        """Forget the tickets that were not used since the last sweep; return how many."""
        return self._opened.sweep()

    def seal(self, identity: Identity, content: Content, ttl_ms: int) -> Ticket:
        """Make a ticket that lives `ttl_ms`, and never longer than the token behind the identity counts."""
        issued = self._now_ms()
        seal = _Seal(
            sub=identity.sub,
            channel=identity.channel,
            granted=() if identity.sub is None else identity.granted,
            roles=tuple(sorted(identity.roles)),
            publish=identity.publish,
            jti=identity.jti,
            token_expires_ms=identity.expires_ms,
            session=content.session,
            client=dict(content.client),
            transports=content.transports,
            arms=dict(content.arms),
            issued_ms=issued,
            expires_ms=self._expiry(identity, issued, ttl_ms),
            cookie=content.cookie,
            failed=dict(content.failed),
            first=content.first,
            revision=content.revision,
        )
        sealed = _encoded(msgspec.json.encode(seal))
        return _ticket(seal, identity, f"{sealed}.{self._mac(sealed)}")

    def _expiry(self, identity: Identity, issued: int, ttl_ms: int) -> int:
        """Return when a ticket ends: with the token at the latest, or with its leeway when that has begun."""
        if identity.expires_ms is None:
            return issued + ttl_ms
        leeway = 0 if issued < identity.expires_ms else self._leeway_ms
        return min(issued + ttl_ms, identity.expires_ms + leeway)

    def open(self, text: str, *, cookie: bool = False) -> Ticket:
        """Return the ticket of a text; `cookie` tells whether it came in the cookie.

        Raises:
            BadCredential: it is malformed, tampered with, expired, or was made for the other place.
        """
        ticket = self._opened.get(text)
        if ticket is None:
            ticket = self._open(text)
            self._opened.put(text, ticket)
        if ticket.expires_ms <= self._now_ms():
            raise _bad("has expired; get a new one")
        if ticket.cookie is not cookie:
            raise _bad("was made for the cookie" if ticket.cookie else "wasn't made for the cookie")
        return ticket

    def _open(self, text: str) -> Ticket:
        sealed, dot, mac = text.partition(".")
        if not dot or not text.isascii() or len(text) > LONGEST:
            raise _bad("is malformed")
        if not hmac.compare_digest(mac, self._mac(sealed)):
            raise _bad("isn't one of this service's")
        seal = _read(sealed)
        return _ticket(seal, self._identity(seal), text)

    def _mac(self, sealed: str) -> str:
        """Sign the text, not what it decodes to: no second text means the same ticket."""
        return _encoded(hmac.digest(self._key, sealed.encode(), "sha256"))

    def _identity(self, seal: _Seal) -> Identity:
        """Return the sealed identity; what anonymous clients may see is what the configuration says today."""
        if seal.sub is not None:
            return seal.identity()
        if self._anonymous is None:
            raise _bad("is an anonymous client's, who may see nothing here any more")
        return self._anonymous


def _ticket(seal: _Seal, identity: Identity, text: str) -> Ticket:
    return Ticket(
        identity=identity,
        session=seal.session,
        client=seal.client,
        transports=seal.transports,
        arms=seal.arms,
        expires_ms=seal.expires_ms,
        issued_ms=seal.issued_ms,
        text=text,
        cookie=seal.cookie,
        failed=seal.failed,
        first=seal.first,
        revision=seal.revision,
    )


def _encoded(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _read(sealed: str) -> _Seal:
    """Read what we have sealed; an older or newer gateway may have sealed something else."""
    try:
        return msgspec.json.decode(urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4)), type=_Seal)
    except msgspec.MsgspecError:
        raise _bad("was made by another version of this service; get a new one") from None


def _bad(fault: str) -> BadCredential:
    """Make the error that tells what is wrong with a ticket, and quotes none of it."""
    return BadCredential(f"the ticket {fault}")
