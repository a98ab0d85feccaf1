"""Texts that were verified lately, so that a client's next request costs no cryptography."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

CAPACITY = 16_384

T = TypeVar("T")


class Recent(Generic[T]):
    """A bounded map from text to what it was verified to be; whoever looks checks that it is still good."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[str | bytes, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, text: str | bytes) -> T | None:
        """Return what the text was verified to be, if it still is known."""
        found = self._entries.get(text)
        if found is not None:
            self._entries.move_to_end(text)
        return found

    def put(self, text: str | bytes, verified: T) -> None:
        """Remember a text; the one that was longest out of use makes room."""
        self._entries[text] = verified
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
