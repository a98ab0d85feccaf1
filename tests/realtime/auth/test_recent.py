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


def test_a_sweep_forgets_what_was_not_used_since_the_sweep_before() -> None:
    recent: Recent[int] = Recent(capacity=9)
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.sweep() == 0, "all of it is new"
    assert recent.get("b") == 2
    recent.put("c", 3)
    assert recent.sweep() == 1
    assert (recent.get("a"), recent.get("b"), recent.get("c"), len(recent)) == (None, 2, 3, 2)
    assert recent.sweep() == 0
    assert recent.sweep() == 2
    assert len(recent) == 0


def test_what_pushes_all_else_out_leaves_nothing_to_sweep() -> None:
    recent: Recent[int] = Recent(capacity=2)
    recent.put("a", 1)
    recent.sweep()
    for name in "bcd":
        recent.put(name, 2)
    assert recent.sweep() == 0
    assert len(recent) == 2


def test_after_a_clear_nothing_is_swept() -> None:
    recent: Recent[int] = Recent()
    recent.put("a", 1)
    recent.sweep()
    recent.clear()
    assert len(recent) == 0
    assert recent.sweep() == 0
