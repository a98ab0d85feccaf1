"""What handlers take from Quart and give to it: the request's head, a checked body, an answer."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from io import BytesIO
from mimetypes import guess_type
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import orjson
from pydantic import BaseModel, ValidationError
from quart import Blueprint, Response, send_file
from quart import request as quart_request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import NotFound
from werkzeug.security import safe_join

from realtime.compression import packed, takes_gzip
from realtime.errors import InvalidField, MalformedBody
from realtime.escapes import escaped
from realtime.nesting import DEEPEST, is_closed, is_too_deep
from realtime.request import from_asgi
from transports.transport import Answer

if TYPE_CHECKING:
    from quart import Quart

    from realtime.request import Request

Model = TypeVar("Model", bound=BaseModel)


class Pages(Blueprint):
    """Pages with static files, which are read whole before they are answered with.

    The framework's own way reads a file while it is sent, and lets it stay open when its client leaves meanwhile.
    """

    async def send_static_file(self, filename: str) -> Response:
        """Answer with a file of the static folder, or that it has not changed (RFC 9110 §13).

        Raises:
            NotFound: there is no such file.
        """
        place = safe_join(str(self.static_folder), filename)
        if place is None:
            raise NotFound
        data, changed_s = await asyncio.to_thread(_read, Path(place))
        kind, changed = guess_type(filename)[0], datetime.fromtimestamp(changed_s, UTC)
        answer = await send_file(BytesIO(data), mimetype=kind, conditional=False, last_modified=changed)
        answer.set_etag(f"{changed_s}-{len(data)}")
        await answer.make_conditional(quart_request, accept_ranges=False)
        return answer


def _read(file: Path) -> tuple[bytes, float]:
    """Return what a file holds, and when it was changed, in unix seconds."""
    if not file.is_file():
        raise NotFound
    return file.read_bytes(), file.stat().st_mtime


def asked() -> Request:
    """Return the head of the request that is being handled."""
    return from_asgi(cast("dict[str, Any]", quart_request.scope))


async def body(model: type[Model]) -> Model:
    """Read a JSON object; an absent body is an empty one.

    Raises:
        MalformedBody: the body is not JSON.
        InvalidField: a field has a wrong value.
    """
    raw = cast("bytes", await quart_request.get_data(as_text=False))
    if is_too_deep(raw) and is_closed(raw):
        raise InvalidField(f"the body is nested deeper than {DEEPEST} levels", field="body")
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


def json(
    value: object, status: int = 200, headers: dict[str, str] | None = None, *, has_ticket: bool = False
) -> Response:
    """Answer with JSON that nobody keeps; with a ticket in it, it is not compressed."""
    fields = {"content-type": "application/json", "cache-control": "no-store", **(headers or {})}
    given = tuple((name.encode(), text.encode()) for name, text in fields.items())
    return answered(Answer(status, given, escaped(orjson.dumps(value))), has_ticket=has_ticket)


def answered(answer: Answer, *, has_ticket: bool = False) -> Response:
    """Hand an answer of ours to the framework, compressed where it pays."""
    if not has_ticket:
        answer = packed(answer, takes_gzip=takes_gzip(quart_request.headers.get("Accept-Encoding", "")))
    headers = Headers([(name.decode(), value.decode()) for name, value in answer.headers])
    return Response(answer.body, status=answer.status, headers=headers)


def nothing(status: int) -> Response:
    """Answer without a body."""
    response = Response(status=status, headers={"Cache-Control": "no-store"})
    del response.headers["Content-Type"]
    return response


def name_routes(app: Quart) -> None:
    """Have the template of each request's route known outside of the framework too, as ``scope["route"]``."""

    async def named(response: Response) -> Response:
        quart_request.scope["route"] = route()  # type: ignore[typeddict-unknown-key]  # ours, as ASGI allows
        return response

    app.after_request(named)


def route() -> str:
    """Return the template of the route that is being handled, empty when there is none."""
    rule = quart_request.url_rule
    return rule.rule if rule is not None else ""
