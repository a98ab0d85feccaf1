"""What the tests of credentials are made with: a clock, keys, tokens good and forged, tickets, requests."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import strategies as st

from realtime.auth import Content, Credentials, Identity, Ticket
from realtime.config import Settings
from realtime.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
Signer = Private | str

SECRET: Final = "a-secret-that-is-long-enough-for-hmac"
OTHER_SECRET: Final = "another-secret-that-is-long-enough-too"
NOW_MS: Final = 1_800_000_000_000
NOW_S: Final = NOW_MS // 1000
HOUR_MS: Final = 3_600_000
EVENTS: Final = "/api/v1/events"


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.ms = NOW_MS

    def __call__(self) -> int:
        return self.ms


class Provider:
    """An identity provider: what its JWKS address answers, and how often it was asked."""

    def __init__(self, *jwks: dict[str, Any]) -> None:
        self.jwks = list(jwks)
        self.asked = 0
        self.is_down = False

    async def __call__(self, url: str) -> bytes:
        self.asked += 1
        await asyncio.sleep(0)
        if self.is_down:
            raise httpx2.ConnectError(f"nobody is at {url}")
        return json.dumps({"keys": self.jwks}).encode()


def credentials(clock: Clock | None = None, *, secret: str = SECRET, **sections: dict[str, Any]) -> Credentials:
    return Credentials(Settings.model_validate(sections), secret, now_ms=clock or Clock())


def claims(**changes: object) -> dict[str, Any]:
    """Return the claims of a good token; a claim that is changed to ``None`` is left out."""
    changed = {"sub": "alice", "exp": NOW_S + 3600} | changes
    return {claim: value for claim, value in changed.items() if value is not None}


def token(key: Signer = SECRET, algorithm: str = "HS256", kid: str | None = None, **changes: object) -> str:
    headers = None if kid is None else {"kid": kid}
    return jwt.encode(claims(**changes), key, algorithm, headers=headers)


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(header: object, payload: object, key: bytes = SECRET.encode()) -> str:
    """Sign anything with HMAC-SHA-256, as a library with scruples would not."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    body = f"{base64url(json.dumps(header).encode())}.{base64url(raw)}"
    return f"{body}.{base64url(hmac.digest(key, body.encode(), hashlib.sha256))}"


def sealed(door: Credentials, identity: Identity | None = None, *, ttl_ms: int = 60_000, **changes: Any) -> Ticket:  # noqa: ANN401 - fields of a content
    holder = identity or door.bearer(token())
    return door.seal(holder, Content(**{"session": "s1"} | changes), ttl_ms)


def get(path: str = f"{EVENTS}/stream", *, ticket: str | None = None, scheme: str = "http", **headers: str) -> Request:
    """Make a GET; header names are given with underscores."""
    query = {} if ticket is None else {"ticket": ticket}
    return Request("GET", path, query, headers_of(headers), scheme)


def headers_of(headers: dict[str, str]) -> dict[str, str]:
    return {"host": "events.example.com"} | {name.replace("_", "-"): value for name, value in headers.items()}


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(curve: type[ec.EllipticCurve] = ec.SECP256R1) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve())


@cache
def ed_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


KEYS: Final[dict[str, Callable[[], Private]]] = {"RS256": rsa_key, "ES256": ec_key, "EdDSA": ed_key}
each_key_pair = pytest.mark.parametrize("algorithm", KEYS)


def pem(private: Private) -> str:
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.public_key().public_bytes(*form).decode()


def jwk(private: Private, kid: str | None = None, **members: object) -> dict[str, Any]:
    kinds: list[tuple[type, Any]] = [
        (rsa.RSAPrivateKey, jwt.algorithms.RSAAlgorithm),
        (ec.EllipticCurvePrivateKey, jwt.algorithms.ECAlgorithm),
        (ed25519.Ed25519PrivateKey, jwt.algorithms.OKPAlgorithm),
    ]
    writer = next(writer for kind, writer in kinds if isinstance(private, kind))
    named = {} if kid is None else {"kid": kid}
    return {**writer.to_jwk(private.public_key(), as_dict=True), "key_ops": ["verify"], **named, **members}


def key_set_door(provider: Provider, clock: Clock, algorithm: str = "ES256") -> Credentials:
    auth = {"algorithm": algorithm, "jwks_url": "https://login.example.com/jwks.json"}
    return Credentials(Settings.model_validate({"auth": auth}), SECRET, now_ms=clock, fetch=provider)


def changed(data: st.DataObject, text: str) -> str:
    """Change a text in one place: a character replaced, added, removed, or cut off from there on."""
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("ABCXYZabcxyz019-_.=+/ \n") | st.characters())
    return data.draw(
        st.sampled_from(
            [
                text[:place] + letter + text[place + 1 :],
                text[:place] + letter + text[place:],
                text[:place] + text[place + 1 :],
                text[:place],
                text + letter,
            ]
        ).filter(lambda other: other != text)
    )
