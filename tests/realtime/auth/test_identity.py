"""Identities: what is held, what may be asked for, and what may be published."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from realtime.errors import MalformedParameter, RoleNotHeld, ScopeNotHeld
from tests.realtime.auth.makers import HOUR_MS, NOW_MS, token

if TYPE_CHECKING:
    from realtime.auth import Credentials


def test_everybody_holds_broadcast_and_what_bears_their_name_and_their_roles(door: Credentials) -> None:
    identity = door.bearer(token(roles=["viewer"]))
    assert identity.scopes == {"broadcast", "user:alice", "role:viewer"}
    assert identity.channel == "main"
    assert identity.patterns == ()


def test_a_token_may_grant_any_scope_and_pattern_and_another_channel(door: Credentials) -> None:
    identity = door.bearer(token(channel="acme", scopes=["user:7", "topic:news.*", "topic:host"], jti="t1"))
    assert identity.held == ("broadcast", "topic:host", "user:7", "user:alice", "topic:news.*")
    assert identity.granted == ("topic:host", "user:7", "topic:news.*")
    assert (identity.channel, identity.jti, identity.expires_ms) == ("acme", "t1", NOW_MS + HOUR_MS)


@pytest.mark.parametrize(
    "asked", ["broadcast", "user:alice", "topic:host", "topic:news.sport", "topic:news.a.*", "topic:news.*"]
)
def test_what_is_covered_may_be_asked_for(door: Credentials, asked: str) -> None:
    identity = door.bearer(token(scopes=["topic:host", "topic:news.*"]))
    assert identity.narrow([asked, asked]) == (asked,)


@pytest.mark.parametrize("asked", ["user:bob", "role:admin", "topic:news", "topic:newsroom", "topic:*", "topic:host.*"])
def test_what_is_not_covered_is_refused(door: Credentials, asked: str) -> None:
    identity = door.bearer(token(scopes=["topic:host", "topic:news.*"]))
    with pytest.raises(ScopeNotHeld):
        identity.narrow(["broadcast", asked])


@pytest.mark.parametrize("asked", ["", "news", "topic:", "topic:a..b", "user:*,", "*", "topic:.*", "Broadcast"])
def test_what_is_no_scope_is_malformed(door: Credentials, asked: str) -> None:
    with pytest.raises(MalformedParameter):
        door.bearer(token(scopes=["topic:*"])).narrow([asked])


def test_a_publisher_may_publish_anywhere_unless_the_token_says_where(door: Credentials) -> None:
    assert door.bearer(token()).may_publish("user:bob")
    limited = door.bearer(token(publish=["topic:news.*", "broadcast"]))
    assert limited.may_publish("topic:news.sport")
    assert limited.may_publish("broadcast")
    assert not limited.may_publish("topic:news")
    assert not limited.may_publish("user:alice")
    assert not door.bearer(token(publish=[])).may_publish("broadcast")


def test_a_role_is_held_or_refused(door: Credentials) -> None:
    identity = door.bearer(token(roles=["publisher"]))
    identity.require_role("publisher")
    with pytest.raises(RoleNotHeld):
        identity.require_role("admin")


def test_a_scope_that_looks_like_a_role_is_no_role(door: Credentials) -> None:
    with pytest.raises(RoleNotHeld):
        door.bearer(token(scopes=["role:admin"])).require_role("admin")
