"""One table for each question: on the terminal, and as Markdown."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

from rich import box
from rich.table import Table as Drawn

from bench.questions.question import BUSY, Samples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.questions.question import Column, Question


class Table(NamedTuple):
    """What is known of one question, in words."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    verdicts: tuple[str, ...]
    notes: tuple[str, ...]


def table(question: Question, samples: Samples, wanted: Sequence[str]) -> Table:
    """Put medians and spread side by side; say who was wanted and has no figure."""
    asked = [peer for peer in question.peers if samples.rounds.get(peer)]
    columns = [one for one in question.columns if any(samples.values(peer, one.figure) for peer in asked)]
    rows = tuple((peer, *(_cell(samples.values(peer, column.figure), column) for column in columns)) for peer in asked)
    verdicts = tuple(_verdicts(question, samples))
    notes = tuple(_notes(samples, asked, [peer for peer in question.peers if peer in wanted]))
    return Table(question.title, ("", *(column.heading for column in columns)), rows, verdicts, notes)


def _cell(values: Sequence[float], column: Column) -> str:
    """Write a median, and the least and the most beside it when they differ from it."""
    if not values:
        return "–"
    low, middle, high = (
        _number(value, column.digits) for value in (min(values), statistics.median(values), max(values))
    )
    return middle if low == high else f"{middle} ({low}–{high})"


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def _verdicts(question: Question, samples: Samples) -> Iterator[str]:
    for goal in question.goals:
        verdict = goal.judge(samples)
        word = {True: "holds", False: "falls short", None: "not judged"}[verdict.holds]
        yield f"{verdict.goal}: {verdict.found}: {word}"


def _notes(samples: Samples, asked: Sequence[str], wanted: Sequence[str]) -> Iterator[str]:
    for peer in asked:
        load = samples.median(peer, "load")
        if load is not None and load > BUSY:
            yield f"{peer}: the load (with Redis) kept its core {load:.0%} busy, and so was the limit"
    for peer in wanted:
        if peer not in asked:
            yield f"{peer}: no figure"


def drawn(one: Table) -> Drawn:
    """Draw a table for a terminal."""
    picture = Drawn(title=one.title, box=box.SIMPLE, title_justify="left")
    for heading in one.headings:
        picture.add_column(heading, justify="right" if heading else "left")
    for row in one.rows:
        picture.add_row(*(cell.replace(" (", "\n(") for cell in row))
    picture.caption = "\n".join((*one.verdicts, *one.notes))
    picture.caption_justify = "left"
    return picture


def markdown(one: Table) -> str:
    """Write a table as Markdown."""
    lines = [f"| {' | '.join(one.headings)} |", f"| {' | '.join(('---', *['---:'] * (len(one.headings) - 1)))} |"]
    lines += [f"| {' | '.join(row)} |" for row in one.rows]
    lines += ["", *(f"* {verdict}" for verdict in one.verdicts), *(f"* {note}" for note in one.notes)]
    return "\n".join(lines)
