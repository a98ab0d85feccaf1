"""Whom a trusted proxy speaks for, and that nobody else is believed (RFC 7239, X-Forwarded-For)."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.config import ServerSettings
from realtime.peer import Proxies

INSIDE = ("10.0.0.0/8", "fd00::/8")


def seen(field: str, peer: str | None, *headers: tuple[str, str], trusted: tuple[str, ...] = INSIDE) -> tuple[str, str]:
    """Return the address and the scheme of a request after the proxies were heard."""
    scope: dict[str, Any] = {
        "client": None if peer is None else (peer, 4711),
        "scheme": "http",
        "path": "/",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
    }
    Proxies(ServerSettings.model_validate({"trusted_proxies": trusted, "forwarded": field})).apply(scope)
    return (scope["client"] or ("", 0))[0], scope["scheme"]


@pytest.mark.parametrize(
    ("peer", "value", "client"),
    [
        ("10.0.0.1", "192.0.2.1", "192.0.2.1"),
        ("10.0.0.1", "203.0.113.9, 192.0.2.1", "192.0.2.1"),
        ("10.0.0.1", "203.0.113.9, 192.0.2.1, 10.2.3.4", "192.0.2.1"),
        ("10.0.0.1", "192.0.2.1:4711, 10.2.3.4:80", "192.0.2.1"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", "2001:db8:0::1", "2001:db8::1"),
        ("10.0.0.1", "10.9.9.9, 10.2.3.4", "10.9.9.9"),
        ("10.0.0.1", "192.0.2.1, nonsense, 10.2.3.4", "10.2.3.4"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("::ffff:10.0.0.1", "192.0.2.1", "192.0.2.1"),
        ("::ffff:a00:1", "::ffff:192.0.2.1", "192.0.2.1"),
        ("10.0.0.1", "[::ffff:192.0.2.1]:80, ::FFFF:10.2.3.4", "192.0.2.1"),
        ("::ffff:192.0.2.9", "203.0.113.9", "192.0.2.9"),
        ("::1", "203.0.113.9", "::1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("192.0.2.9", "203.0.113.9", "192.0.2.9"),
        ("fd00::7", "192.0.2.1", "192.0.2.1"),
    ],
    ids=lambda value: value or "empty",
)
def test_x_forwarded_for_is_read_from_the_right_past_those_that_are_trusted(peer: str, value: str, client: str) -> None:
    assert seen("x-forwarded-for", peer, ("X-Forwarded-For", value))[0] == client


def test_the_field_may_come_several_times() -> None:
    headers = (("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "192.0.2.1"))
    assert seen("x-forwarded-for", "10.0.0.1", *headers)[0] == "192.0.2.1"


@pytest.mark.parametrize(
    ("value", "client", "scheme"),
    [
        ("for=192.0.2.1;proto=https", "192.0.2.1", "https"),
        ('for="[2001:db8::1]:4711"; proto=HTTPS', "2001:db8::1", "https"),
        ("for=203.0.113.9, for=192.0.2.1;by=10.0.0.1, For=10.2.3.4;Proto=http", "192.0.2.1", "http"),
        ('for=203.0.113.9, for="_hidden, x";proto=https', "10.0.0.1", "https"),
        ("for=unknown", "10.0.0.1", "http"),
        ("proto=https", "10.0.0.1", "https"),
        ("for=192.0.2.1;proto=gopher", "192.0.2.1", "http"),
    ],
)
def test_forwarded_is_read_as_rfc_7239_has_it(value: str, client: str, scheme: str) -> None:
    assert seen("forwarded", "10.0.0.1", ("Forwarded", value)) == (client, scheme)


def test_only_the_one_field_that_the_proxies_write_is_believed() -> None:
    both = (("Forwarded", "for=203.0.113.9;proto=https"), ("X-Forwarded-For", "192.0.2.1"))
    assert seen("x-forwarded-for", "10.0.0.1", *both) == ("192.0.2.1", "http")
    assert seen("forwarded", "10.0.0.1", *both) == ("203.0.113.9", "https")


def test_the_scheme_is_what_the_nearest_proxy_says() -> None:
    headers = (("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "http, https"))
    assert seen("x-forwarded-for", "10.0.0.1", *headers) == ("192.0.2.1", "https")
    assert seen("x-forwarded-for", "192.0.2.9", *headers) == ("192.0.2.9", "http")


def test_without_proxies_and_over_a_unix_socket_nobody_is_believed() -> None:
    header = ("X-Forwarded-For", "192.0.2.1")
    assert seen("x-forwarded-for", "10.0.0.1", header, trusted=())[0] == "10.0.0.1"
    assert seen("x-forwarded-for", None, header)[0] == ""


@pytest.mark.parametrize("trusted", ["::ffff:10.0.0.0/104", "10.0.0.0/8"])
def test_a_mapped_network_is_that_of_the_ipv4_addresses(trusted: str) -> None:
    for peer in ("10.0.0.1", "::ffff:10.0.0.1"):
        assert seen("x-forwarded-for", peer, ("X-Forwarded-For", "192.0.2.1"), trusted=(trusted,))[0] == "192.0.2.1"


@pytest.mark.parametrize(
    ("peer", "value", "path", "prefix", "rest"),
    [
        ("10.0.0.1", "/rt", "/api", "/rt", "/api"),
        ("10.0.0.1", "/rt", "/rt/api", "/rt", "/api"),
        ("10.0.0.1", "/rt/", "/rt/api", "/rt", "/api"),
        ("10.0.0.1", "/a, /b/c", "/b/c/api", "/b/c", "/api"),
        ("10.0.0.1", "/rt", "/rtx/api", "/rt", "/rtx/api"),
        ("10.0.0.1", "/rt", "/rt", "/rt", "/rt"),
        ("10.0.0.1", "/", "/api", "", "/api"),
        ("10.0.0.1", None, "/set/api", "/set", "/api"),
        ("10.0.0.1", "", "/api", "/set", "/api"),
        ("10.0.0.1", "//evil.example", "/api", "/set", "/api"),
        ("10.0.0.1", "/a/../b", "/api", "/set", "/api"),
        ("10.0.0.1", "/a;b", "/api", "/set", "/api"),
        ("10.0.0.1", "/%2f", "/api", "/set", "/api"),
        ("10.0.0.1", f"/{'a' * 255}", "/api", "/set", "/api"),
        ("192.0.2.1", "/rt", "/set/api", "/set", "/api"),
        (None, "/rt", "/api", "/set", "/api"),
    ],
)
def test_a_path_prefix_is_the_settings_or_a_trusted_proxys(
    peer: str | None, value: str | None, path: str, prefix: str, rest: str
) -> None:
    scope: dict[str, Any] = {
        "client": None if peer is None else (peer, 4711),
        "scheme": "http",
        "path": path,
        "headers": [] if value is None else [(b"x-forwarded-prefix", value.encode())],
    }
    proxies = Proxies(ServerSettings.model_validate({"trusted_proxies": INSIDE, "root_path": "/set"}))
    proxies.apply(scope)
    assert (scope["prefix"], scope["path"]) == (prefix, rest)
    headers = {} if value is None else {"x-forwarded-prefix": value}
    assert proxies.heard(peer or "", "http", headers).prefix == prefix, "the fast lane hears the same"
