"""The admin API as its client sees it (PROTOCOL §4, Admin)."""

from __future__ import annotations

import getpass
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from policies.document import parse
from realtime.cli.console import Failure
from realtime.cli.options import bearer
from realtime.cli.remote import (
    FORBIDDEN,
    PRECONDITION_FAILED,
    Refused,
    Trouble,
    check,
    client,
    decoded,
    explained,
    translated,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import httpx2

    from policies.document import Document

ADMIN: Final = "admin"
VIEWER: Final = "viewer"

_PREFIX: Final = "/api/v1/admin"
_NO_NAME: Final = re.compile(r"[^\w.@+-]+")

Kind = TypeVar("Kind")


class InForce(msgspec.Struct):
    """A policy, and who put it in force, when and why."""

    revision: int
    policy: dict[str, Any]
    updated_by: str
    updated_at: str
    reason: str
    stale: bool = False

    @property
    def document(self) -> Document:
        """The policy as a document.

        Raises:
            InvalidField: it has what this version doesn't know.
        """
        return parse(self.policy)


class Preview(msgspec.Struct):
    """Whom a policy would move."""

    connections: int
    moved: int
    moves: dict[str, dict[str, int]]
    unanswered: int = 0


class Reply(NamedTuple, Generic[Kind]):
    """An answer, as it came and as it is read."""

    raw: bytes
    value: Kind


@dataclass(frozen=True, slots=True)
class Api:
    """One service's admin API."""

    http: httpx2.Client
    token: Callable[[], str]

    def get(self, path: str, kind: type[Kind], params: Mapping[str, str] | None = None) -> Reply[Kind]:
        """Ask for something.

        Raises:
            Trouble: the service can't be reached, or can't answer at the moment.
            Refused: it won't have it.
        """
        return self.send("GET", path, kind, params=params)

    def send(  # noqa: PLR0913 - what a request is made of
        self,
        method: str,
        path: str,
        kind: type[Kind],
        body: Mapping[str, object] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        revision: int | None = None,
    ) -> Reply[Kind]:
        """Send something, if `revision` is given, on the condition that it is still in force; raises as `get` does."""
        headers = {"Authorization": f"Bearer {self.token()}"}
        if revision is not None:
            headers["If-Match"] = f'"{revision}"'
        with translated():
            response = self.http.request(method, _PREFIX + path, json=body, params=params, headers=headers)
        check(response)
        return Reply(response.content, decoded(response.content or b"null", kind))

    def policy(self) -> Reply[InForce]:
        """Ask for the policy in force; raises as `get` does."""
        return self.get("/policy", InForce)

    def preview(self, document: Document) -> Reply[Preview]:
        """Ask whom a policy would move; raises as `get` does."""
        return self.send("POST", "/policy/preview", Preview, {"policy": document.dump()})


@contextmanager
def opened(url: str, token: str | None, config: Path | None, role: str) -> Iterator[Api]:
    """Yield the API of the service at `url`; without a token, one with `role` is made.

    Raises:
        Failure: instead of `Trouble` and `Refused`, in words that tell what to do.
    """
    give = bearer(token, config, _operator(), roles=(role,))
    with client(url) as http, explained(given_token=token is not None):
        try:
            yield Api(http, give)
        except Trouble as trouble:
            raise Failure(f"{url}: {trouble}") from trouble
        except Refused as refused:
            raise _in_words(refused, role) from refused


def _in_words(refused: Refused, role: str) -> Exception:
    detail = refused.problem.detail
    if refused.status == FORBIDDEN:
        return Failure(f"{detail}\ngapless token --sub NAME --role {role} makes one, where the secret is.")
    if refused.status == PRECONDITION_FAILED:
        return Failure(
            f"{detail}\nNothing was changed by this command. gapless policy history tells who was first; look again at "
            "what would change, and repeat it."
        )
    return refused


def _operator() -> str:
    """Name who acts, for the history: the user of this machine."""
    try:
        user = _NO_NAME.sub("-", getpass.getuser())
    except (OSError, KeyError):
        return "cli"
    return f"cli:{user[:64]}"
