"""The memory of what was verified lately."""

from __future__ import annotations

from realtime.auth.recent import Recent


def test_what_is_longest_out_of_use_makes_room() -> None:
    recent: Recent[int] = Recent(capacity=2)
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.get("a") == 1
    recent.put("c", 3)
    assert (recent.get("a"), recent.get("b"), recent.get("c"), len(recent)) == (1, None, 3, 2)
