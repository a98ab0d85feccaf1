"""How deep JSON is nested. Readers of JSON have a limit of their own, and what is over it they can't read at all."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

DEEPEST: Final = 128
"""Arrays and objects within one another, at most."""

_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_ALL_BUT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEP: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def is_too_deep(text: bytes, deepest: int = DEEPEST) -> bool:
    """Tell whether JSON is nested deeper than `deepest`; of what is no JSON, some answer."""
    if text.count(b"[") + text.count(b"{") <= deepest:
        return False
    return max(_depths(text), default=0) > deepest


def is_closed(text: bytes) -> bool:
    """Tell whether a text that is nested too deep to be read ends all that it begins: else it is no JSON."""
    *_, last = (0, *_depths(text))
    return last == 0


def _depths(text: bytes) -> Iterator[int]:
    """Return how deep it is behind each bracket that is not within a string."""
    brackets = _STRING.sub(b"", text).translate(None, _ALL_BUT_BRACKETS)
    return accumulate(map(_STEP.__getitem__, brackets))
