"""`/openapi.json` against the OpenAPI standard, the routes that there are, the errors, and the protocol's page."""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import jsonschema_rs
import pytest
from openapi_spec_validator import validate

from admin.api import ADMIN
from realtime import errors
from realtime.offers import EVENTS
from realtime.openapi import problems
from realtime.openapi.document import Document
from realtime.openapi.hot import operations
from tests.transports.ndjson import NDJSON
from tests.wire.described import DOCUMENT, TABLE
from tests.wire.support import BROWSER, HISTORY, LONG_POLL, NEGOTIATE, POLL, SDK, STREAM, TICKET
from tests.wire.test_problems import DOCS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from realtime.openapi.operation import Operation
    from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGES: Final = ("/docs/static/", "/admin")
"""What browsers show, and is no API: the files of the page that shows the reference, and the console."""
KEYWORDS: Final = {
    *("$ref", "additionalProperties", "allOf", "anyOf", "const", "default", "description", "enum", "examples"),
    *("format", "items", "maxItems", "maxLength", "maximum", "minItems", "minLength", "minProperties", "minimum"),
    *("oneOf", "pattern", "patternProperties", "properties", "propertyNames", "required", "title", "type"),
    *("exclusiveMinimum", "uniqueItems"),
}
"""Those of JSON Schema 2020-12 that there is a use for here."""
CREDENTIAL: Final = {"bad-credential", "credential-required", "rate-limited", "keys-unavailable"}
SENT: Final = {"malformed-body", "body-too-large", "invalid-field"}
QUART: Final = {"malformed-parameter", "internal-error"}
ATTACHING: Final = {
    *CREDENTIAL,
    *QUART,
    "scope-not-held",
    "transport-not-offered",
    "log-unavailable",
    "no-transport",
    "draining",
}
PUBLIC_END: Final = {"history-truncated"}
CODES: Final = {
    ("GET", STREAM): ATTACHING | {"connection-limit", "at-capacity"},
    ("GET", LONG_POLL): ATTACHING | PUBLIC_END | {"at-capacity"},
    ("GET", POLL): ATTACHING | PUBLIC_END,
    ("POST", EVENTS): CREDENTIAL
    | SENT
    | {"role-not-held", "scope-not-held", "idempotency-conflict", "event-too-large", "log-unavailable"}
    | {"internal-error"},
    ("POST", NEGOTIATE): CREDENTIAL | SENT | QUART | {"no-common-transport", "no-transport", "log-unavailable"},
    ("GET", HISTORY): CREDENTIAL | QUART | {"scope-not-held", "history-truncated", "log-unavailable"},
    ("POST", TICKET): CREDENTIAL | SENT | QUART,
    ("DELETE", TICKET): QUART,
    ("GET", "/livez"): QUART,
    ("GET", "/readyz"): QUART | {"draining", "log-unavailable", "not-ready"},
    ("PUT", f"{ADMIN}/policy"): CREDENTIAL
    | SENT
    | QUART
    | {"role-not-held", "precondition-failed", "precondition-required", "log-unavailable"},
    ("PATCH", f"{ADMIN}/transports/{{name}}"): CREDENTIAL
    | SENT
    | QUART
    | {"role-not-held", "not-found", "precondition-failed", "log-unavailable"},
}
"""As docs/protocol.md has it, written once more; what the admin API has in common is tested below."""


async def test_it_follows_the_standard() -> None:
    validate(DOCUMENT)


async def test_it_says_where_the_service_is() -> None:
    assert [server["url"] for server in DOCUMENT["servers"]] == ["/"]


async def test_every_component_is_used() -> None:
    """What linters report as `no-unused-components`."""
    text = json.dumps(DOCUMENT)
    schemas = DOCUMENT["components"]["schemas"]
    assert [name for name in schemas if f'"#/components/schemas/{name}"' not in text] == []


