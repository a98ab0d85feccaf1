"""What handlers take from Quart and give to it: the request's head, a checked body, an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import orjson
from pydantic import BaseModel, ValidationError
from quart import Response
from quart import request as quart_request
from werkzeug.datastructures import Headers

from realtime.errors import InvalidField, MalformedBody
from realtime.request import from_asgi

if TYPE_CHECKING:
    from realtime.request import Request
    from transports.transport import Answer

Model = TypeVar("Model", bound=BaseModel)


def asked() -> Request:
    """Return the head of the request that is being handled."""
    return from_asgi(cast("dict[str, Any]", quart_request.scope))


async def body(model: type[Model]) -> Model:
    """Read a JSON object; an absent body is an empty one.

    Raises:
        MalformedBody: the body is not JSON.
        InvalidField: a field has a wrong value.
    """
    raw = await quart_request.get_data(as_text=False)
    try:
        value = orjson.loads(raw) if raw.strip() else {}
    except orjson.JSONDecodeError as error:
        raise MalformedBody("the body is not JSON in UTF-8") from error
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "body"
        raise InvalidField(f"{field}: {first['msg']}", field=field) from error


def json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer with JSON that nobody keeps."""
    fields = {"Content-Type": "application/json", "Cache-Control": "no-store", **(headers or {})}
    return Response(orjson.dumps(value), status=status, headers=fields)


def answered(answer: Answer) -> Response:
    """Hand an answer of ours to the framework."""
    headers = Headers([(name.decode(), value.decode()) for name, value in answer.headers])
    return Response(answer.body, status=answer.status, headers=headers)
