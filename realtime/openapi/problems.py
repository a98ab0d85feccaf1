"""Errors as the document has them: from the classes themselves, so that status, code and title can't drift apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from realtime import errors
from realtime.errors import PROBLEM_MEDIA_TYPE, PROBLEM_TYPE_PREFIX
from realtime.openapi.answers import CURSOR, Decision
from realtime.openapi.schemas import reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from realtime.errors import GaplessError
    from realtime.openapi.operation import Schema

_INDEX: Final = {"type": "integer", "minimum": 0, "description": "The event's place in the batch."}

MEMBERS: Final[Mapping[type[GaplessError], Mapping[str, Any]]] = {
    errors.NoCommonTransport: {"transports": {"type": "array", "items": {"type": "string"}}},
    errors.TransportNotOffered: {"decision": reference(Decision)},
    errors.ScopeNotHeld: {"index": _INDEX},
    errors.IdempotencyConflict: {"index": _INDEX},
    errors.HistoryTruncated: {"floor": {"type": "string", "pattern": CURSOR}},
    errors.PreconditionFailed: {"revision": {"type": "integer", "minimum": 0}},
    errors.EventTooLarge: {"index": _INDEX},
    errors.InvalidField: {"field": {"type": "string"}, "index": _INDEX},
}
"""The members that an error has beside those of every problem, where it has them."""

_HEADERS: Final = {
    401: {"WWW-Authenticate": {"description": "`Bearer`", "required": True, "schema": {"type": "string"}}},
    405: {"Allow": {"description": "The methods that there are.", "required": True, "schema": {"type": "string"}}},
    429: {"Retry-After": {"description": "In seconds.", "required": True, "schema": {"type": "integer", "minimum": 1}}},
    503: {"Retry-After": {"description": "In seconds.", "required": True, "schema": {"type": "integer", "minimum": 1}}},
}


def answered(kind: type[GaplessError] = errors.GaplessError) -> Iterator[type[GaplessError]]:
    """Return every error that is an answer: those with a code of their own, which let the service start."""
    if issubclass(kind, errors.StartError):
        return
    if "code" in vars(kind):
        yield errors.InternalError if kind is errors.GaplessError else kind
    for below in kind.__subclasses__():
        yield from answered(below)


def components(kinds: Iterable[type[GaplessError]]) -> Schema:
    """Return the schema of each of these errors, by the name of its class."""
    told = {*kinds, errors.InternalError}
    return {kind.__name__: _schema(kind) for kind in answered() if kind in told}


def responses(kinds: Iterable[type[GaplessError]]) -> Schema:
    """Return the answers of errors, by status, in order."""
    by_status: dict[int, list[type[GaplessError]]] = {}
    every: set[type[GaplessError]] = {*kinds, errors.InternalError}
    for kind in sorted(every, key=lambda kind: (kind.status, kind.code)):
        by_status.setdefault(kind.status, []).append(kind)
    return {str(status): _response(status, found) for status, found in by_status.items()}


def _schema(kind: type[GaplessError]) -> Schema:
    members = {
        "type": {"const": PROBLEM_TYPE_PREFIX + kind.code},
        "title": {"const": kind.title},
        "status": {"const": kind.status},
        "detail": {"type": "string", "description": "What was wrong, and what to do."},
        "code": {"const": kind.code},
    }
    return {
        "type": "object",
        "description": kind.__doc__,
        "properties": {**members, **MEMBERS.get(kind, {})},
        "required": list(members),
    }


def _response(status: int, kinds: list[type[GaplessError]]) -> Schema:
    schemas = [reference(kind) for kind in kinds]
    content = {
        "schema": schemas[0] if len(schemas) == 1 else {"oneOf": schemas},
        "examples": {kind.code: {"summary": kind.title, "value": _example(kind)} for kind in kinds},
    }
    description = " ".join(f"`{kind.code}`: {kind.title}" for kind in kinds)
    response: Schema = {"description": description, "content": {PROBLEM_MEDIA_TYPE: content}}
    headers = _HEADERS.get(status)
    return response if headers is None else {**response, "headers": headers}


def _example(kind: type[GaplessError]) -> Schema:
    return kind(" ".join((kind.__doc__ or kind.title).split())).problem()
