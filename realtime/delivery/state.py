"""Where an attachment stands, and where it can go from there: a table."""

from __future__ import annotations

from enum import IntEnum, auto
from typing import Final


class State(IntEnum):
    """Where an attachment stands."""

    OPENING = auto()
    READING = auto()
    LIVE = auto()
    STALLED = auto()
    RESTING = auto()
    AWAY = auto()
    ENDED = auto()


MOVES: Final = {
    State.OPENING: frozenset({State.READING, State.LIVE, State.RESTING, State.ENDED}),
    State.READING: frozenset({State.LIVE, State.STALLED, State.RESTING, State.ENDED}),
    State.LIVE: frozenset({State.READING, State.STALLED, State.RESTING, State.AWAY, State.ENDED}),
    State.STALLED: frozenset({State.READING, State.ENDED}),
    State.RESTING: frozenset({State.READING, State.ENDED}),
    State.AWAY: frozenset({State.LIVE, State.ENDED}),
    State.ENDED: frozenset[State](),
}
