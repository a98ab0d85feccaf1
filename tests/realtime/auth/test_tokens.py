"""Tokens: what is believed, what isn't, and from when to when."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import BadCredential
from tests.realtime.auth.makers import (
    NOW_MS,
    NOW_S,
    OTHER_SECRET,
    SECRET,
    Clock,
    changed,
    claims,
    credentials,
    forged,
    token,
)

if TYPE_CHECKING:
    from realtime.auth import Credentials

FOREIGN_TOKENS: Final = {
    "alg-none": forged({"alg": "none"}, claims()),
    "alg-none-unsigned": forged({"alg": "none", "typ": "JWT"}, claims()).rpartition(".")[0] + ".",
    "alg-None": forged({"alg": "None"}, claims()),
    "alg-missing": forged({"typ": "JWT"}, claims()),
    "alg-a-list": forged({"alg": ["HS256"]}, claims()),
    "alg-HS512": jwt.encode(claims(), SECRET * 2, "HS512"),
    "wrong-key": token(OTHER_SECRET),
    "unsigned": token().rpartition(".")[0] + ".",
    "no-signature": token().rpartition(".")[0],
    "key-in-header": forged({"alg": "HS256", "jwk": {"kty": "oct", "k": "YQ"}}, claims(), b"a"),
    "critical-extension": forged({"alg": "HS256", "crit": ["x"], "x": 1}, claims()),
    "detached-payload": forged({"alg": "HS256", "crit": ["b64"], "b64": False}, claims()),
    "kid-a-number": forged({"alg": "HS256", "kid": 7}, claims()),
    "payload-a-list": forged({"alg": "HS256"}, [claims()]),
    "payload-not-finite": forged({"alg": "HS256"}, claims(exp=float("inf"))),
    "payload-deep": forged({"alg": "HS256"}, b'{"sub":"a","x":' + b"[" * 2500 + b"]" * 2500 + b"}"),
    "too-long": token(scopes=[f"topic:{number}" for number in range(700)]),
    "one-part": "eyJhbGciOiJIUzI1NiJ9",
    "five-parts": "a.b.c.d.e",
    "not-ascii": token() + "é",
    "surrogate": token() + "\udc80",
    "empty": "",
}


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in FOREIGN_TOKENS.items()])
def test_what_we_would_not_have_signed_is_refused_and_never_quoted(door: Credentials, text: str) -> None:
    with pytest.raises(BadCredential) as refusal:
        door.bearer(text)
    assert refusal.value.__cause__ is None
    assert not any(part in refusal.value.detail for part in text.split(".") if len(part) > 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": None},
        {"sub": 7},
        {"sub": ""},
        {"sub": "a,b"},
        {"sub": "a b"},
        {"sub": "a\nb"},
        {"sub": "a" * 256},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": str(NOW_S + 3600)},
        {"exp": True},
        {"nbf": "yesterday"},
        {"channel": 1},
        {"channel": ""},
        {"channel": "a b"},
        {"scopes": "topic:a"},
        {"scopes": {"topic:a": 1}},
        {"scopes": [7]},
        {"scopes": ["*"]},
        {"scopes": ["topic:a", "user:*,"]},
        {"roles": "admin"},
        {"roles": [["admin"]]},
        {"roles": [""]},
        {"publish": "topic:a"},
        {"publish": ["everything"]},
        {"publish": False},
        {"jti": 5},
        {"aud": "https://other.example.com"},
    ],
    ids=lambda changes: json.dumps(changes)[:40],
)
def test_claims_of_a_wrong_kind_are_refused(door: Credentials, changes: dict[str, object]) -> None:
    with pytest.raises(BadCredential) as refusal:
        door.bearer(forged({"alg": "HS256"}, claims(**changes)))
    assert next(iter(changes)) in refusal.value.detail


@pytest.mark.parametrize("aud", ["https://events.example.com", ["else", "https://events.example.com"]], ids=str)
def test_a_token_for_this_audience_is_good(clock: Clock, aud: object) -> None:
    door = credentials(clock, auth={"audience": "https://events.example.com"})
    assert door.bearer(token(aud=aud)).sub == "alice"


@pytest.mark.parametrize("changes", [{}, {"aud": "else"}, {"aud": []}, {"aud": ["else"]}], ids=json.dumps)
def test_a_token_for_another_audience_or_none_is_refused(clock: Clock, changes: dict[str, object]) -> None:
    door = credentials(clock, auth={"audience": "https://events.example.com"})
    with pytest.raises(BadCredential, match="audience"):
        door.bearer(jwt.encode(claims(**changes), SECRET, "HS256"))


def test_our_own_tokens_name_the_audience(clock: Clock) -> None:
    door = credentials(clock, auth={"audience": "https://events.example.com"})
    assert door.bearer(door.mint("42")).sub == "42"


@pytest.mark.parametrize(
    "changes", [{"sub": "\ud800"}, {"scopes": ["topic:\udfff"]}, {"roles": ["\ud800"]}], ids=json.dumps
)
def test_what_could_not_be_written_as_utf8_is_refused(door: Credentials, changes: dict[str, object]) -> None:
    with pytest.raises(BadCredential):
        door.bearer(forged({"alg": "HS256"}, claims(**changes)))


@pytest.mark.parametrize("claim", ["sub", "exp", "nbf", "channel", "scopes", "roles", "publish", "jti"])
def test_null_is_not_the_same_as_absent(door: Credentials, claim: str) -> None:
    with pytest.raises(BadCredential):
        door.bearer(forged({"alg": "HS256"}, claims() | {claim: None}))


def test_claims_that_mean_nothing_here_are_ignored(door: Credentials) -> None:
    text = token(iat=NOW_S + 999_999, iss="https://login.example.com", name="Alice", address={"city": ["x"]})
    assert door.bearer(text).sub == "alice"


@pytest.mark.parametrize("again", [False, True], ids=["at-first", "after-it-was-good"])
def test_a_token_ends_with_its_exp_and_five_seconds(door: Credentials, clock: Clock, again: bool) -> None:
    text = token(exp=NOW_S + 10)
    if again:
        door.bearer(text)
    clock.ms = NOW_MS + 14_999
    assert door.bearer(text).expires_ms == NOW_MS + 10_000
    clock.ms += 1
    with pytest.raises(BadCredential, match="expired"):
        door.bearer(text)


@pytest.mark.parametrize("exp", [0, -1, NOW_S - 3600, -1e300])
def test_a_token_of_the_past_is_refused(door: Credentials, exp: float) -> None:
    with pytest.raises(BadCredential, match="expired"):
        door.bearer(token(exp=exp))


@pytest.mark.parametrize("exp", [NOW_S + 0.5, 1e300, 10**30])
def test_any_number_may_be_an_exp(door: Credentials, exp: float) -> None:
    expires_ms = door.bearer(token(exp=exp)).expires_ms
    assert expires_ms is not None
    assert NOW_MS < expires_ms <= 2**53


def test_a_token_begins_with_its_nbf_less_five_seconds(door: Credentials, clock: Clock) -> None:
    text = token(nbf=NOW_S + 60)
    clock.ms = NOW_MS + 54_999
    with pytest.raises(BadCredential, match="nbf"):
        door.bearer(text)
    clock.ms += 1
    assert door.bearer(text).sub == "alice"


def test_the_leeway_is_a_setting(clock: Clock) -> None:
    door = credentials(clock, auth={"leeway": "0s"})
    with pytest.raises(BadCredential):
        door.bearer(token(exp=NOW_S))
    with pytest.raises(BadCredential):
        door.bearer(token(nbf=NOW_S + 1))


def test_a_short_secret_of_development_works_without_a_warning_each_time(clock: Clock) -> None:
    door = credentials(clock, secret="short")
    assert door.bearer(door.mint("alice")).sub == "alice"


@given(st.data())
def test_a_token_that_was_changed_anywhere_lets_nobody_else_in(data: st.DataObject) -> None:
    text = token()
    try:
        identity = credentials().bearer(changed(data, text))
    except BadCredential:
        return
    assert identity == credentials().bearer(text)  # padding at its end


def test_bad_texts_take_no_room(door: Credentials) -> None:
    for text in FOREIGN_TOKENS.values():
        with pytest.raises(BadCredential):
            door.bearer(text)
    assert len(door._tokens._verified) == 0  # noqa: SLF001 - nothing else shows what is kept
