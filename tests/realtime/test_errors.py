"""The tree of errors: what an answer made of one looks like, and that its codes are what the protocol says."""

from __future__ import annotations

import json
import pickle
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest

from realtime import errors
from realtime.errors import (
    BadCredential,
    ConnectionLimit,
    GaplessError,
    InvalidField,
    LogUnavailable,
    MethodNotAllowed,
    NotFound,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def raised_classes(root: type[GaplessError] = GaplessError) -> Iterator[type[GaplessError]]:
    """Find the leaves of the tree: the classes that are raised. Other modules may refine them."""
    below = [kind for kind in root.__subclasses__() if kind.__module__ == root.__module__]
    if not below:
        yield root
    for child in below:
        yield from raised_classes(child)


LEAVES = sorted(raised_classes(), key=lambda kind: kind.__name__)
each_error = pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)

PROTOCOL = {
    "malformed-parameter": 400,
    "malformed-body": 400,
    "bad-credential": 401,
    "credential-required": 401,
    "role-not-held": 403,
    "scope-not-held": 403,
    "not-found": 404,
    "method-not-allowed": 405,
    "no-common-transport": 406,
    "transport-not-offered": 409,
    "idempotency-conflict": 409,
    "history-truncated": 410,
    "body-too-large": 413,
    "event-too-large": 413,
    "invalid-field": 422,
    "log-unavailable": 503,
    "no-transport": 503,
    "draining": 503,
}


def test_every_code_of_the_protocol_has_its_status() -> None:
    assert {kind.code: kind.status for kind in LEAVES if kind.code in PROTOCOL} == PROTOCOL


def test_no_two_errors_share_a_code_or_a_title() -> None:
    assert len({kind.code for kind in LEAVES}) == len(LEAVES)
    assert len({kind.title for kind in LEAVES}) == len(LEAVES)


@each_error
def test_an_error_is_a_complete_problem(kind: type[GaplessError]) -> None:
    problem = json.loads(kind("What to do.").body())
    assert problem == {
        "type": f"urn:gapless:problem:{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": "What to do.",
        "code": kind.code,
    }
    assert HTTPStatus(problem["status"]) >= HTTPStatus.BAD_REQUEST
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", problem["code"])
    assert problem["title"].endswith(".")


@each_error
def test_an_error_is_drawn_in_the_modules_tree(kind: type[GaplessError]) -> None:
    drawing = errors.__doc__ or ""
    assert re.search(rf"── {kind.__name__} .*\b{kind.code}\b", drawing)


@each_error
def test_an_error_survives_the_way_to_another_process(kind: type[GaplessError]) -> None:
    error = kind("What to do.", headers={"Allow": "GET"}, index=3)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(copy), copy.problem(), copy.headers) == (kind, error.problem(), error.headers)


@each_error
def test_status_decides_which_headers_an_error_brings(kind: type[GaplessError]) -> None:
    headers = kind("").headers
    assert ("WWW-Authenticate" in headers) == (kind.status == 401)
    assert ("Retry-After" in headers) == (kind.status in {429, 503})


def test_fields_become_members_and_none_is_left_out() -> None:
    problem = InvalidField("scope is empty", field="scope", index=None).problem()
    assert problem["field"] == "scope"
    assert "index" not in problem


@pytest.mark.parametrize("member", ["type", "title", "status", "code"])
def test_a_field_cannot_overwrite_what_the_class_fixes(member: str) -> None:
    with pytest.raises(TypeError, match=member):
        GaplessError("", headers={}, **{member: 1})


def test_given_headers_replace_the_classs_own_whatever_their_case() -> None:
    assert LogUnavailable("", headers={"retry-after": "7"}).headers == {"retry-after": "7"}
    assert MethodNotAllowed("", headers={"Allow": "GET"}).headers == {"Allow": "GET"}
    assert ConnectionLimit("").headers == {"Retry-After": "1"}
    assert BadCredential("").headers == {"WWW-Authenticate": "Bearer"}


def test_those_who_are_sent_away_at_once_do_not_come_back_at_once() -> None:
    drawn = {LogUnavailable("").headers["Retry-After"] for _ in range(200)}
    assert drawn == {"1", "2", "3", "4", "5"}  # each is missing once in 10^19 runs


def test_what_a_client_sent_cannot_break_the_body() -> None:
    body = NotFound('no "\ud800\u2028\r\n\x00" here').body()
    assert rb"\ud800" in body
    assert b"\n" not in body
    assert json.loads(body)["detail"] == 'no "\ud800\u2028\r\n\x00" here'


def test_an_error_reads_as_its_detail() -> None:
    assert str(NotFound("There is no /x.")) == "There is no /x."
