"""Parameters that several operations take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from realtime.openapi.answers import POSITION
from realtime.openapi.operation import query
from realtime.openapi.samples import ID

if TYPE_CHECKING:
    from realtime.openapi.operation import Parameter, Schema

_MOST_ITEMS: Final = 100
_NAME: Final = r"[^\x00-\x1f\x7f-\x9f, ]"
_TOPIC: Final = r"[^\x00-\x1f\x7f-\x9f, .]+(\.[^\x00-\x1f\x7f-\x9f, .]+)*"


def _list(pattern: str) -> Schema:
    items = {"type": "string", "pattern": pattern, "maxLength": 128}
    return {"type": "array", "items": items, "minItems": 1, "maxItems": _MOST_ITEMS}


EVENT_TYPES: Final = query(
    "events",
    "Only events of these types: a type, what lies below a prefix (`task.*`), or `*`.",
    _list(r"^(\*|[a-z][a-z0-9-]*(\.[a-z][a-z0-9-]*)*\.\*|[a-z][a-z0-9-]*(\.[a-z][a-z0-9-]*)+)$"),
    ["task.*", "system.notification"],
)
SCOPES: Final = query(
    "scopes",
    "Only events of these scopes, each of which must be held: a scope, or a pattern of topics (`topic:sport.*`).",
    _list(rf"^(broadcast|(user|role):{_NAME}+|topic:(\*|{_TOPIC}(\.\*)?))$"),
    ["broadcast", "topic:news"],
)
AUDIENCE: Final = query(
    "audience",
    "An answer for everybody, which caches may share; credentials are not looked at.",
    {"type": "string", "enum": ["public"]},
    "public",
)
LIMIT: Final = query(
    "limit",
    "How many events to answer with at most.",
    {"type": "integer", "minimum": 1, "maximum": 1000},
    100,
)


def position(name: str, what: str) -> Parameter:
    """Describe a position in the log."""
    said = f"{what}: a cursor, or `earliest` for all that is kept."
    return query(name, said, {"type": "string", "pattern": POSITION}, ID)
