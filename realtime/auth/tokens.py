"""Tokens: the JWTs (RFC 7519) by which an application says who its users are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from jwt import InvalidKeyError
from jwt.algorithms import HMACAlgorithm

from realtime.auth.claims import Claims, to_ms
from realtime.auth.keys import ConfiguredKey, Keys, KeySet, read_public_key
from realtime.auth.recent import Recent
from realtime.auth.signing import Signing, bad_token
from realtime.errors import ConfigError, MalformedParameter

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.auth.identity import Identity
    from realtime.auth.keys import Fetch
    from realtime.config import AuthSettings


class Tokens:
    """Reads tokens, and makes them where the secret signs them."""

    def __init__(self, settings: AuthSettings, secret: str, now_ms: Callable[[], int], fetch: Fetch) -> None:
        """Prepare the keys.

        Raises:
            ConfigError: the configured key can't be used.
        """
        self._settings = settings
        self._now_ms = now_ms
        self._signing = Signing(settings.algorithm)
        self._shared = _shared_key(secret) if settings.algorithm == "HS256" else None
        self._keys = self._source(fetch)
        self._verified: Recent[Identity] = Recent()

    def _source(self, fetch: Fetch) -> Keys:
        settings = self._settings
        if self._shared is not None:
            return ConfiguredKey(self._shared)
        if settings.jwks_url is not None:
            return KeySet(settings.jwks_url, settings.algorithm, self._now_ms, fetch)
        return ConfiguredKey(read_public_key(settings.public_key or "", settings.algorithm))

    def read(self, text: str) -> Identity:
        """Return whom a token describes.

        Raises:
            KeyUnknown: its key isn't known; see `refresh`.
            KeysUnavailable: the same, and the last attempt to fetch the keys failed.
            BadCredential: it isn't good, or not any more, or not yet.
        """
        identity = self._verified.get(text)
        if identity is None:
            identity = self._read(text)
            self._verified.put(text, identity)
        elif self._is_over(identity):
            raise bad_token("has expired")
        return identity

    def _read(self, text: str) -> Identity:
        claims = self._claims(self._signing.verify(text, self._keys))
        fault = claims.fault(self._settings.audience)
        if fault is not None:
            raise bad_token(f"isn't acceptable: {fault}")
        identity = claims.identity()
        if self._is_over(identity):
            raise bad_token("has expired")
        if to_ms(claims.nbf) > self._now_ms() + self._settings.leeway:
            raise bad_token('isn\'t valid yet: its "nbf" lies in the future')
        return identity

    def _claims(self, payload: bytes) -> Claims:
        """Read the claims; what msgspec says of a fault names the claim and the types, and no value."""
        try:
            return msgspec.json.decode(payload, type=Claims)
        except msgspec.ValidationError as error:
            fault = f"isn't acceptable: {error}"
        except (ValueError, RecursionError):
            fault = "is malformed"
        raise bad_token(fault)

    def _is_over(self, identity: Identity) -> bool:
        return (identity.expires_ms or 0) + self._settings.leeway <= self._now_ms()

    async def refresh(self) -> bool:
        """Fetch newer keys, where they come from a key set; tell whether there may be some.

        What was verified with the old ones is forgotten, so that a key that was withdrawn counts no longer.
        """
        if not await self._keys.refresh():
            return False
        self._verified.clear()
        return True

    def sweep(self) -> int:
        """Forget the tokens that were not used since the last sweep; return how many."""
        return self._verified.sweep()

    def mint(self, claims: Claims) -> str:
        """Return a token with these claims, and an id of its own.

        Raises:
            ConfigError: tokens are signed with a private key, which isn't here.
            MalformedParameter: a claim doesn't follow its grammar.
        """
        if self._shared is None:
            raise ConfigError(
                f"tokens are signed with {self._signing.algorithm} here (auth.algorithm) by who has the private key: "
                "mint them there"
            )
        fault = claims.fault(self._settings.audience)
        if fault is not None:
            raise MalformedParameter(fault)
        return self._signing.sign(msgspec.json.encode(claims), self._shared)


def _shared_key(secret: str) -> bytes:
    try:
        return HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    except InvalidKeyError:
        raise ConfigError(
            "auth.secret: this is empty or a key pair's key, which others may know: expected a secret of your own; "
            "make one with: openssl rand -base64 32"
        ) from None
