"""Where the gateway's time goes while a question is asked: py-spy's samples, summed up in `bench/profiles/`."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.peers import PEERS
from bench.programs import BUILT
from bench.questions.question import OURS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bench.questions.question import Question
    from bench.targets import Target

_FOLDER: Final = Path(__file__).parent / "profiles"
_RATE: Final = 250
_LINES: Final = 30
_PATIENCE_S: Final = 60.0
_LOOP: Final = "Runner.run ("
_ITSELF: Final = "uvloop, and the kernel below it"


def profile(question: Question) -> Path:
    """Ask a question of a fresh gateway that is being watched; return where the summary is."""
    raw = BUILT / f"{question.name}.stacks"
    with PEERS[OURS].running() as target, _watched(target, raw):
        question.ask(target)
    summary = _FOLDER / f"{question.name}.txt"
    _FOLDER.mkdir(exist_ok=True)
    summary.write_text("\n".join((*_summary(question, raw.read_text().splitlines()), "")))
    return summary


@contextmanager
def _watched(target: Target, raw: Path) -> Iterator[None]:
    """Let py-spy look at a process, from the load's core; it stops the process for each look."""
    options = ["--rate", str(_RATE), "--format", "raw", "--subprocesses", "--output", str(raw)]
    program = Path(sys.executable).with_name("py-spy")
    command = [str(program), "record", "--pid", str(target.processes.pid), *options]
    watcher = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield
    finally:
        watcher.send_signal(signal.SIGINT)
        said, _ = watcher.communicate(timeout=_PATIENCE_S)
    if not raw.exists():
        raise RuntimeError(f"py-spy recorded nothing (it needs root, or kernel.yama.ptrace_scope=0): {said[-300:]}")


def _summary(question: Question, stacks: Iterable[str]) -> Iterator[str]:
    """Tell the functions in which the time was spent: themselves, and with all that they call."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = _frames(stack)
        if not frames:
            continue
        own[frames[-1]] += int(count)
        for place in set(frames):
            whole[place] += int(count)
    total = max(1, own.total())
    yield f"{question.title}: {total} samples of the busy gateway, {_RATE} a second. Written by `make bench-profile`."
    for heading, counted in (("in the function itself", own), ("with what it calls", whole)):
        yield f"\n{heading}"
        yield from (f"{count / total:6.1%}  {place}" for place, count in counted.most_common(_LINES))


def _frames(stack: str) -> list[str]:
    """Write the frames above the loop's, if it is the loop's thread: the others (the watcher of files) only wait."""
    _, loop, above = stack.rpartition(_LOOP)
    if not loop:
        return []
    _, _, frames = above.partition(";")
    return [_place(frame) for frame in frames.split(";")] if frames else [_ITSELF]


def _place(frame: str) -> str:
    """Write a frame without the path to its package, and without its line."""
    name, _, place = frame.partition(" (")
    file = place.partition(":")[0].rpartition("site-packages/")[2].removesuffix(")")
    parts = Path(file).parts
    return f"{name} ({'/'.join(parts[-3:])})" if parts else name
