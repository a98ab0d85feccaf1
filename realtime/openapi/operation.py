"""One operation of the API, as a row of a table says it: what is asked, what is answered, and how it is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from realtime.errors import BadCredential, CredentialRequired, KeysUnavailable, RateLimited

if TYPE_CHECKING:
    from collections.abc import Mapping

    from realtime.errors import GaplessError

Schema = dict[str, Any]
Scheme = Literal["bearer", "ticket", "cookie", "anonymous"]

ANYBODY: Final[tuple[Scheme, ...]] = ("anonymous",)
BEARER: Final[tuple[Scheme, ...]] = ("bearer",)
REPORTER: Final[tuple[Scheme, ...]] = ("bearer", "ticket", "cookie")
PUBLISHER: Final[tuple[Scheme, ...]] = ("bearer", "ticket")
CLIENT: Final[tuple[Scheme, ...]] = ("bearer", "ticket", "cookie", "anonymous")

REFUSED: Final = (BadCredential, CredentialRequired, RateLimited, KeysUnavailable)
"""Refusals of credentials: a bad one, none, too many bad ones; keys that could not be fetched."""

NO_STORE: Final = {"Cache-Control": "`no-store`"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter, a part of the path, or a header field."""

    name: str
    place: Literal["query", "path", "header"]
    description: str
    schema: Schema
    example: object

    def described(self) -> Schema:
        """Put it as OpenAPI has it; a list's items are separated by commas."""
        value: Schema = {"name": self.name, "in": self.place, "description": self.description}
        if self.place == "path":
            value |= {"required": True}
        if self.schema.get("type") == "array":
            value |= {"style": "form", "explode": False}
        return {**value, "schema": self.schema, "example": self.example}


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent, in JSON: a model, or several of which one is meant."""

    models: tuple[type, ...]
    examples: Mapping[str, object]
    required: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """A success."""

    status: int
    description: str
    model: type | None = None
    example: object = None
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    """What each header field says."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of an address. `path` is written as OpenAPI has it, its parameters in braces."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    name: str
    tag: str
    summary: str
    answers: tuple[Answer, ...]
    errors: tuple[type[GaplessError], ...] = ()
    """Beside the service's own fault, which is always possible."""
    description: str = ""
    credentials: tuple[Scheme, ...] = ANYBODY
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None


def query(name: str, description: str, schema: Schema, example: object) -> Parameter:
    """Describe a query parameter."""
    return Parameter(name, "query", description, schema, example)


def segment(name: str, description: str, schema: Schema, example: object) -> Parameter:
    """Describe a part of the path."""
    return Parameter(name, "path", description, schema, example)


def header(name: str, description: str, schema: Schema, example: object) -> Parameter:
    """Describe a header field of the request."""
    return Parameter(name, "header", description, schema, example)
