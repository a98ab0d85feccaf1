"""What was found out lately, so that a client's next request does not cost it again: cryptography, a decision."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

CAPACITY = 16_384

T = TypeVar("T")


class Recent(Generic[T]):
    """A bounded map from a key to what was found out about it; whoever looks checks that it is still good.

    Entries are in the order of their last use. `sweep` drops those that were not used since the sweep before, which a
    mark among them tells: a look-up costs no more for it.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[Hashable, T | None] = OrderedDict()
        self._mark = object()

    def __len__(self) -> int:
        return len(self._entries) - (self._mark in self._entries)

    def get(self, key: Hashable) -> T | None:
        """Return what was found out about a key, if it still is known."""
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def put(self, key: Hashable, found: T) -> None:
        """Remember a key; the one that was longest out of use makes room."""
        self._entries[key] = found
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def sweep(self) -> int:
        """Forget what was not used since the last sweep; return how many entries that were."""
        dropped = 0
        if self._mark in self._entries:
            while self._entries.popitem(last=False)[0] is not self._mark:
                dropped += 1
        self._entries[self._mark] = None
        return dropped

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
