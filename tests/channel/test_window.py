"""The window: an unbroken run of entries, indexed by scope, bounded by events and bytes."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.channel.event import ORIGIN, Cursor, Entry, Interest, interest, parse_filter
from realtime.channel.window import Window
from tests.channel.events import EVERYONE, entry, marker

SCOPES = ("broadcast", "user:1", "role:r", "topic:a", "topic:a.x", "topic:a.y", "topic:b.y")
HELD = (*SCOPES, "topic:a.*", "topic:b.*", "topic:*")
TYPES = ("task.done", "task.begun", "note.read")
FILTERS = (None, "task.*", "note.read", "task.done,note.*")
NEVER_FULL = 10_000


class Kind(NamedTuple):
    """An entry without its id; no scope makes a marker."""

    channel: str
    scope: str
    event: str
    size: int


kinds = st.builds(
    Kind,
    st.sampled_from(["main", "other"]),
    st.sampled_from([*SCOPES, ""]),
    st.sampled_from(TYPES),
    st.integers(0, 300),
)
interests = st.builds(
    lambda channel, held, wanted: interest(channel, held, wanted and parse_filter(wanted)),
    st.sampled_from(["main", "other"]),
    st.sets(st.sampled_from(HELD)),
    st.sampled_from(FILTERS),
)


def entries(drawn: list[Kind], first: int = 1) -> list[Entry]:
    return [
        entry(ms, one.scope, channel=one.channel, event=one.event, size=one.size) if one.scope else marker(ms)
        for ms, one in enumerate(drawn, first)
    ]


def filled(*run: Entry, events: int = NEVER_FULL, size: int = 1 << 30) -> Window:
    window = Window(events, size)
    window.extend(run)
    return window


def naive(run: list[Entry], seen: Interest, after: Cursor) -> list[Entry]:
    return [one for one in run if one.id > after and seen.sees(one)]


@given(st.lists(kinds, max_size=40), interests, st.integers(0, 41), st.integers(1, 12))
def test_reading_is_a_plain_look_at_every_entry(drawn: list[Kind], seen: Interest, after: int, limit: int) -> None:
    run = entries(drawn)
    window = filled(*run)
    start = Cursor(after, 0)
    batch = window.read(seen, start, limit)
    expected = naive(run, seen, start)
    assert batch.entries == expected[:limit]
    assert batch.more == (len(expected) > limit)
    assert batch.position == (expected[limit - 1].id if batch.more else window.position)


@given(st.lists(kinds, max_size=60), interests, st.integers(1, 5), st.integers(1, 20), st.integers(60, 3_000))
def test_page_by_page_a_full_window_gives_what_it_still_has(
    drawn: list[Kind], seen: Interest, limit: int, events: int, size: int
) -> None:
    run = entries(drawn)
    window = Window(events, size)
    for at in range(0, len(run), 7):
        window.extend(run[at : at + 7])
    held = [one for one in run if one.id > window.base]
    cursor, read = window.base, []
    more = True
    while more:
        batch = window.read(seen, cursor, limit)
        read += batch.entries
        cursor, more = batch.position, batch.more
    assert read == naive(run, seen, window.base)
    assert len(held) == len(window) <= events
    assert sum(one.size for one in held) == window.bytes <= size


@given(st.lists(kinds, max_size=40), interests, st.integers(1, 20))
def test_the_newest_is_the_last_visible_entry(drawn: list[Kind], seen: Interest, events: int) -> None:
    run = entries(drawn)
    window = filled(*run, events=events)
    visible = naive(run, seen, window.base)
    assert window.newest(seen) == (visible[-1].id if visible else window.base)


@given(st.lists(kinds, max_size=40), st.integers(0, 45), st.integers(1, 30))
def test_trimming_lets_everything_up_to_the_floor_go(drawn: list[Kind], floor: int, events: int) -> None:
    run = entries(drawn)
    window = filled(*run, events=events)
    base = window.base
    window.trim(Cursor(floor, 0))
    gone = [one.id for one in run if base < one.id <= Cursor(floor, 0)]
    assert window.base == (gone[-1] if gone else base)
    assert len(window) == len([one for one in run if one.id > window.base])
    seen = interest("main", HELD)
    assert window.read(seen, window.base, NEVER_FULL).entries == naive(run, seen, window.base)


def test_it_begins_nowhere_and_holds_nothing() -> None:
    window = Window(10, 10)
    assert (window.base, window.position, len(window)) == (ORIGIN, ORIGIN, 0)
    assert window.read(EVERYONE, ORIGIN, 5) == ([], ORIGIN, False)


def test_it_holds_its_base_and_the_ids_of_its_entries_and_nothing_else() -> None:
    window = filled(*[entry(ms) for ms in (10, 20, 30, 40)], events=2)
    assert [ms for ms in range(50) if window.holds(Cursor(ms, 0))] == [20, 30, 40]
    assert not window.holds(Cursor(30, 1))


def test_markers_move_the_position_and_are_seen_by_nobody() -> None:
    window = filled(entry(1), marker(2), marker(3, b"epoch"))
    batch = window.read(interest("main", HELD), ORIGIN, 10)
    assert [one.id.ms for one in batch.entries] == [1]
    assert batch.position == Cursor(3, 0)


def test_an_event_larger_than_the_window_passes_through_it() -> None:
    window = filled(entry(1), entry(2, size=5_000), size=1_000)
    assert len(window) == 0
    assert window.base == window.position == Cursor(2, 0)
    window.extend([entry(3)])
    assert [one.id.ms for one in window.read(EVERYONE, Cursor(2, 0), 10).entries] == [3]


def test_beginning_anew_forgets_everything() -> None:
    window = filled(entry(1), entry(2, "topic:a"))
    window.restart(Cursor(7, 3))
    assert (window.base, window.position, len(window), window.bytes) == (Cursor(7, 3), Cursor(7, 3), 0, 0)
    assert window.newest(interest("main", HELD)) == Cursor(7, 3)


def test_a_topic_by_name_and_by_pattern_is_one_event() -> None:
    window = filled(entry(1, "topic:a.x"), entry(2, "topic:a.y"), entry(3, "topic:a.x"))
    seen = interest("main", ["topic:a.x", "topic:a.*", "topic:*"])
    assert [one.id.ms for one in window.read(seen, ORIGIN, 10).entries] == [1, 2, 3]


@pytest.mark.parametrize("count", [511, 512, 1_024, 2_000])
def test_eating_at_the_beginning_never_shows(count: int) -> None:
    window = Window(100, 1 << 30)
    for ms in range(1, count + 1):
        window.extend([entry(ms)])
        low = max(0, ms - 100)
        assert window.base == Cursor(low, 0)
        assert not window.holds(Cursor(low - 1, 0))
        assert window.holds(Cursor(low, 0))
    found = window.read(EVERYONE, window.base, NEVER_FULL).entries
    assert [one.id.ms for one in found] == list(range(count - 99, count + 1))
