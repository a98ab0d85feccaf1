"""Keys: which of them verify tokens, and how a key set is kept fresh."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from realtime.auth import Credentials, KeyUnknown
from realtime.auth.keys import fetch, read_key_set
from realtime.config import Settings
from realtime.errors import BadCredential, ConfigError, KeysUnavailable
from tests.realtime.auth.makers import (
    HOUR_MS,
    KEYS,
    SECRET,
    Clock,
    Provider,
    base64url,
    claims,
    credentials,
    each_key_pair,
    ec_key,
    ed_key,
    forged,
    get,
    jwk,
    key_set_door,
    pem,
    rsa_key,
    sealed,
    token,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from realtime.request import Request


@each_key_pair
def test_a_public_key_verifies_as_text_and_as_a_file(tmp_path: Path, algorithm: str) -> None:
    private = KEYS[algorithm]()
    file = tmp_path / "key.pem"
    file.write_text(pem(private))
    for public_key in (pem(private), str(file)):
        door = credentials(auth={"algorithm": algorithm, "public_key": public_key})
        assert door.bearer(token(private, algorithm)).sub == "alice"
        assert door.bearer(token(private, algorithm, kid="whatever")).sub == "alice"


@each_key_pair
def test_the_public_key_is_no_shared_secret(algorithm: str) -> None:
    """The confusion of CVE-2015-9235: what everybody may know would sign."""
    public_key = pem(KEYS[algorithm]())
    door = credentials(auth={"algorithm": algorithm, "public_key": public_key})
    for key in (public_key.encode(), public_key.strip().encode(), b"", SECRET.encode()):
        for alg in ("HS256", algorithm, "none"):
            with pytest.raises(BadCredential):
                door.bearer(forged({"alg": alg}, claims(), key))


@each_key_pair
def test_only_the_pinned_algorithm_counts(door: Credentials, algorithm: str) -> None:
    text = token(KEYS[algorithm](), algorithm)
    with pytest.raises(BadCredential):
        door.bearer(text)
    for pinned in KEYS.keys() - {algorithm}:
        with pytest.raises(BadCredential):
            credentials(auth={"algorithm": pinned, "public_key": pem(KEYS[pinned]())}).bearer(text)


def test_another_key_of_the_kind_is_refused() -> None:
    door = credentials(auth={"algorithm": "EdDSA", "public_key": pem(ed_key())})
    with pytest.raises(BadCredential, match="signature"):
        door.bearer(token(ed25519.Ed25519PrivateKey.generate(), "EdDSA"))


@pytest.mark.parametrize(
    ("algorithm", "public_key"),
    [
        ("RS256", lambda: pem(ec_key())),
        ("RS256", lambda: pem(rsa_key(1024))),
        ("ES256", lambda: pem(ec_key(ec.SECP384R1))),
        ("EdDSA", lambda: pem(rsa_key())),
        ("ES256", lambda: "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
    ],
    ids=["other-kind", "too-short", "other-curve", "other-kind-2", "damaged"],
)
def test_a_key_that_does_not_fit_stops_the_start(algorithm: str, public_key: Callable[[], str]) -> None:
    with pytest.raises(ConfigError, match=r"auth\.public_key"):
        credentials(auth={"algorithm": algorithm, "public_key": public_key()})


def test_a_private_key_in_the_file_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(ec_key().private_bytes(*form))
    with pytest.raises(ConfigError, match="expected a public key; this is a private one"):
        credentials(auth={"algorithm": "ES256", "public_key": str(file)})


@pytest.mark.parametrize(
    "secret",
    [lambda: "", lambda: pem(ec_key()), lambda: json.dumps({"kty": "oct", "k": "YWJj"})],
    ids=["empty", "public-key", "key-of-a-set"],
)
def test_what_others_know_is_no_shared_secret(secret: Callable[[], str]) -> None:
    with pytest.raises(ConfigError, match=r"auth\.secret"):
        credentials(secret=secret())


def test_tickets_need_no_key_pair() -> None:
    door = credentials(auth={"algorithm": "EdDSA", "public_key": pem(ed_key())})
    ticket = sealed(door, door.bearer(token(ed_key(), "EdDSA")))
    assert door.open_ticket(ticket.text) == ticket


@each_key_pair
async def test_a_key_is_found_by_its_id(clock: Clock, algorithm: str) -> None:
    provider = Provider(jwk(KEYS[algorithm](), "k1"))
    door = key_set_door(provider, clock, algorithm)
    assert await door.refresh()
    assert door.bearer(token(KEYS[algorithm](), algorithm, kid="k1")).sub == "alice"
    with pytest.raises(KeyUnknown):
        door.bearer(token(KEYS[algorithm](), algorithm, kid="k2"))


async def test_an_unknown_key_is_looked_for_while_the_client_waits(clock: Clock) -> None:
    provider = Provider(jwk(ec_key(), "k1"))
    door = key_set_door(provider, clock)
    request = get(authorization=f"Bearer {token(ec_key(), 'ES256', kid='k1')}")
    with pytest.raises(KeysUnavailable):
        door.authenticate(request)
    assert (await door.authenticate_fresh(request)).identity.sub == "alice"
    assert door.authenticate(request).via == "header"
    assert provider.asked == 1


async def test_made_up_key_ids_ask_the_provider_once_in_thirty_seconds(clock: Clock) -> None:
    provider = Provider(jwk(ec_key(), "k1"))
    door = key_set_door(provider, clock)
    requests = [get(authorization=f"Bearer {token(ec_key(), 'ES256', kid=f'x{n}')}") for n in range(9)]

    async def refusals() -> None:
        results = await asyncio.gather(*map(door.authenticate_fresh, requests), return_exceptions=True)
        assert {type(result) for result in results} == {KeyUnknown}

    await refusals()
    clock.ms += 29_999
    await refusals()
    assert provider.asked == 1
    clock.ms += 1
    await refusals()
    assert provider.asked == 2


async def test_a_token_of_another_algorithm_asks_the_provider_nothing(clock: Clock) -> None:
    provider = Provider(jwk(ec_key(), "k1"))
    door = key_set_door(provider, clock)
    for alg in ("none", "HS256"):
        with pytest.raises(BadCredential):
            await door.authenticate_fresh(get(authorization=f"Bearer {forged({'alg': alg, 'kid': 'k1'}, claims())}"))
    assert provider.asked == 0


async def test_a_clock_that_was_set_back_does_not_stop_the_search(clock: Clock) -> None:
    door = key_set_door(Provider(jwk(ec_key(), "k1")), clock)
    assert await door.refresh()
    clock.ms -= HOUR_MS
    assert await door.refresh()


async def test_a_key_that_was_withdrawn_counts_no_longer(clock: Clock) -> None:
    provider = Provider(jwk(ec_key(), "k1"))
    door = key_set_door(provider, clock)
    await door.refresh()
    text = token(ec_key(), "ES256", kid="k1")
    assert door.bearer(text).sub == "alice"
    provider.jwks = [jwk(ec.generate_private_key(ec.SECP256R1()), "k2")]
    clock.ms += 30_000
    assert await door.refresh()
    with pytest.raises(KeyUnknown):
        door.bearer(text)


async def test_a_provider_that_is_down_leaves_the_known_keys_good(clock: Clock) -> None:
    provider = Provider(jwk(ec_key(), "k1"))
    door = key_set_door(provider, clock)
    await door.refresh()
    provider.is_down = True
    clock.ms += 30_000
    assert not await door.refresh()
    assert door.bearer(token(ec_key(), "ES256", kid="k1")).sub == "alice"


async def test_a_provider_that_was_down_at_the_start_is_asked_again_soon(clock: Clock) -> None:
    provider = Provider(jwk(ec_key(), "k1"))
    provider.is_down = True
    door = key_set_door(provider, clock)
    assert not await door.refresh()
    provider.is_down = False
    clock.ms += 1_000
    assert await door.refresh()


@pytest.mark.parametrize("kids", [("k1", "k2", "k3"), (None, None, None), ("k1", None, "k1")], ids=str)
async def test_a_token_without_a_key_id_is_tried_with_each_key(clock: Clock, kids: tuple[str | None, ...]) -> None:
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in kids]
    door = key_set_door(Provider(*map(jwk, keys, kids)), clock)
    await door.refresh()
    for key in keys:
        assert door.bearer(token(key, "ES256")).sub == "alice"
    with pytest.raises(KeyUnknown):
        door.bearer(token(ec_key(), "ES256"))


async def test_of_two_keys_with_one_id_the_first_counts_for_a_token_that_names_it(clock: Clock) -> None:
    first, second = ec_key(), ec.generate_private_key(ec.SECP256R1())
    door = key_set_door(Provider(jwk(first, "k1"), jwk(second, "k1")), clock)
    await door.refresh()
    assert door.bearer(token(first, "ES256", kid="k1")).sub == "alice"
    with pytest.raises(BadCredential, match="signature"):
        door.bearer(token(second, "ES256", kid="k1"))


async def test_a_token_without_a_key_id_finds_a_newer_key(clock: Clock) -> None:
    provider = Provider(jwk(ec_key(), "k1"))
    door = key_set_door(provider, clock)
    await door.refresh()
    newer = ec.generate_private_key(ec.SECP256R1())
    provider.jwks.append(jwk(newer, "k2"))
    clock.ms += 30_000
    request = get(authorization=f"Bearer {token(newer, 'ES256')}")
    assert (await door.authenticate_fresh(request)).identity.sub == "alice"


async def test_a_key_set_that_was_never_had_is_the_services_fault(clock: Clock) -> None:
    provider = Provider(jwk(ec_key(), "k1"))
    provider.is_down = True
    door = key_set_door(provider, clock)
    failed: list[Request] = []
    door.failed = failed.append
    for kid in ("k1", None):
        request = get(authorization=f"Bearer {token(ec_key(), 'ES256', kid=kid)}")
        with pytest.raises(KeysUnavailable) as caught:
            await door.authenticate_fresh(request)
        assert caught.value.status == 503
        assert int(caught.value.headers["Retry-After"]) >= 1
    assert not failed, "a key set that can't be fetched is no failed credential"


async def test_a_new_key_is_the_services_fault_while_the_last_fetch_failed(clock: Clock) -> None:
    provider = Provider(jwk(ec_key(), "k1"))
    door = key_set_door(provider, clock)
    await door.refresh()
    newer = ec.generate_private_key(ec.SECP256R1())
    request = get(authorization=f"Bearer {token(newer, 'ES256', kid='k2')}")
    with pytest.raises(KeyUnknown):
        await door.authenticate_fresh(request)
    provider.is_down = True
    clock.ms += 30_000
    with pytest.raises(KeysUnavailable):
        await door.authenticate_fresh(request)
    assert door.bearer(token(ec_key(), "ES256", kid="k1")).sub == "alice"
    provider.is_down = False
    provider.jwks.append(jwk(newer, "k2"))
    clock.ms += 1_000
    assert (await door.authenticate_fresh(request)).identity.sub == "alice"


@pytest.mark.parametrize(
    "unfit",
    [
        lambda: jwk(rsa_key(), "k1"),
        lambda: jwk(ec_key(ec.SECP384R1), "k1"),
        lambda: jwk(ec_key(), "k1", alg="ES384"),
        lambda: jwk(ec_key(), "k1", use="enc"),
        lambda: jwk(ec_key(), "k1", key_ops=["sign"]),
        lambda: jwk(ec_key(), "k1", x=7),
        lambda: {name: value for name, value in jwk(ec_key(), "k1").items() if name != "y"},
        lambda: jwt.algorithms.ECAlgorithm.to_jwk(ec_key(), as_dict=True) | {"kid": "k1"},
        lambda: {"kty": "oct", "kid": "k1", "k": base64url(SECRET.encode())},
        lambda: "k1",
    ],
    ids=["kind", "curve", "alg", "use", "operations", "damaged", "half", "private", "shared", "no-key"],
)
def test_a_key_that_does_not_fit_the_algorithm_is_left_out(unfit: Callable[[], object]) -> None:
    (read,) = read_key_set(json.dumps({"keys": [unfit(), jwk(ec_key(), "good")]}).encode(), "ES256")
    assert read.kid == "good"
    with pytest.raises(ValueError, match="fits"):
        read_key_set(json.dumps({"keys": [unfit()]}).encode(), "ES256")


def test_a_short_rsa_key_is_left_out() -> None:
    with pytest.raises(ValueError, match="fits"):
        read_key_set(json.dumps({"keys": [jwk(rsa_key(1024), "k1")]}).encode(), "RS256")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[]}', b"<html>"])
async def test_what_is_no_key_set_changes_nothing(clock: Clock, body: bytes) -> None:
    async def answer(_: str) -> bytes:
        return body

    door = Credentials(
        Settings.model_validate({"auth": {"algorithm": "ES256", "jwks_url": "https://x.example"}}),
        SECRET,
        now_ms=clock,
        fetch=answer,
    )
    assert not await door.refresh()


async def test_the_key_set_comes_over_http() -> None:
    async with website(b"200 OK", b'{"keys":[]}') as url:
        assert await fetch(url) == b'{"keys":[]}'
    async with website(b"404 Not Found", b"") as url:
        with pytest.raises(httpx2.HTTPStatusError):
            await fetch(url)
    async with website(b"200 OK", b"x" * (1 << 20) + b"x") as url:
        with pytest.raises(ValueError, match="too large"):
            await fetch(url)


async def test_without_a_key_set_there_is_nothing_to_fetch(door: Credentials) -> None:
    assert not await door.refresh()


@asynccontextmanager
async def website(status: bytes, body: bytes) -> AsyncIterator[str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, len(body), body))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/jwks.json"
