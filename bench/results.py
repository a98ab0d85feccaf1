"""Writes down what was found: `results.json`, and from that alone `RESULTS.md` and its plots."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from bench.machine import describe
from bench.peers import PEERS
from bench.plots import plot
from bench.questions import QUESTIONS
from bench.questions.question import Samples
from bench.tables import markdown, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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

No goal is a number that holds on one machine and fails on another: what is fast is asked of the floor and of peers in
the same rounds, and a load that has a rate has it times the *pace*: what the floor makes on this machine, in parts of
250,000 deliveries a second. The floor "with one event at a time" is the first table's, "saturated" and "deliveries"
without more the second one's.

Ours has everything on, with the default configuration: each client has a token and a user of its own, scopes are
checked, events are in Redis before their publisher is answered, the policy decides, metrics count. The peers have no
authentication, no store and no history beyond their memory; the floor has nothing at all."""


def write(rounds: Rounds, count: int, remarks: Sequence[str], migration: Iterable[str], when: str) -> None:
    """Write everything."""
    run = {
        "when": when,
        "machine": describe(),
        "rounds": count,
        "pace": rounds.pace,
        "peers": {name: PEERS[name].version() for name in rounds.peers},
        "wanted": rounds.wanted,
        "remarks": remarks,
        "migration": [*migration],
    }
    found = {"run": run, "figures": rounds.found}
    (FOLDER / "results.json").write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    render()


def render(folder: Path = FOLDER) -> None:
    """Write what `results.json` says once more; into another folder, if one is given."""
    found = orjson.loads((FOLDER / "results.json").read_bytes())
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    figures = defaultdict(dict, found["figures"])
    for question in QUESTIONS:
        (plots / f"{question.name}.svg").write_text(plot(question, Samples(figures[question.name], figures)))
    (folder / "RESULTS.md").write_text("\n".join(_lines(found["run"], figures)))


def _lines(run: Mapping[str, Any], figures: Mapping[str, Any]) -> Iterator[str]:
    yield from ("# What it costs, measured", "", _METHOD, "")
    yield from (f"{run['machine']}; {run['rounds']} rounds, {run['when']}; pace {run['pace']:.2f}.", "")
    yield from (f"* {name}: {version}" for name, version in run["peers"].items())
    yield from (f"* {remark}" for remark in run["remarks"])
    for question in QUESTIONS:
        yield from ("", f"## {question.title}", "", question.explanation, "")
        yield markdown(table(question, Samples(figures[question.name], figures), run["wanted"]))
        yield from ("", f"![{question.title}](plots/{question.name}.svg)")
    yield from ("", "## A migration of everybody, and back", "", *run["migration"], "")
