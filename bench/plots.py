"""One picture for each question: bars of the medians, and lines from the least round to the most."""

from __future__ import annotations

import statistics
from html import escape
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.questions.question import Question, Samples

_WIDTH: Final = 760
_LEFT: Final = 190
_RIGHT: Final = 110
_ROW: Final = 26
_BAR: Final = 16
_TOP: Final = 50
_BOTTOM: Final = 14
_OURS: Final = "#1f6feb"
_OTHERS: Final = "#8b949e"
_FLOOR: Final = "#d0d7de"
_INK: Final = "#1f2328"
_HEAD: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
    'font-family="sans-serif" font-size="13">'
)


class Bar(NamedTuple):
    """One bar, and its rounds."""

    label: str
    colour: str
    values: Sequence[float]


def plot(question: Question, samples: Samples) -> str:
    """Draw a question as SVG."""
    bars = list(_bars(question, samples))
    most = max((max(bar.values) for bar in bars), default=0) or 1
    height = _TOP + _ROW * len(bars) + _BOTTOM
    headings = {column.figure: column.heading for column in question.columns}
    unit = headings[question.plotted[0]] if len(question.plotted) == 1 else "CPU for a delivery, µs"
    lines = [
        _HEAD.format(width=_WIDTH, height=height),
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="22" font-weight="bold" fill="{_INK}">{escape(question.title)}</text>',
        f'<text x="12" y="38" font-size="11" fill="{_INK}">{escape(unit)}: median, least and most round</text>',
    ]
    for place, bar in enumerate(bars):
        lines += _drawn(bar, _TOP + _ROW * place, (_WIDTH - _LEFT - _RIGHT) / most)
    return "\n".join((*lines, "</svg>", ""))


def _bars(question: Question, samples: Samples) -> Iterator[Bar]:
    headings = {column.figure: column.heading for column in question.columns}
    for figure in question.plotted:
        for peer in question.peers:
            values = samples.values(peer, figure)
            if not values:
                continue
            label = peer if len(question.plotted) == 1 else f"{peer}, {headings[figure]}"
            yield Bar(label, {"gapless": _OURS, "floor": _FLOOR}.get(peer, _OTHERS), values)


def _drawn(bar: Bar, top: int, scale: float) -> Iterator[str]:
    middle = statistics.median(bar.values)
    low, high = (_LEFT + scale * max(value, 0) for value in (min(bar.values), max(bar.values)))
    line = top + _BAR / 2
    text = f'y="{line + 4:.0f}" fill="{_INK}"'
    yield f'<text x="{_LEFT - 8}" {text} text-anchor="end">{escape(bar.label)}</text>'
    width = scale * max(middle, 0)
    yield f'<rect x="{_LEFT}" y="{top}" width="{width:.1f}" height="{_BAR}" fill="{bar.colour}"/>'
    yield f'<path d="M{low:.1f} {line}H{high:.1f}M{low:.1f} {top + 4}v8M{high:.1f} {top + 4}v8" stroke="{_INK}"/>'
    yield f'<text x="{max(high, _LEFT + width) + 6:.1f}" {text}>{_number(middle)}</text>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"
