"""Ask every question of ours and of its peers, in rounds, and write down what was found: ``python -m bench``."""

from __future__ import annotations

import argparse
import os
import time
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import Progress

from bench import migration, pace, results
from bench.machine import describe, pin_load, raise_file_limit
from bench.peers import PEERS
from bench.profiles import profile
from bench.programs import NoCompiler, build
from bench.questions import QUESTIONS
from bench.rounds import Rounds
from bench.tables import drawn, table

_ROUNDS = 5
_QUICK_ROUNDS = 2
_QUICK = ("single", "saturated", "broadcast")
_QUICK_PEERS = ("gapless", "nchan", "floor")


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the first three questions, two rounds, nothing written")
    parser.add_argument("--profile", action="store_true", help="where the gateway's time goes: bench/profiles")
    parser.add_argument("--render", action="store_true", help="write down results.json once more, ask nothing")
    parser.add_argument("--rounds", type=int, help=f"how many (default {_ROUNDS})")
    parser.add_argument(
        "--only", nargs="+", choices=[one.name for one in QUESTIONS], help="these questions, not written"
    )
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), help="these peers alone")
    return parser.parse_args()


def present(names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Install peers; return those that can be asked, and what is to be said of the others."""
    absent = {name: PEERS[name].missing() for name in names}
    said = [f"{name} is not compared: {missing}" for name, missing in absent.items() if missing]
    return [name for name, missing in absent.items() if missing is None], said


def prepare() -> None:
    """Build the load, and take what it needs of this machine."""
    try:
        for program in ("audience", "requests"):
            build(program)
    except NoCompiler as error:
        raise SystemExit(str(error)) from error
    raise_file_limit()
    pin_load()


def run(rounds: Rounds, count: int, console: Console) -> None:
    """Run the rounds, and show how far they are."""
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("", total=sum(len(list(rounds.steps(number))) for number in range(count)))
        for number in range(count):
            for step in rounds.steps(number):
                rounds.take(number, step, lambda text: progress.update(task, description=text))
                progress.advance(task)


def main() -> None:
    """Do what the command line says."""
    chosen = options()
    if chosen.render:
        results.render()
        return
    prepare()
    only = chosen.only or (_QUICK if chosen.quick else [one.name for one in QUESTIONS])
    questions = [one for one in QUESTIONS if one.name in only]
    if chosen.profile:
        for question in questions:
            print(profile(question))
        return
    began_s = time.monotonic()
    console = Console(width=150)
    wanted = tuple(chosen.peers or (_QUICK_PEERS if chosen.quick else PEERS))
    peers, said = present(wanted)
    load = "load average before: {:.1f}, {:.1f}, {:.1f} (more than 0.3: others work here too)".format(*os.getloadavg())
    count = chosen.rounds or (_QUICK_ROUNDS if chosen.quick else _ROUNDS)
    rounds = Rounds(questions, peers, wanted, pace.measure())
    run(rounds, count, console)
    print(f"{describe()}; pace {rounds.pace:.2f}")
    said = [load, *said]
    for question in questions:
        console.print(drawn(table(question, rounds.samples(question), wanted)))
    for line in (*said, *rounds.failures):
        print(line)
    if not (chosen.quick or chosen.only or chosen.peers):
        told = migration.main()
        print("\n".join(told))
        results.write(rounds, count, [*said, *rounds.failures], told, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    print(f"{count} rounds in {time.monotonic() - began_s:.0f} s")


if __name__ == "__main__":
    main()
