"""Tickets: sealed by us, opened by us, and by nobody else."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any

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
    base64url,
    changed,
    claims,
    credentials,
    get,
    sealed,
    token,
)

if TYPE_CHECKING:
    from realtime.auth import Credentials


@st.composite
def identities(draw: st.DrawFn) -> dict[str, Any]:
    """Draw claims of good tokens."""
    names = st.from_regex(r"[^\x00-\x20\x7f-\x9f,]{1,30}", fullmatch=True)
    words = st.from_regex(r"[a-z0-9é-]{1,8}", fullmatch=True)
    scopes = st.one_of(
        st.just("broadcast"),
        st.just("topic:*"),
        names.map("user:{}".format),
        names.map("role:{}".format),
        st.lists(words, min_size=1, max_size=3).map(lambda parts: "topic:" + ".".join(parts)),
        st.lists(words, min_size=1, max_size=3).map(lambda parts: "topic:" + ".".join(parts) + ".*"),
    )
    lists = st.lists(scopes, max_size=4)
    return claims(
        sub=draw(names),
        channel=draw(names),
        scopes=draw(lists),
        roles=draw(st.lists(names, max_size=3)),
        publish=draw(st.none() | lists),
        jti=draw(st.none() | st.text(st.characters(codec="utf-8"), max_size=9)),
    )


def test_a_ticket_holds_all_that_it_was_made_with(door: Credentials) -> None:
    identity = door.bearer(token(channel="acme", roles=["publisher"], scopes=["topic:a.*"], publish=["topic:a.*"]))
    client = {"id": "c1", "platform": "ios", "app_version": "5.2.0"}
    ticket = sealed(door, identity, client=client, transports=("sse", "polling"), arms={"sse-on-ios": "sse"})
    opened = credentials().open_ticket(ticket.text)  # another gateway
    assert opened == ticket
    assert (opened.identity, opened.session, opened.client) == (identity, "s1", client)
    assert (opened.transports, opened.arms) == (("sse", "polling"), {"sse-on-ios": "sse"})
    assert (opened.issued_ms, opened.expires_ms, opened.cookie) == (NOW_MS, NOW_MS + 60_000, False)


def test_a_publishers_limits_are_sealed_too(door: Credentials) -> None:
    identity = door.bearer(token(publish=["topic:a"]))
    assert not door.open_ticket(sealed(door, identity).text).identity.may_publish("topic:b")


@given(identities())
def test_what_comes_out_is_what_went_in(drawn: dict[str, Any]) -> None:
    door = credentials()
    identity = door.bearer(jwt.encode(drawn, SECRET))
    assert credentials().open_ticket(sealed(door, identity).text).identity == identity


@pytest.mark.parametrize("again", [False, True], ids=["at-first", "after-it-was-good"])
def test_a_ticket_ends_to_the_millisecond(door: Credentials, clock: Clock, again: bool) -> None:
    text = sealed(door).text
    if again:
        door.open_ticket(text)
    clock.ms = NOW_MS + 59_999
    assert door.open_ticket(text).session == "s1"
    clock.ms += 1
    with pytest.raises(BadCredential, match="expired"):
        door.open_ticket(text)


def test_a_ticket_never_lives_longer_than_its_token(door: Credentials, clock: Clock) -> None:
    identity = door.bearer(token(exp=NOW_S + 10))
    assert sealed(door, identity).expires_ms == NOW_MS + 10_000
    clock.ms += 12_000  # the token is within its leeway
    late = sealed(door, door.bearer(token(exp=NOW_S + 10)))
    assert late.expires_ms == NOW_MS + 15_000, "it is good as long as the token is"
    assert door.open_ticket(late.text) == late
    clock.ms += 3_000
    with pytest.raises(BadCredential, match="expired"):
        door.open_ticket(late.text)


def test_a_renewed_ticket_differs_in_its_life_only(door: Credentials, clock: Clock) -> None:
    ticket = sealed(door, client={"id": "c1"}, transports=("sse",), arms={"a": "b"})
    clock.ms += 40_000
    renewed = door.open_ticket(door.renew(ticket, 90_000).text)
    assert (renewed.issued_ms, renewed.expires_ms) == (NOW_MS + 40_000, NOW_MS + 130_000)
    for name in ("identity", "session", "client", "transports", "arms", "cookie"):
        assert getattr(renewed, name) == getattr(ticket, name)


def test_a_ticket_and_a_cookie_do_not_stand_for_each_other(door: Credentials) -> None:
    ticket, cookie = sealed(door).text, sealed(door, cookie=True).text
    assert not door.open_ticket(ticket).cookie
    assert door.open_ticket(cookie, cookie=True).cookie
    with pytest.raises(BadCredential):
        door.open_ticket(ticket, cookie=True)
    with pytest.raises(BadCredential):
        door.open_ticket(cookie)


def test_a_token_is_no_ticket_nor_the_reverse(door: Credentials) -> None:
    ticket = sealed(door)
    with pytest.raises(BadCredential):
        door.bearer(ticket.text)
    with pytest.raises(BadCredential):
        door.open_ticket(token())


def test_the_secret_itself_signs_no_ticket(door: Credentials) -> None:
    body, _, _ = sealed(door).text.partition(".")
    mac = base64url(hmac.digest(SECRET.encode(), body.encode(), hashlib.sha256))
    with pytest.raises(BadCredential):
        door.open_ticket(f"{body}.{mac}")


def test_a_ticket_of_another_secret_is_refused(door: Credentials) -> None:
    other = credentials(secret=OTHER_SECRET)
    with pytest.raises(BadCredential):
        door.open_ticket(sealed(other, door.bearer(token())).text)


@given(st.data())
def test_a_ticket_that_was_changed_anywhere_never_opens(data: st.DataObject) -> None:
    door = credentials()
    text = sealed(door).text
    door.open_ticket(text)
    with pytest.raises(BadCredential):
        door.open_ticket(changed(data, text))


@given(st.text() | st.from_regex(r"[\w-]+\.[\w-]{43}", fullmatch=True))
def test_what_was_made_up_never_opens(text: str) -> None:
    with pytest.raises(BadCredential) as refusal:
        credentials().open_ticket(text)
    assert refusal.value.__cause__ is None


@pytest.mark.parametrize("text", ["", ".", "..", "a.", ".a", "é.é", "\udc80", "x" * 20_000])
def test_an_odd_text_is_refused(door: Credentials, text: str) -> None:
    with pytest.raises(BadCredential):
        door.open_ticket(text)


def test_a_ticket_is_not_shown(door: Credentials) -> None:
    ticket = sealed(door)
    credential = door.authenticate(get(ticket=ticket.text))
    shown = repr(ticket) + repr(credential) + repr(door)
    assert ticket.text not in shown
    assert SECRET not in shown


def test_an_anonymous_ticket_sees_what_anonymous_clients_may_see_today(clock: Clock) -> None:
    before = credentials(clock, auth={"anonymous_scopes": ["topic:a", "topic:b"]})
    ticket = sealed(before, before.anonymous().identity)
    now = credentials(clock, auth={"anonymous_scopes": ["topic:b", "topic:c.*"]})
    assert now.open_ticket(ticket.text).identity == now.anonymous().identity
    with pytest.raises(BadCredential):
        credentials(clock).open_ticket(ticket.text)