async def test_schemas_have_the_keywords_of_json_schema_alone() -> None:
    """An unknown keyword is ignored by validators: a bound that is written with one binds nobody."""
    schemas = [(name, schema) for name, schema in DOCUMENT["components"]["schemas"].items()]
    while schemas:
        place, schema = schemas.pop()
        assert schema.keys() <= KEYWORDS, place
        for keyword in ("properties", "patternProperties"):
            schemas += [(f"{place}/{name}", inner) for name, inner in schema.get(keyword, {}).items()]
        for keyword in ("items", "additionalProperties", "propertyNames"):
            inner = schema.get(keyword, True)
            schemas += [] if isinstance(inner, bool) else [(f"{place}/{keyword}", inner)]
        for keyword in ("anyOf", "oneOf", "allOf"):
            schemas += [(f"{place}/{keyword}", inner) for inner in schema.get(keyword, ())]


async def test_it_is_served_to_anybody_with_the_version_of_the_package(plain: Gateway) -> None:
    answer = await plain.http.get("/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == json.loads(json.dumps(DOCUMENT))
    assert answer.json()["info"]["version"] == version("gapless")


async def test_every_route_is_described_and_nothing_else(plain: Gateway) -> None:
    described = {(one.method, one.path) for one in TABLE}
    assert described == {*_routes(plain), *_hot_paths(plain)}
    assert len(described) == len(TABLE)
    assert len({one.name for one in TABLE}) == len(TABLE)


def _routes(gateway: Gateway) -> Iterator[tuple[str, str]]:
    for rule in gateway.worker.quart.url_map.iter_rules():
        path = re.sub(r"<(?:[^:<>]*:)?([^<>]+)>", r"{\1}", rule.rule)
        if not path.startswith(PAGES):
            yield from ((method, path) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"})


def _hot_paths(gateway: Gateway) -> Iterator[tuple[str, str]]:
    yield from ((method, path) for path, method in gateway.worker.asgi.dispatcher.methods.items())


async def test_a_plug_in_is_described_as_the_transport_that_it_is() -> None:
    (one,) = operations([NDJSON()])
    validate(Document([one]).value)
    assert one.path == f"{EVENTS}/{NDJSON.path}"
    assert one.answers[0].media_type == NDJSON.media_type


# --- errors ----------------------------------------------------------------------------------------------------------


def _operation(one: Operation) -> dict[str, Any]:
    value: dict[str, Any] = DOCUMENT["paths"][one.path][one.method.lower()]
    return value


def _codes(one: Operation) -> dict[str, set[str]]:
    responses = _operation(one)["responses"].items()
    return {
        status: set(response["content"]["application/problem+json"]["examples"])
        for status, response in responses
        if int(status) >= 400
    }


@pytest.mark.parametrize(("method", "path"), CODES)
async def test_an_operation_names_the_errors_that_the_protocol_has_for_it(method: str, path: str) -> None:
    (one,) = (one for one in TABLE if (one.method, one.path) == (method, path))
    assert {code for codes in _codes(one).values() for code in codes} == CODES[method, path]


@pytest.mark.parametrize("one", TABLE, ids=lambda one: one.name)
async def test_every_error_stands_at_its_own_status(one: Operation) -> None:
    by_code = {kind.code: kind.status for kind in problems.answered()}
    for status, codes in _codes(one).items():
        assert {by_code[code] for code in codes} == {int(status)}


@pytest.mark.parametrize("one", [one for one in TABLE if one.tag == "admin"], ids=lambda one: one.name)
async def test_the_admin_api_asks_for_a_token_with_a_role(one: Operation) -> None:
    codes = {code for codes in _codes(one).values() for code in codes}
    assert codes >= CREDENTIAL | {"role-not-held"}
    assert (codes >= SENT) == (one.body is not None)
    assert ("not-found" in codes) == ("{" in one.path)
    assert one.method == "GET" or one.name == "explain" or "log-unavailable" in codes
    assert _operation(one)["security"] == [{"bearer": []}]


async def test_every_error_that_is_answered_is_somewhere() -> None:
    kinds = set(problems.answered())
    told = {code for one in TABLE for codes in _codes(one).values() for code in codes}
    before = {"method-not-allowed", "malformed-request", "request-timeout", "target-too-long", "head-too-large"}
    assert {kind.code for kind in kinds} - told == before, "said before it is known which method is asked for"
    assert {code for code in before if f" {code}`" in DOCUMENT["info"]["description"]} == before
    assert {kind.__name__ for kind in kinds if kind.code in told} <= DOCUMENT["components"]["schemas"].keys()


async def test_the_members_of_errors_are_those_of_the_protocol() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| \d{3} \|.*\| (.*)\|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    documented = {code: set(re.findall(r"`(\w+)`", members)) for code, members in rows}
    assert documented == {kind.code: set(problems.MEMBERS.get(kind, ())) for kind in problems.answered()}


BEFORE_A_METHOD: Final = {
    *(errors.MethodNotAllowed, errors.MalformedRequest, errors.RequestTimeout),
    *(errors.TargetTooLong, errors.HeadTooLarge),
}
"""Said before it is known which method is asked for: no operation answers with these."""


async def test_every_problem_has_its_example_and_its_schema() -> None:
    for kind in set(problems.answered()) - BEFORE_A_METHOD:
        _check(kind("what was wrong").problem(), {"$ref": f"#/components/schemas/{kind.__name__}"})
    wrong = errors.NotFound("nothing").problem() | {"code": "other"}
    with pytest.raises(jsonschema_rs.ValidationError):
        _check(wrong, {"$ref": "#/components/schemas/NotFound"})


# --- examples --------------------------------------------------------------------------------------------------------


def _check(value: object, schema: dict[str, Any]) -> None:
    whole = {**schema, "components": DOCUMENT["components"]}
    jsonschema_rs.validator_for(whole, validate_formats=True).validate(value)


@pytest.mark.parametrize("one", TABLE, ids=lambda one: one.name)
async def test_examples_are_as_described(one: Operation) -> None:
    operation = _operation(one)
    for parameter in operation.get("parameters", ()):
        _check(parameter["example"], parameter["schema"])
    whole = [*operation["responses"].values(), operation.get("requestBody", {})]
    for content in (media for part in whole for media in part.get("content", {}).values()):
        several = [one["value"] for one in content.get("examples", {}).values()]
        for example in several or [content["example"]]:
            _check(example, content.get("schema", {}))


async def test_examples_of_bodies_are_taken(plain: Gateway) -> None:
    headers = plain.bearer("ada", roles=("publisher", "admin"))
    taken = [one for one in TABLE if one.body and "{" not in one.path and one.name != "put_policy"]
    for one in taken:
        assert one.body is not None
        for example in one.body.examples.values():
            answer = await plain.http.request(one.method, one.path, json=example, headers=headers)
            assert answer.status_code == one.answers[0].status, answer.text
    await plain.http.delete(f"{ADMIN}/revocations/sub/42", headers=headers)


# --- streams, which schemathesis leaves after an event ----------------------------------------------------------------


@pytest.mark.parametrize("accept", [BROWSER, SDK], ids=["browser", "sdk"])
async def test_a_stream_begins_as_described(plain: Gateway, accept: dict[str, str]) -> None:
    described = DOCUMENT["paths"][STREAM]["get"]["responses"]["200"]
    async with plain.stream({**plain.bearer(), **accept}) as stream:
        assert stream.answer.status_code == 200
        assert [stream.answer.headers["content-type"]] == list(described["content"])
        for name, header in described["headers"].items():
            assert f"`{stream.answer.headers[name]}`" == header["description"]
        assert (await stream.next()).event == "connection.established"


async def test_the_document_has_a_validator_and_comes_compressed(plain: Gateway) -> None:
    whole = await plain.http.get("/openapi.json", headers={"Accept-Encoding": "identity"})
    small = await plain.http.get("/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in whole.headers
    assert small.headers["content-encoding"] == "gzip"
    assert int(small.headers["content-length"]) < len(whole.content) / 4
    assert small.json() == whole.json()
    tag = whole.headers["etag"]
    assert small.headers["etag"] == tag
    for accepted in ("identity", "gzip"):
        same = await plain.http.get("/openapi.json", headers={"If-None-Match": tag, "Accept-Encoding": accepted})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert (await plain.http.get("/openapi.json", headers={"If-None-Match": '"other"'})).status_code == 200
