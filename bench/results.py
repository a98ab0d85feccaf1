"""Writes down what was found: `bench/RESULTS.md`, its plots, and the figures of every round."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

from bench.machine import describe
from bench.peers import PEERS
from bench.plots import plot
from bench.tables import markdown, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bench.rounds import Rounds

FOLDER: Final = Path(__file__).parent
_METHOD: Final = """\
Written by `make bench`, from what it measured; nothing here is written by hand. The server runs on one core, the load
(and Redis) on the other. In every round each peer is started afresh, and the peers take turns in another order. The
tables have the median of the rounds, and the least and the most of them in brackets; `bench/results.json` has them all.

CPU is what the kernel counts for the server's processes, per delivery or request: publishing and everything else that
the server does meanwhile is in it; Redis has a column of its own. The load, in C (`bench/load/`), checks each event of
each client: missing, repeated and disordered ones, refusals and lost connections are *faults*. Latency is from the
request that publishes to the read that brings the event. A core's column tells how busy it was; a load above 90 %
counts as the limit, and is said to be.

Ours has everything on, with the default configuration: each client has a token and a user of its own, scopes are
checked, events are in Redis before their publisher is answered, the policy decides, metrics count. The peers have no
authentication, no store and no history beyond their memory; the floor has nothing at all."""


def write(rounds: Rounds, count: int, remarks: Sequence[str], migration: Iterable[str]) -> None:
    """Write everything."""
    plots = FOLDER / "plots"
    plots.mkdir(exist_ok=True)
    for question in rounds.questions:
        (plots / f"{question.name}.svg").write_text(plot(question, rounds.samples(question)))
    text = "\n".join(_lines(rounds, count, remarks, migration))
    (FOLDER / "RESULTS.md").write_text(text)
    (FOLDER / "results.json").write_bytes(
        orjson.dumps(rounds.found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )


def _lines(rounds: Rounds, count: int, remarks: Sequence[str], migration: Iterable[str]) -> Iterator[str]:
    yield from ("# What it costs, measured", "", _METHOD, "", f"{describe()}; {count} rounds.", "")
    yield from (f"* {name}: {PEERS[name].version()}" for name in rounds.peers)
    yield from (f"* {remark}" for remark in (*remarks, *rounds.failures))
    for question in rounds.questions:
        yield from ("", f"## {question.title}", "", question.explanation, "")
        yield markdown(table(question, rounds.samples(question), rounds.wanted))
        yield from ("", f"![{question.title}](plots/{question.name}.svg)")
    yield from ("", "## A migration of everybody, and back", "", *migration, "")
