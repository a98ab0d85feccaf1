"""The keys that tokens are verified with: one that is configured, or an identity provider's key set (RFC 7517).

A key is taken only when it fits the pinned algorithm, so that no other kind of key can be talked into verifying.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import httpx2
import orjson
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import PyJWK, PyJWTError
from pydantic_core import PydanticCustomError

from realtime.config.key_text import public_key_text
from realtime.errors import BadCredential, ConfigError, KeysUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    Fetch = Callable[[str], Awaitable[bytes]]

Key = bytes | RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey

REFRESH_INTERVAL_MS: Final = 30_000
"""The least time between two fetches of a key set: tokens with made-up key ids must not become requests of ours."""

_RETRY_INTERVAL_MS: Final = 1_000
"""The same while the last fetch failed: until one succeeds, tokens with new keys are answered with 503."""

_FETCH_TIMEOUT_S: Final = 5
_LARGEST_SET: Final = 1 << 20
_LEAST_RSA_BITS: Final = 2048  # RFC 7518 §3.3
_OTHER_NAMES: Final = {"EdDSA": {"Ed25519", "Ed448"}}  # RFC 9864 §2.2

_log = structlog.get_logger("gapless.auth")


class KeyUnknown(BadCredential):
    """A token names a key that isn't known here (yet): a fresh key set may have it."""


class Keys(Protocol):
    """Where the key of a token comes from."""

    def find(self, kid: str | None) -> Sequence[Key]:
        """Return the keys that may have signed a token with this key id: one, or without an id each that fits.

        Raises:
            KeyUnknown: there is none.
            KeysUnavailable: there is none, and the last attempt to fetch the keys failed.
        """

    def refuse_unnamed(self) -> None:
        """React to a token without a key id that no key verifies: a newer key set may have its key.

        Raises:
            KeyUnknown: a newer key set may have it.
            KeysUnavailable: the last attempt to fetch the keys failed.
        """

    async def refresh(self) -> bool:
        """Look for newer keys; tell whether there may be some now."""


class ConfiguredKey:
    """The one key of the configuration, whatever key id a token names."""

    def __init__(self, key: Key) -> None:
        self._key = key

    def find(self, kid: str | None) -> Sequence[Key]:  # noqa: ARG002 - there is only one
        """Return the key."""
        return (self._key,)

    def refuse_unnamed(self) -> None:
        """Do nothing: there is no newer key."""

    async def refresh(self) -> bool:
        """Do nothing: it stays as long as the process."""
        return False


class KeySet:
    """The keys at a JWKS address; fetched when asked to, at most every 30 s, and every second after a failure."""

    def __init__(self, url: str, algorithm: str, now_ms: Callable[[], int], fetch: Fetch) -> None:
        self._url = url
        self._algorithm = algorithm
        self._now_ms = now_ms
        self._fetch = fetch
        self._keys: tuple[NamedKey, ...] = ()
        self._is_current = False
        """Whether the last fetch succeeded."""
        self._fetched_ms: int | None = None
        self._fetches = 0
        self._alone = asyncio.Lock()

    def find(self, kid: str | None) -> Sequence[Key]:
        """Return the first key of that id; for a token without an id, every key (RFC 7515 §4.1.4: it is a hint)."""
        found = [key for name, key in self._keys if kid is None or name == kid]
        if not found:
            raise self._missing()
        return found if kid is None else found[:1]

    def refuse_unnamed(self) -> None:
        """Raise the error that makes the caller look for a newer key set."""
        raise self._missing()

    def _missing(self) -> KeyUnknown | KeysUnavailable:
        if self._is_current:
            return KeyUnknown("the token's key isn't among the keys that are trusted here; get a new token")
        return KeysUnavailable("the keys that verify tokens could not be fetched (auth.jwks_url): try again")

    async def refresh(self) -> bool:
        """Fetch the keys, unless that was done lately; callers at the same time share one fetch."""
        seen = self._fetches
        async with self._alone:
            if self._is_due():
                await self._replace()
        return seen != self._fetches

    def _is_due(self) -> bool:
        if self._fetched_ms is None:
            return True
        interval = REFRESH_INTERVAL_MS if self._is_current else _RETRY_INTERVAL_MS
        return not 0 <= self._now_ms() - self._fetched_ms < interval  # a clock that was set back must not stop it

    async def _replace(self) -> None:
        """Take the new keys; when they can't be had, the old ones stay good."""
        self._is_current = False
        try:
            async with asyncio.timeout(_FETCH_TIMEOUT_S):
                body = await self._fetch(self._url)
            self._keys = read_key_set(body, self._algorithm)
            self._is_current = True
            self._fetches += 1
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            _log.warning("key set not fetched: tokens with new keys are answered with 503", error=type(error).__name__)
        self._fetched_ms = self._now_ms()


