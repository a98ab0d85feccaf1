"""Every operation, called as its description allows and as it forbids: never a 5xx, nothing that it doesn't say.

In process, and the same each time. What is answered may have nothing beyond the models either: the document that is
tested against is closed, the one that is served is not, for clients ignore what they don't know.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig

from realtime.app import Worker
from realtime.openapi.schemas import Told
from tests.support.gateway import settings
from tests.support.waiting import until
from tests.wire.described import DOCUMENT

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from schemathesis import Case
    from schemathesis.schemas import BaseSchema

    from tests.support.redis import RedisServer

    Headers = dict[str, str]

STREAM: Final = {"max-stream-events": 1}
"""Of a stream the first event is read, then it is left."""
CHECKS: Final = {
    # The grammar of a name, or the sum of weights, is more than JSON Schema says; and what isn't known is ignored.
    "negative_data_rejection": {"enabled": False},
    "positive_data_acceptance": {"enabled": False},
}
WHOLE_POLICIES: Final = ("put_policy", "preview")
"""Each value of a policy, wrong in each way, is what tests/policies are for."""
GENERATION: Final = {"deterministic": True, "database": "none"}


class Stage:
    """The service in a loop of its own, for schemathesis ends an application's lifespan after each test."""

    def __init__(self) -> None:
        self.worker: Worker
        self._loop = asyncio.new_event_loop()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - as ASGI has it
        if scope["type"] != "http":
            return
        here = asyncio.get_running_loop()

        async def receive_here() -> Any:  # noqa: ANN401
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(receive(), here))

        async def send_here(message: Any) -> None:  # noqa: ANN401
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(send(message), here))

        serving = self.worker.asgi(scope, receive_here, send_here)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_started(serving), self._loop))

    @contextmanager
    def serve(self, worker: Worker) -> Iterator[None]:
        self.worker = worker
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        try:
            self._run(self._ready())
            yield
            self._run(worker.stop())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    async def _ready(self) -> None:
        await self.worker.start()
        await until(lambda: self.worker.is_ready)

    def _run(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result()


async def _started(serving: Any) -> None:  # noqa: ANN401
    await serving


def closed(document: dict[str, Any]) -> dict[str, Any]:
    """Let answers have nothing beside what is described."""
    document = deepcopy(document)
    told = {kind.__name__ for kind in _all(Told)}
    for name, schema in document["components"]["schemas"].items():
        if name in told or "code" in schema.get("properties", {}):
            schema.setdefault("unevaluatedProperties", False)
    return document


def _all(kind: type[Told]) -> Iterator[type[Told]]:
    for below in kind.__subclasses__():
        yield below
        yield from _all(below)


STAGE: Final = Stage()


def described(examples: int, *phases: str) -> BaseSchema:
    """Load the document, to be tried with so many random examples and these phases besides."""
    given = {
        **STREAM,
        "checks": CHECKS,
        "generation": {**GENERATION, "max-examples": examples},
        "phases": {name: {"enabled": name in phases} for name in ("examples", "coverage")},
    }
    found = schemathesis.openapi.from_dict(closed(DOCUMENT), config=SchemathesisConfig.from_dict(given))
    found.app = STAGE
    return found.exclude(operation_id="drain")  # the others would have no gateway left


@pytest.fixture(scope="module", autouse=True)
def worker(wire_valkey: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    url = wire_valkey.database()
    given = {
        "LONG_POLL__HOLD": "50ms",
        "LIMITS__FAILED_CREDENTIALS_RATE": "",
        "LIMITS__NEGOTIATE_RATE": "",
        "AUTH__ANONYMOUS_SCOPES": '["broadcast"]',
    }
    running = Worker(settings(tmp_path_factory.mktemp("described"), url, given), url)
    with STAGE.serve(running):
        yield running


def bearer(worker: Worker, *roles: str) -> Headers:
    return {"Authorization": f"Bearer {worker.credentials.mint('ada', roles=roles, ttl_s=3600)}"}


@described(4, "examples", "coverage").exclude(operation_id=[*WHOLE_POLICIES]).parametrize()
def test_to_an_admin_and_publisher_answers_are_as_described(case: Case[Any], worker: Worker) -> None:
    case.call_and_validate(headers=bearer(worker, "admin", "publisher"))


@described(8, "examples").include(operation_id=[*WHOLE_POLICIES]).parametrize()
def test_to_an_admin_answers_about_whole_policies_are_as_described(case: Case[Any], worker: Worker) -> None:
    case.call_and_validate(headers=bearer(worker, "admin"))


@described(2, "examples").parametrize()
def test_to_a_viewer_answers_are_as_described(case: Case[Any], worker: Worker) -> None:
    case.call_and_validate(headers=bearer(worker, "viewer"))


@described(2, "examples").parametrize()
def test_to_nobody_answers_are_as_described(case: Case[Any]) -> None:
    case.call_and_validate()
