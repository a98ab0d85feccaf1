"""The ticket cookie: where it counts, for whom, and how it is written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest

from realtime.errors import BadCredential, CredentialRequired, InvalidField
from realtime.request import Request
from tests.realtime.auth.makers import EVENTS, credentials, get, sealed, token

if TYPE_CHECKING:
    from realtime.auth import Credentials

APP: Final = "https://app.example.com"
OURS: Final = {"host": "events.example.com:8443"}
COUNTS: Final[list[tuple[str, str, str]]] = [
    ("GET", f"{EVENTS}/stream", "yes"),
    ("GET", f"{EVENTS}/history", "yes"),
    ("POST", f"{EVENTS}/negotiate", "yes"),
    ("POST", f"{EVENTS}/report", "yes"),
    ("POST", EVENTS, "no"),
    ("POST", f"{EVENTS}/stream", "no"),
    ("PUT", f"{EVENTS}/negotiate", "no"),
    ("DELETE", f"{EVENTS}/stream", "no"),
    ("GET", EVENTS, "no"),
    ("GET", f"{EVENTS}x/stream", "no"),
    ("POST", "/api/v1/auth/ticket", "no"),
    ("GET", "/api/v1/admin/policy", "no"),
]


def site(**auth: object) -> Credentials:
    return credentials(auth=auth, cors={"origins": [APP]})


def via(request: Request) -> str:
    """Tell how a request with a good cookie comes in."""
    door = site(anonymous_scopes=["broadcast"])
    jar = {"cookie": f"gapless_ticket={sealed(door, cookie=True).text}"}
    again = Request(request.method, request.path, request.query, {**request.headers, **jar}, request.scheme)
    return door.authenticate(again).via


@pytest.mark.parametrize(("method", "path", "counts"), COUNTS)
def test_it_counts_where_asking_changes_nothing(method: str, path: str, counts: str) -> None:
    assert (via(Request(method, path, {}, OURS)) == "cookie") is (counts == "yes")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"origin": APP, "sec-fetch-site": "cross-site"},
        {"origin": "https://events.example.com:8443"},
        {"origin": "http://events.example.com:8443"},
        {"origin": "https://events.example.com", "host": "events.example.com"},
        {"origin": "https://events.example.com", "host": "Events.Example.com:443"},
        {"origin": "http://[::1]:8000", "host": "[::1]:8000"},
    ],
    ids=json.dumps,
)
def test_it_counts_for_pages_of_ours(headers: dict[str, str]) -> None:
    assert via(Request("GET", f"{EVENTS}/stream", {}, OURS | headers)) == "cookie"


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "SAME-ORIGIN "},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "https://evil.example", "sec-fetch-site": "same-origin"},
        {"origin": "https://events.example.com"},
        {"origin": "https://events.example.com:8444"},
        {"origin": "https://evil.events.example.com:8443"},
        {"origin": "https://events.example.com:8443.evil.example"},
        {"origin": "https://events.example.com:8443/"},
        {"origin": "ws://events.example.com:8443"},
        {"origin": "events.example.com:8443"},
        {"origin": "http://app.example.com"},
        {"origin": f"{APP}:444"},
        {"origin": f"{APP}, {APP}"},
        {"origin": "https://", "host": ""},
        {"origin": "null", "host": "null"},
    ],
    ids=json.dumps,
)
def test_from_elsewhere_it_is_as_if_it_were_not_there(headers: dict[str, str]) -> None:
    assert via(Request("GET", f"{EVENTS}/stream", {}, OURS | headers)) == "anonymous"


def test_a_page_without_tls_is_none_of_ours_when_we_have_it() -> None:
    headers = {"host": "events.example.com", "origin": "http://events.example.com"}
    assert via(Request("GET", f"{EVENTS}/stream", {}, headers, "https")) == "anonymous"


def test_where_it_does_not_count_a_credential_is_required() -> None:
    door = site()
    cookie = f"gapless_ticket={sealed(door, cookie=True).text}"
    with pytest.raises(CredentialRequired):
        door.authenticate(get(cookie=cookie, origin="https://evil.example"))
    with pytest.raises(CredentialRequired):
        door.authenticate(get(cookie="gapless_ticket=bad", origin="https://evil.example"))


@pytest.mark.parametrize("jar", ["", "a=b", "xgapless_ticket=x", "gapless_ticket2=x", "a=gapless_ticket=x"])
def test_other_cookies_are_none_of_ours(jar: str) -> None:
    with pytest.raises(CredentialRequired):
        site().authenticate(get(cookie=jar))


def test_of_two_the_first_counts() -> None:
    door = site()
    text = sealed(door, cookie=True).text
    assert door.authenticate(get(cookie=f"a=b;gapless_ticket={text}; gapless_ticket=x")).via == "cookie"
    with pytest.raises(BadCredential):
        door.authenticate(get(cookie=f"gapless_ticket=x; gapless_ticket={text}"))


def test_a_query_ticket_is_no_cookie() -> None:
    door = site()
    with pytest.raises(BadCredential):
        door.authenticate(get(cookie=f"gapless_ticket={sealed(door).text}"))
    with pytest.raises(BadCredential):
        door.authenticate(get(ticket=sealed(door, cookie=True).text))


@pytest.mark.parametrize(
    ("auth", "scheme", "attributes"),
    [
        ({}, "http", "HttpOnly; SameSite=Lax"),
        ({}, "https", "HttpOnly; SameSite=Lax; Secure"),
        ({"cookie_secure": "always"}, "http", "HttpOnly; SameSite=Lax; Secure"),
        ({"cookie_secure": "never"}, "https", "HttpOnly; SameSite=Lax"),
        ({"cookie_same_site": "strict"}, "http", "HttpOnly; SameSite=Strict"),
        (
            {"cookie_same_site": "none", "cookie_secure": "always"},
            "http",
            "HttpOnly; SameSite=None; Secure; Partitioned",
        ),
    ],
)
def test_it_is_written_and_cleared_with_the_same_attributes(auth: dict[str, str], scheme: str, attributes: str) -> None:
    door = site(**auth)
    ticket = sealed(door, cookie=True)
    path = f"Path=/api/v1/events; {attributes}"
    assert door.cookie_header(ticket, get(scheme=scheme)) == f"gapless_ticket={ticket.text}; {path}"
    assert door.cookie_header(None, get(scheme=scheme)) == f"gapless_ticket=; Max-Age=0; {path}"


def test_what_browsers_would_drop_is_refused() -> None:
    door = site()
    identity = door.bearer(token(scopes=[f"topic:{number}" for number in range(400)]))
    with pytest.raises(InvalidField):
        door.cookie_header(sealed(door, identity, cookie=True), get())


def test_a_query_ticket_does_not_get_into_the_cookie() -> None:
    door = site()
    with pytest.raises(ValueError, match="cookie"):
        door.cookie_header(sealed(door), get())