async def fetch(url: str) -> bytes:
    """Get a small document.

    Raises:
        httpx2.HTTPError: it can't be reached, or isn't answered with 200.
        ValueError: it isn't small.
    """
    body = bytearray()
    async with httpx2.AsyncClient() as client, client.stream("GET", url) as response:
        response.raise_for_status()
        async for part in response.aiter_bytes():
            body += part
            if len(body) > _LARGEST_SET:
                raise ValueError("the document is too large for a key set")
    return bytes(body)


class NamedKey(NamedTuple):
    """A key with the id that its set gives it (RFC 7517 §4.5); it may have none."""

    kid: str | None
    key: Key


def read_key_set(body: bytes, algorithm: str) -> tuple[NamedKey, ...]:
    """Return the keys of a JWKS document (RFC 7517 §5) that fit the algorithm, in its order.

    Raises:
        ValueError: it is no key set, or none of its keys fits.
    """
    document = orjson.loads(body)
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("the document is no JWK set")  # noqa: TRY004 - one kind of error for whatever is in it
    read = ((jwk, _read_jwk(jwk, algorithm)) for jwk in listed)
    keys = tuple(NamedKey(jwk.get("kid"), key) for jwk, key in read if key is not None)
    if not keys:
        raise ValueError("no key of the set fits the algorithm")
    return keys


def _read_jwk(jwk: object, algorithm: str) -> Key | None:
    if not isinstance(jwk, dict) or not _is_meant(jwk, algorithm):
        return None
    try:
        key = PyJWK.from_dict(jwk, algorithm).key
    except (PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError):
        return None
    return key if fits(key, algorithm) else None


def _is_meant(jwk: Mapping[str, Any], algorithm: str) -> bool:
    """Tell whether a key is for verifying signatures of this algorithm (RFC 7517 §4.2 to §4.5)."""
    operations = jwk.get("key_ops", ["verify"])
    return (
        jwk.get("alg", algorithm) in {algorithm, *_OTHER_NAMES.get(algorithm, ())}
        and jwk.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and isinstance(jwk.get("kid", ""), str)
    )


def fits(key: object, algorithm: str) -> bool:
    """Tell whether a key is a public key of the algorithm's kind, and long enough."""
    if algorithm == "RS256":
        return isinstance(key, RSAPublicKey) and key.key_size >= _LEAST_RSA_BITS
    if algorithm == "ES256":
        return isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
    return algorithm == "EdDSA" and isinstance(key, Ed25519PublicKey | Ed448PublicKey)


def read_public_key(text: str, algorithm: str) -> Key:
    """Return the key of a PEM text, or of the file at that path.

    Raises:
        ConfigError: it can't be read, is none, or doesn't fit the algorithm.
    """
    place = "auth.public_key" if text.startswith("-----BEGIN ") else f"auth.public_key = {text!r}"
    try:
        pem = text if text.startswith("-----BEGIN ") else public_key_text(Path(text).read_text(errors="replace"))
        key = load_pem_public_key(pem.encode())
    except OSError as error:
        raise ConfigError(f"{place}: the file can't be read: {error.strerror}") from None
    except PydanticCustomError as error:
        raise ConfigError(f"{place}: {error.message()}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"{place}: this is no public key in PEM, which starts with -----BEGIN PUBLIC KEY") from None
    if not isinstance(key, Key) or not fits(key, algorithm):
        raise ConfigError(f'{place}: expected {_EXPECTED_KEYS[algorithm]}, for auth.algorithm = "{algorithm}"')
    return key


_EXPECTED_KEYS: Final = {
    "RS256": f"an RSA key of at least {_LEAST_RSA_BITS} bits",
    "ES256": "an elliptic-curve key on P-256",
    "EdDSA": "an Ed25519 or Ed448 key",
}
