"""The document: rows of operations, put as OpenAPI 3.1 has them."""

from __future__ import annotations

import re
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from realtime.auth.cookie import NAME as COOKIE
from realtime.openapi import problems, schemas
from realtime.openapi.answers import Decision
from realtime.openapi.schemas import reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from realtime.openapi.operation import Answer, Body, Operation, Schema

_ABOUT: Final = """\
Real-time events over Server-Sent Events, long-poll and polling, from one log and with one cursor. The protocol, of
which this is the index, is `docs/protocol.md`.

Errors are `application/problem+json` with a stable `code`. Beside those that are listed: an address that is not here is
`404 not-found`, a method that it doesn't take `405 method-not-allowed` with `Allow`. What is no HTTP is
`400 malformed-request`, a head that is too large `431 head-too-large` or `414 target-too-long`, a request that does not
come whole in time `408 request-timeout`. Addresses that take `GET` take `HEAD` and `OPTIONS` too, but for the
transports."""

_TAGS: Final = {
    "transports": "The log, carried to a client. A cursor is valid on all of them.",
    "events": "Agreeing, publishing, reading back.",
    "credentials": "Tickets and the cookie.",
    "operations": "For machines that look after the service, and this reference.",
    "admin": "The policy, clients and gateways. `viewer` reads, `admin` does everything.",
}

_SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A token of your backend's."},
    "ticket": {"type": "apiKey", "in": "query", "name": "ticket", "description": "A ticket, lives for a minute."},
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "The ticket's cookie, which a stock `EventSource` sends; it counts for allowed origins only.",
    },
}
"""An anonymous client is the requirement of nothing, and needs no scheme."""

_LINE: Final = re.compile(r"(?<!\n)\n(?!\n)")


class Document:
    """The description of a list of operations."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        """Describe these; nothing is made before it is asked for."""
        self.operations = operations

    def at(self, prefix: str) -> Schema:
        """Return the document for a service that is shown under a path prefix."""
        return {**self.value, "servers": [_server(prefix or "/")]}

    @cached_property
    def value(self) -> Schema:
        """The document, ready for JSON."""
        models = {model: None for one in self.operations for model in _models(one)}
        kinds = {kind for one in self.operations for kind in one.errors}
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "Gapless",
                "version": version("gapless"),
                "description": _LINE.sub(" ", _ABOUT),
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [_server("/")],
            "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
            "paths": _paths(self.operations),
            "components": {
                "securitySchemes": _SCHEMES,
                "schemas": {**problems.components(kinds), **schemas.components(models)},
            },
        }


def _server(url: str) -> Schema:
    return {"url": url, "description": "Where this document comes from."}


def _models(operation: Operation) -> list[type]:
    sent = () if operation.body is None else operation.body.models
    return [*sent, *(answer.model for answer in operation.answers if answer.model is not None), Decision]


def _paths(operations: Sequence[Operation]) -> Schema:
    paths: Schema = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    return paths


def _operation(one: Operation) -> Schema:
    value: Schema = {"operationId": one.name, "tags": [one.tag], "summary": one.summary}
    if one.description:
        value["description"] = _LINE.sub(" ", one.description)
    value["security"] = [{} if scheme == "anonymous" else {scheme: []} for scheme in one.credentials]
    if one.parameters:
        value["parameters"] = [parameter.described() for parameter in one.parameters]
    if one.body is not None:
        value["requestBody"] = _body(one.body)
    value["responses"] = {**_successes(one.answers), **problems.responses(one.errors)}
    return value


def _body(body: Body) -> Schema:
    several = [reference(model) for model in body.models]
    schema = several[0] if len(several) == 1 else {"anyOf": several}
    examples = {name: {"value": value} for name, value in body.examples.items()}
    return {"required": body.required, "content": {"application/json": {"schema": schema, "examples": examples}}}


def _successes(answers: Sequence[Answer]) -> Schema:
    return {str(answer.status): _success(answer) for answer in answers}


def _success(answer: Answer) -> Schema:
    value: Schema = {"description": answer.description}
    if answer.headers:
        value["headers"] = {name: _header(text) for name, text in answer.headers.items()}
    if answer.example is not None:
        schema = {} if answer.model is None else {"schema": reference(answer.model)}
        value["content"] = {answer.media_type: {**schema, "example": answer.example}}
    return value


def _header(text: str) -> Mapping[str, object]:
    return {"description": text, "schema": {"type": "string"}}
