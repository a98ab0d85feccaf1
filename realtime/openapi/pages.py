"""How the document is served: ``/openapi.json``, and ``/docs`` with Swagger UI, which is vendored in ``static``.

The page asks this service and nobody else: no CDN, no inline script, no validator of somebody's.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
from quart import Quart, Response
from quart import request as quart_request
from quart_schema import Info, OpenAPIProvider, QuartSchema, hide

from realtime.framework import Pages, answered, asked
from transports.transport import Answer

if TYPE_CHECKING:
    from realtime.openapi.document import Document

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    # An upgrade replaces them in place: the browser asks each time, and mostly hears "unchanged".
    "Cache-Control": "no-cache",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_TAG_LENGTH: Final = 16
_PREFIXES: Final = 8
"""Path prefixes whose documents are kept ready."""
_PAGE: Final = Path(__file__).with_name("static") / "index.html"


class Reference(QuartSchema):
    """quart-schema with our document and our page in the place of its own."""

    def __init__(self, app: Quart, document: Document) -> None:
        """Serve a document on an application."""
        self.document = document
        self._file = lru_cache(maxsize=_PREFIXES)(self._written)
        super().__init__(
            app,
            redoc_ui_path=None,
            scalar_ui_path=None,
            info=Info(title="Gapless", version="1"),
            openapi_provider_class=_Provider,
        )
        app.register_blueprint(_static())

    def _written(self, prefix: str) -> tuple[bytes, str]:
        """Return the document as it is behind a path prefix, and its tag."""
        file = orjson.dumps(self.document.at(prefix))
        return file, sha256(file).hexdigest()[:_TAG_LENGTH]

    @hide
    async def openapi(self) -> Response:
        """Answer with the document, compressed for who takes that; or that it is the same (RFC 9110 §13)."""
        file, tag = self._file(asked().prefix)
        fields = tuple((name.lower().encode(), value.encode()) for name, value in _HEADERS.items())
        response = answered(Answer(200, ((b"content-type", b"application/json"), *fields), file))
        response.set_etag(tag, weak=True)
        await response.make_conditional(quart_request, accept_ranges=False)
        return response

    @hide
    async def swagger_ui(self) -> Response:  # type: ignore[override] # a page, as theirs, with header fields
        """Answer with the page."""
        return Response(_PAGE.read_bytes(), headers={**_HEADERS, "Content-Type": "text/html; charset=utf-8"})


class _Provider(OpenAPIProvider):
    """Gives quart-schema, and its command, the document that we made."""

    def schema(self) -> dict[str, Any]:
        extension: Any = self._extension
        value: dict[str, Any] = extension.document.value
        return value


def _static() -> Pages:
    docs = Pages("docs", __name__, static_folder="static", static_url_path="/docs/static")

    @docs.after_request
    async def guard(response: Response) -> Response:
        response.headers.update(_HEADERS)
        return response

    return docs
