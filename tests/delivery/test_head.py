"""Heads of requests that are read without a parser: what is plain, what is one kind, and what is left to the parser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.delivery.head import Heads

if TYPE_CHECKING:
    from realtime.request import Request

FIELDS = b"Host: x\r\nAccept: */*\r\nAuthorization: Bearer a.b-c\r\n"


def raw(target: str, fields: bytes = FIELDS, version: str = "1.1") -> bytes:
    return f"GET {target} HTTP/{version}\r\n".encode("latin-1") + fields + b"\r\n"


def read(data: bytes) -> Request | None:
    heads = Heads()
    head = heads.split(data)
    return None if head is None else heads.read(head, "http", "192.0.2.1")


def key(target: str, fields: bytes = FIELDS) -> bytes:
    request = read(raw(target, fields))
    assert request is not None
    return request.key


def test_a_plain_head_is_read() -> None:
    request = read(raw("/p/q?a=1&cursor=5-6&b=%20"))
    assert request is not None
    assert (request.method, request.path, request.scheme, request.peer) == ("GET", "/p/q", "http", "192.0.2.1")
    assert request.query == {"a": "1", "cursor": "5-6", "b": " "}
    assert request.headers == {"host": "x", "accept": "*/*", "authorization": "Bearer a.b-c"}


def test_requests_that_differ_in_the_cursor_only_are_of_one_kind() -> None:
    first, second = Heads().split(raw("/p?cursor=5-6&limit=1")), Heads().split(raw("/p?cursor=17-8&limit=1"))
    assert first is not None
    assert second is not None
    assert first.key == second.key
    assert (first.cursor, second.cursor) == (b"5-6", b"17-8")


@pytest.mark.parametrize(
    "other",
    ["/p?cursor=5-6&limit=2", "/q?cursor=5-6&limit=1", "/p?limit=1", "/p?limit=1&", "/p?&limit=1", "/p?x=cursor=5-6"],
)  # fmt: skip
def test_what_differs_in_anything_else_is_another_kind(other: str) -> None:
    assert key("/p?cursor=5-6&limit=1") != key(other)
    assert key("/p?cursor=5-6&limit=1") != key("/p?cursor=5-6&limit=1", FIELDS + b"X-Odd: 1\r\n")


@pytest.mark.parametrize(
    "target",
    [
        "/p?cursor=1-1&cursor=2-2",
        "/p?cursor=1-1&x=cursor=2-2",
        "/p?cursor=1-1&%63ursor=2-2",
        "/p?cursor=1-1&lastEventId=2-2",
        "/p?cursor=1-1&last%2Devent-id=2-2",
        "/p?last_event_id=2-2",
    ],
)
def test_two_cursors_are_of_no_kind(target: str) -> None:
    assert key(target) == b""


TAGGED = [b'If-None-Match: "%b"\r\n', b'if-none-match:W/"%b"\r\nX-Odd: "1-1"\r\n']


@pytest.mark.parametrize("field", TAGGED)
def test_a_tag_that_repeats_the_cursor_is_a_part_of_the_kind(field: bytes) -> None:
    one, other = (key(f"/p?cursor={at}&limit=1", FIELDS + field % at.encode()) for at in ("1-1", "17-8"))
    assert one == other != b""
    assert one not in {key("/p?cursor=1-1&limit=1", FIELDS), key("/p?cursor=1-1&limit=1")}
    assert one != key("/p?cursor=1-1&limit=1", FIELDS + TAGGED[field is TAGGED[0]] % b"1-1")


@pytest.mark.parametrize(
    "field",
    [
        b'If-None-Match: "1-2"\r\n',
        b'If-None-Match: "1-1", "1-2"\r\n',
        b'If-None-Match: "1-2"\r\nX-Odd: "1-1"\r\n',
        b'X-If-None-Match: "1-1"\r\nIf-None-Match: "1-2"\r\n',
        b"If-None-Match: 1-1\r\n",
        b"If-None-Match: *\r\n",
        b"Last-Event-ID: 1-1\r\n",
        b'If-None-Match: "1-1"\r\nLast-Event-ID: 1-1\r\n',
    ],
)
def test_what_depends_on_the_position_elsewhere_is_of_no_kind(field: bytes) -> None:
    assert key("/p?cursor=1-1", FIELDS + field) == b""


@pytest.mark.parametrize(
    "data",
    [
        raw("/p", version="1.0"),
        raw("/p")[:-1],
        raw("/p") + b"x",
        raw("/p") + raw("/p"),
        raw("/p").replace(b"GET", b"HEAD"),
        raw("/p").replace(b"GET", b"get"),
        raw("/p", b"X: " + b"x" * 20_000 + b"\r\n"),
        raw("p"),
        raw("*"),
        raw("http://x/p"),
        raw("/p#f"),
        raw("/p q"),
        raw("/\xe4"),
        raw('/p?"'),
        raw("/p", FIELDS + b"Host: y\r\n"),
        raw("/p", FIELDS + b"X-Odd:\r\n folded\r\n"),
        raw("/p", FIELDS + b"X-Odd : 1\r\n"),
        raw("/p", FIELDS + b"X-Odd:  1\r\n"),
        raw("/p", FIELDS + b"X-Odd: 1 \r\n"),
        raw("/p", FIELDS + b"X-Odd: \x80\r\n"),
        raw("/p", FIELDS + b"X-Odd: a\tb\r\n"),
        raw("/p", FIELDS + b"X-Odd: a\rb\r\n"),
        raw("/p", FIELDS + b"X-Odd: a\x00b\r\n"),
        raw("/p", FIELDS + b"X_Odd: 1\r\n"),
        raw("/p", FIELDS + b": 1\r\n"),
        raw("/p", FIELDS + b"Content-Length: 0\r\n"),
        raw("/p", FIELDS + b"Transfer-Encoding: chunked\r\n"),
        raw("/p", FIELDS + b"Connection: close\r\n"),
        raw("/p", FIELDS + b"Connection: upgrade\r\n"),
        raw("/p", FIELDS + b"Expect: 100-continue\r\n"),
        raw("/p", FIELDS + b"Origin: http://x\r\n"),
    ],
)
def test_what_is_not_plain_is_left_to_the_parser(data: bytes) -> None:
    assert read(data) is None


def test_a_connection_that_is_to_be_kept_is_plain() -> None:
    assert read(raw("/p", FIELDS + b"Connection: Keep-Alive\r\n")) is not None


@given(st.binary(max_size=80))
def test_whatever_comes_nothing_is_raised(noise: bytes) -> None:
    for data in (noise, b"GET /p?cursor=" + noise + b" HTTP/1.1\r\n\r\n", raw("/p", noise)):
        read(data)
