"""How a fault in something that an operator wrote is put into words, whoever found it.

The configuration (`realtime.config.faults`) and the policy document (`policies.document`) say the same of the same
fault: the key with its dots, the value, what is expected, and what is most like it.
"""

from __future__ import annotations

import json
import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic_core import ErrorDetails

_LONGEST_VALUE: Final = 100
_LONGEST_COMPARED: Final = 100
_LEAST_LIKENESS: Final = 0.6
_SAME_NAME_ELSEWHERE: Final = 0.9
_BEGINNING: Final = 0.8
_SHORTEST_BEGINNING: Final = 3
_OF_A_KEY: Final = "[key]"
"""What pydantic ends a place with when a key of a table is wrong, and not its value."""
_PART: Final = re.compile(r"\[(\d+)\]|([^.\[]+)")
_EXPECTED: Final = {
    "string_type": "a string",
    "string_unicode": "a string of Unicode characters",
    "bool_type": "true or false",
    "model_type": "a section with its own keys",
}


def dotted(loc: Iterable[int | str]) -> str:
    """Write a place as a key with dots: ``policy.rollouts[0].arms``."""
    parts = (part for part in loc if part != _OF_A_KEY)
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")


def parts(key: str) -> tuple[int | str, ...]:
    """Take a key with dots apart again."""
    return tuple(int(number) if number else name for number, name in _PART.findall(key))


def right(details: ErrorDetails) -> tuple[str, str | None]:
    """Say what would have been right, and the nearest of it, as it would be written."""
    context = details.get("ctx", {})
    if details["type"] == "wrong_value":
        return context["expected"], context["nearest"]
    if details["type"] == "literal_error":
        allowed = re.findall(r"'([^']*)'", context["expected"])
        likest = nearest(str(details["input"]), allowed)
        return "one of " + ", ".join(map(json.dumps, allowed)), json.dumps(likest) if likest else None
    return _EXPECTED.get(details["type"], details["msg"]), None


def shown(value: object) -> str:
    """Write a value as JSON, and not at any length."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (RecursionError, ValueError):
        return "(too much to be shown)"
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def hint(likest: str | None) -> str:
    """Ask whether that was meant."""
    return f"; did you mean {likest}?" if likest else ""


def nearest(wanted: str, candidates: Iterable[str]) -> str | None:
    """Return what is most like it; the right name in another section is very like it, and so is a beginning."""
    wanted = wanted[:_LONGEST_COMPARED]
    found = max(((_likeness(wanted, candidate), candidate) for candidate in candidates), default=(0.0, None))
    return found[1] if found[0] >= _LEAST_LIKENESS else None


def beside(model: type[BaseModel], loc: Sequence[int | str]) -> tuple[str, ...]:
    """Name the keys that there are where an unknown one stands, as full keys."""
    parts = iter(loc[:-1])
    for part in parts:
        annotation = model.model_fields[str(part)].annotation
        model = _model_in(annotation) or model
        if get_origin(annotation) in {tuple, dict}:
            next(parts, None)
    return tuple(dotted((*loc[:-1], name)) for name in model.model_fields)


def found_at(value: object, loc: Iterable[int | str]) -> object:
    """Look up what was given at a place; what isn't there is `None`. A variable's JSON is looked into."""
    for part in loc:
        try:
            value = (json.loads(value) if isinstance(value, str) else value)[part]  # type: ignore[index]
        except (LookupError, TypeError, ValueError):
            return None
    return value


def _model_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - an annotation has no type of its own
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _likeness(wanted: str, candidate: str) -> float:
    wanted, candidate = wanted.lower(), candidate.lower()
    whole = SequenceMatcher(None, wanted, candidate).ratio()
    name = SequenceMatcher(None, wanted.rpartition(".")[2], candidate.rpartition(".")[2]).ratio()
    short = len(wanted) >= _SHORTEST_BEGINNING and candidate.startswith(wanted)
    return max(whole, _SAME_NAME_ELSEWHERE * name, _BEGINNING * short)
