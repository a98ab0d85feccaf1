"""Who asks, over HTTP: what counts, what comes first, and that nothing bad is ever anonymous (PROTOCOL §3)."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from tests.support.gateway import SECRET, gateway
from tests.wire.support import (
    BROWSER,
    EVENTS,
    HISTORY,
    LONG_POLL,
    NEGOTIATE,
    POLL,
    SDK,
    STREAM,
    TICKET,
    check_problem,
    unique,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx2

    from tests.support.gateway import Gateway
    from tests.support.redis import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

GETS = [STREAM, LONG_POLL, POLL, HISTORY]


def signed(key: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:  # noqa: ANN401 - claims are any JSON
    """Sign a token as an application does, with another library than the service's own code."""
    full = {"sub": "42", "exp": time.time() + 600, **claims}
    return jwt.encode({name: value for name, value in full.items() if value is not None}, key, algorithm)


def unsigned(**claims: object) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part({'sub': '42', 'exp': time.time() + 600, **claims})}."


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def ask(gateway: Gateway, path: str, headers: dict[str, str], **query: str) -> httpx2.Response:
    return await gateway.http.get(path, headers=headers, params=query)


BAD: dict[str, Callable[[], str]] = {
    "alg none": unsigned,
    "wrong key": lambda: signed("another secret that is long enough, really"),
    "another algorithm": lambda: signed(SECRET + SECRET, "HS384"),
    "expired": lambda: signed(exp=time.time() - 6),
    "not yet": lambda: signed(nbf=time.time() + 60),
    "no sub": lambda: signed(sub=None),
    "no exp": lambda: signed(exp=None),
    "empty sub": lambda: signed(sub=""),
    "sub with a comma": lambda: signed(sub="a,b"),
    "scopes of no grammar": lambda: signed(scopes=["everything"]),
    "a pattern of no grammar": lambda: signed(scopes=["user:*x y"]),
    "scopes as text": lambda: signed(scopes="broadcast"),
    "channel of no grammar": lambda: signed(channel="a b"),
    "made up": lambda: "no.such.token",
    "one word": lambda: "x",
    "long": lambda: "a" * 9000,
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_token_is_401_everywhere_and_never_anonymous(public: Gateway, kind: str) -> None:
    headers = bearer(BAD[kind]())
    for path in GETS:
        check_problem(await ask(public, path, {**headers, **SDK}), 401, "bad-credential")
    for path in (NEGOTIATE, TICKET, EVENTS):
        check_problem(await public.http.post(path, headers=headers), 401, "bad-credential")


@pytest.mark.parametrize("value", ["", "Bearer", "Basic dXNlcjpwYXNz", "Token x", "bearer a b"])
async def test_another_form_of_authorization_is_401(public: Gateway, value: str) -> None:
    check_problem(await ask(public, POLL, {"Authorization": value}), 401, "bad-credential")


@pytest.mark.parametrize("claims", [{"exp": time.time() + 3600}, {"nbf": 1}, {"iat": 1, "iss": "me", "custom": [1]}])
async def test_a_good_token_is_good(plain: Gateway, claims: dict[str, Any]) -> None:
    assert (await ask(plain, POLL, bearer(signed(**claims)))).status_code == 200


async def test_five_seconds_of_leeway(plain: Gateway) -> None:
    assert (await ask(plain, POLL, bearer(signed(exp=time.time() - 2)))).status_code == 200
    assert (await ask(plain, POLL, bearer(signed(nbf=time.time() + 2)))).status_code == 200


async def test_the_scheme_is_read_in_any_case(plain: Gateway) -> None:
    assert (await ask(plain, POLL, {"Authorization": f"bEaReR {signed()}"})).status_code == 200


@pytest.mark.parametrize("path", GETS)
async def test_without_a_credential_it_is_401(plain: Gateway, path: str) -> None:
    check_problem(await ask(plain, path, SDK), 401, "credential-required")


@pytest.mark.parametrize("accept", [BROWSER, SDK, {"Accept": "*/*"}])
async def test_a_stream_tells_a_bad_credential_to_everyone_with_401(plain: Gateway, accept: dict[str, str]) -> None:
    check_problem(await ask(plain, STREAM, {**accept, **bearer("x")}), 401, "bad-credential")
    check_problem(await ask(plain, STREAM, accept, ticket="x"), 401, "bad-credential")
    check_problem(await ask(plain, STREAM, accept), 401, "credential-required")


async def cookie_of(gateway: Gateway, sub: str) -> str:
    answer = await gateway.http.post(TICKET, json={"cookie": True}, headers=gateway.bearer(sub))
    cookie: str = answer.headers["set-cookie"].split(";")[0]
    return cookie


async def test_header_before_query_before_cookie(plain: Gateway) -> None:
    header, query, cookie = (unique("who") for _ in range(3))
    ids = await plain.publish(*({"scope": f"user:{sub}"} for sub in (header, query, cookie)))
    ticket = (await plain.negotiate(query))["ticket"]
    jar = {"Cookie": await cookie_of(plain, cookie)}

    async def seen(headers: dict[str, str], **more: str) -> list[str]:
        answer = await ask(plain, HISTORY, headers, scopes=more.pop("scopes"), **more)
        assert answer.status_code == 200, answer.text
        return [event["id"] for event in answer.json()["events"]]

    mine = f"user:{header}"
    assert await seen({**plain.bearer(header), **jar}, ticket=ticket, scopes=mine) == [ids[0]]
    assert await seen(jar, ticket=ticket, scopes=f"user:{query}") == [ids[1]]
    assert await seen(jar, scopes=f"user:{cookie}") == [ids[2]]


async def test_a_bad_credential_is_not_saved_by_a_lower_one(public: Gateway) -> None:
    ticket = (await public.negotiate())["ticket"]
    jar = {"Cookie": await cookie_of(public, "42")}
    check_problem(await ask(public, POLL, {**bearer("x"), **jar}, ticket=ticket), 401, "bad-credential")
    check_problem(await ask(public, POLL, jar, ticket="x"), 401, "bad-credential")
    check_problem(await ask(public, POLL, jar, ticket=""), 401, "bad-credential")
    check_problem(await ask(public, POLL, {"Cookie": "gapless_ticket=x"}), 401, "bad-credential")
    check_problem(await ask(public, POLL, {"Cookie": "gapless_ticket="}), 401, "bad-credential")


async def test_anonymous_clients_see_exactly_the_configured_scopes(public: Gateway) -> None:
    visible = await public.publish({"scope": "broadcast"}, {"scope": "topic:news.a"}, {"scope": "topic:news.a.b"})
    hidden = await public.publish(
        {"scope": "topic:news"}, {"scope": "topic:sport.a"}, {"scope": "user:42"}, {"scope": "role:x"}
    )
    answer = await ask(public, HISTORY, {}, limit="1000")
    seen = [event["id"] for event in answer.json()["events"]]
    assert seen[-3:] == visible
    assert not set(seen) & set(hidden)
    others = {event["scope"] for event in answer.json()["events"]} - {"broadcast"}
    assert all(scope.startswith("topic:news.") for scope in others), "what other tests published here, too"
    for scope in ("user:42", "topic:news", "topic:*", "topic:newsx.a", "role:x"):
        check_problem(await ask(public, POLL, {}, scopes=scope), 403, "scope-not-held")


async def test_a_good_token_sees_its_own_scopes_not_the_anonymous_ones(public: Gateway) -> None:
    check_problem(await ask(public, POLL, public.bearer("7"), scopes="topic:news.a"), 403, "scope-not-held")


async def test_implicit_scopes_and_granted_ones(plain: Gateway) -> None:
    token = bearer(signed(sub="9", roles=["ops"], scopes=["user:7", "topic:a.b", "topic:c.*", "role:guest"]))
    for scope in ("broadcast", "user:9", "role:ops", "user:7", "topic:a.b", "topic:c.d", "topic:c.d.e", "topic:c.d.*"):
        assert (await ask(plain, POLL, token, scopes=scope)).status_code == 200, scope
    assert (await ask(plain, POLL, token, scopes="role:guest,topic:c.*,broadcast")).status_code == 200
    for scope in ("user:8", "role:admin", "topic:a", "topic:a.b.c", "topic:c", "topic:*", "topic:a.*"):
        check_problem(await ask(plain, POLL, token, scopes=scope), 403, "scope-not-held")
        check_problem(await ask(plain, HISTORY, token, scopes=f"broadcast,{scope}"), 403, "scope-not-held")
        check_problem(await ask(plain, STREAM, {**token, **BROWSER}, scopes=scope), 403, "scope-not-held")


async def test_the_scope_of_a_role_makes_no_role(plain: Gateway) -> None:
    body = {"event": "a.b", "scope": "broadcast", "data": 1}
    headers = bearer(signed(scopes=["role:publisher"]))
    check_problem(await plain.http.post(EVENTS, json=body, headers=headers), 403, "role-not-held")


async def test_a_channel_sees_nothing_of_another(plain: Gateway) -> None:
    sub = unique("tenant")
    other = await plain.publish({"scope": f"user:{sub}"}, {"scope": "broadcast"}, channel="acme")
    mine = await plain.publish({"scope": f"user:{sub}"})
    acme = {"sub": sub, "channel": "acme"}
    ticket = (await plain.negotiate(sub))["ticket"]
    acme_ticket = (await plain.http.post(NEGOTIATE, headers=bearer(signed(**acme)))).json()["ticket"]

    async def seen(headers: dict[str, str], **query: str) -> list[str]:
        answer = await ask(plain, HISTORY, headers, **query)
        return [event["id"] for event in answer.json()["events"]]

    assert await seen({}, ticket=acme_ticket) == other
    assert await seen(bearer(signed(**acme))) == other
    assert await seen({}, ticket=ticket, scopes=f"user:{sub}") == mine


async def test_a_token_or_ticket_in_the_others_place_is_refused(plain: Gateway) -> None:
    ticket = (await plain.negotiate())["ticket"]
    check_problem(await ask(plain, POLL, bearer(ticket)), 401, "bad-credential")
    check_problem(await ask(plain, POLL, {}, ticket=signed()), 401, "bad-credential")
    check_problem(await ask(plain, POLL, {"Cookie": f"gapless_ticket={signed()}"}), 401, "bad-credential")


async def test_two_authorizations_are_a_bad_one(plain: Gateway) -> None:
    headers = [("Authorization", f"Bearer {signed()}"), ("Authorization", f"Bearer {signed()}")]
    check_problem(await plain.http.get(POLL, headers=headers), 401, "bad-credential")


@pytest.mark.parametrize("kind", ["RS256", "ES256", "EdDSA"])
async def test_a_key_pairs_tokens_and_no_confusion(wire_valkey: RedisServer, tmp_path: Path, kind: str) -> None:
    private, public_key = key_pair(kind)
    settings = {"AUTH__ALGORITHM": kind, "AUTH__PUBLIC_KEY": public_key}
    async with gateway(tmp_path, wire_valkey.database(), settings) as running:
        assert (await ask(running, POLL, bearer(signed(private, kind)))).status_code == 200
        confused = hs256_with(public_key)
        check_problem(await ask(running, POLL, bearer(confused)), 401, "bad-credential")
        check_problem(await ask(running, POLL, bearer(signed())), 401, "bad-credential")
        check_problem(await ask(running, POLL, bearer(signed(key_pair(kind)[0], kind))), 401, "bad-credential")
        check_problem(await ask(running, POLL, bearer(unsigned())), 401, "bad-credential")


def key_pair(kind: str) -> tuple[str, str]:
    """Return a private and a public key as PEM."""
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415 - for one test
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415 - the same

    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    if kind == "RS256":
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    elif kind == "ES256":
        private = ec.generate_private_key(ec.SECP256R1())
    else:
        private = ed25519.Ed25519PrivateKey.generate()
    secret = private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    known = private.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    return secret.decode(), known.decode()


def hs256_with(public_key: str) -> str:
    """Sign with what everybody knows, as HS256: the confusion of algorithms."""
    import hashlib  # noqa: PLC0415 - for one test
    import hmac  # noqa: PLC0415 - the same

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    head = part(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    text = f"{head}.{part(json.dumps({'sub': '42', 'exp': int(time.time()) + 600}).encode())}"
    return f"{text}.{part(hmac.digest(public_key.encode(), text.encode(), hashlib.sha256))}"
