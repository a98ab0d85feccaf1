"""Shell blocks and programs, run as a reader runs them: one after another, in a shell that keeps its variables.

What a reader ends with Ctrl-C is ended here: ``curl -N`` and ``gapless tail`` after some lines, ``gapless serve`` once
it listens. Addresses of the documentation become those of the test.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.docs.pages import Block

_WATCH_S = 20
_LINES = 9
"""Of a stream: the delay, and the first two events."""
_LOAD = "event: host.load-sampled"
"""What a stream of the demo is watched for, where a block asks for its topic."""
_LONGEST_S = 60
_INTERPRETERS = {"python": f'"{sys.executable}" -', "php": "php", "ruby": "ruby -W"}

# `set -a` exports what is assigned, so that it can be kept; settings of the service are each block's own. Functions are
# kept too; ours come after them.
_BEFORE = f"""
set -euo pipefail
set -a
[ ! -e "$KEPT" ] || . "$KEPT"
trap '{{ export -p | grep -v GAPLESS_; declare -f; }} > "$KEPT"' EXIT

watched() {{ timeout {_WATCH_S} "$@" | sed -u "$UNTIL" || true; }}

served() {{
  command gapless "$@" > serving & local pid=$!
  until grep -q listening serving; do kill -0 $pid; sleep 0.05; done
  kill -TERM $pid
  wait $pid
  cat serving
}}

curl() {{
  case " $* " in
    *" -N "*) watched curl --no-progress-meter --fail-with-body "$@" ;;
    *) command curl --no-progress-meter --fail-with-body --max-time 10 "$@" ;;
  esac
}}

gapless() {{
  case "$1" in
    serve) served "$@" ;;
    tail) watched gapless "$@" ;;
    *) command gapless "$@" ;;
  esac
}}
"""


@dataclass
class Shell:
    """A shell in a folder of its own, with the addresses of the test."""

    folder: Path
    environ: Mapping[str, str]
    addresses: Mapping[str, str]
    """What stands in the documentation → what stands for it in the test."""

    def run(self, block: Block) -> str:
        """Run a block of shell, or of a language that is read from standard input; return what it wrote."""
        if block.language in _INTERPRETERS:
            start = f'[ ! -e "$KEPT" ] || . "$KEPT"; exec {_INTERPRETERS[block.language]}'
            return self._run(start, block, self.local(block.code))
        return self._run(_BEFORE + self.local(block.code), block, "")

    def local(self, code: str) -> str:
        """Put the test's addresses into code."""
        for written, real in self.addresses.items():
            code = code.replace(written, real)
        return code

    def _run(self, script: str, block: Block, given: str) -> str:
        started = subprocess.Popen(
            ["bash", "-c", script],
            cwd=self.folder,
            env={**self.environ, "KEPT": str(self.folder / "kept"), "UNTIL": _until(block)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, err = started.communicate(given, _LONGEST_S)
            said = f"{block.place} ended with {started.returncode}:\n{block.code}\n{out}\n{err}"
            assert started.returncode == 0, said
        except BaseException:
            with suppress(ProcessLookupError):  # what it had begun would stay
                os.killpg(started.pid, signal.SIGKILL)
            started.communicate()
            raise
        return out


def _until(block: Block) -> str:
    """Return the program of sed that ends a stream."""
    return f"/{_LOAD}/{{n;q}}" if "topic:host" in block.code else f"{_LINES}q"
