"""Which credential of a request counts, and the tokens that we make ourselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jwt
import pytest

from realtime.errors import (
    BadCredential,
    ConfigError,
    CredentialRequired,
    MalformedParameter,
    RoleNotHeld,
    ScopeNotHeld,
)
from tests.realtime.auth.makers import (
    KEYS,
    NOW_S,
    OTHER_SECRET,
    SECRET,
    credentials,
    each_key_pair,
    get,
    pem,
    sealed,
    token,
)

if TYPE_CHECKING:
    from realtime.auth import Credentials


def test_a_credential_counts_by_where_it_comes(door: Credentials) -> None:
    ticket, cookie = sealed(door), sealed(door, cookie=True)
    header = door.authenticate(get(authorization=f"Bearer {token()}"))
    query = door.authenticate(get(ticket=ticket.text))
    jar = door.authenticate(get(cookie=f"a=b; gapless_ticket={cookie.text}"))
    assert (header.via, header.ticket, header.identity.sub) == ("header", None, "alice")
    assert (query.via, query.ticket) == ("query", ticket)
    assert (jar.via, jar.ticket) == ("cookie", cookie)


def test_the_header_comes_before_the_query_and_that_before_the_cookie(door: Credentials) -> None:
    ticket = sealed(door, door.bearer(token(sub="bob"))).text
    jar = f"gapless_ticket={sealed(door, door.bearer(token(sub='carol')), cookie=True).text}"
    header = f"Bearer {token()}"
    assert door.authenticate(get(ticket=ticket, cookie=jar, authorization=header)).identity.sub == "alice"
    assert door.authenticate(get(ticket=ticket, cookie=jar)).identity.sub == "bob"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_the_schemes_case_does_not_matter(door: Credentials, scheme: str) -> None:
    assert door.authenticate(get(authorization=f"{scheme} {token()} ")).via == "header"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        f"Basic {token()}",
        "Token x",
        "Bearer a b",
        "Bearer,x",
        f"Bearer\t{token()}",
        token(),
    ],
    ids=lambda header: header[:12],
)
def test_another_scheme_or_form_is_a_bad_credential(header: str) -> None:
    door = credentials(auth={"anonymous_scopes": ["broadcast"]})
    with pytest.raises(BadCredential) as refusal:
        door.authenticate(get(authorization=header))
    assert refusal.value.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("bad", ["header", "query", "cookie"])
def test_a_bad_credential_is_never_anonymous_nor_saved_by_a_lower_one(bad: str) -> None:
    door = credentials(auth={"anonymous_scopes": ["broadcast"]})
    cookie = f"gapless_ticket={sealed(door, cookie=True).text}"
    requests = {
        "header": get(authorization=f"Bearer {token(OTHER_SECRET)}", ticket=sealed(door).text, cookie=cookie),
        "query": get(ticket="", cookie=cookie),
        "cookie": get(cookie="gapless_ticket=x"),
    }
    with pytest.raises(BadCredential):
        door.authenticate(requests[bad])


def test_without_a_credential_one_is_required(door: Credentials) -> None:
    with pytest.raises(CredentialRequired) as refusal:
        door.authenticate(get())
    assert refusal.value.headers["WWW-Authenticate"] == "Bearer"
    with pytest.raises(CredentialRequired):
        door.anonymous()


def test_anonymous_clients_hold_exactly_what_the_configuration_says() -> None:
    door = credentials(auth={"anonymous_scopes": ["topic:a", "topic:news.*"]})
    identity, ticket, via = door.authenticate(get())
    assert (identity.sub, identity.channel, ticket, via) == (None, "main", None, "anonymous")
    assert identity.held == ("topic:a", "topic:news.*")
    assert not identity.roles
    with pytest.raises(ScopeNotHeld):
        identity.narrow(["broadcast"])
    with pytest.raises(RoleNotHeld):
        identity.require_role("publisher")


def test_a_minted_token_is_an_ordinary_one(door: Credentials) -> None:
    text = door.mint("alice", ["publisher"], ["topic:*"], "acme", 60, ["topic:a"])
    said = jwt.decode(text, SECRET, ["HS256"], options={"verify_exp": False})
    assert said.pop("jti")
    assert said == {
        "sub": "alice",
        "exp": NOW_S + 60,
        "channel": "acme",
        "scopes": ["topic:*"],
        "roles": ["publisher"],
        "publish": ["topic:a"],
    }
    identity = door.bearer(text)
    assert (identity.channel, identity.publish) == ("acme", ("topic:a",))
    assert identity.roles == {"publisher"}


def test_no_two_are_the_same(door: Credentials) -> None:
    assert door.mint("alice") != door.mint("alice")


@pytest.mark.parametrize(
    "wrong",
    [
        {"sub": ""},
        {"sub": "a b"},
        {"sub": "\udcff"},
        {"roles": ["a,b"]},
        {"scopes": ["news"]},
        {"channel": ""},
        {"publish": ["*"]},
    ],
)
def test_it_refuses_what_would_be_refused(door: Credentials, wrong: dict[str, Any]) -> None:
    with pytest.raises(MalformedParameter):
        door.mint(**{"sub": "alice"} | wrong)


@each_key_pair
def test_only_the_private_key_mints_for_a_key_pair(algorithm: str) -> None:
    door = credentials(auth={"algorithm": algorithm, "public_key": pem(KEYS[algorithm]())})
    with pytest.raises(ConfigError, match="private key"):
        door.mint("alice")
