"""A test that is stuck ends, tells where it was, and leaves the others alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_TESTS = """
import asyncio, threading

async def test_that_waits():
    await asyncio.Event().wait()  # here it waits

def test_that_blocks():
    threading.Event().wait()

def test_that_is_good():
    pass
"""


def test_stuck_tests_end_with_their_stacks_and_the_others_run(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(_TESTS)
    options = ["-n", "1", "-c", str(_ROOT / "pyproject.toml"), "-p", "tests.support.stuck"]
    limits = ["-o", "timeout=6", "-o", "faulthandler_timeout=5"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *limits, str(tmp_path)],
        cwd=_ROOT, env={**os.environ, "PYTEST_ADDOPTS": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    told = done.stdout + done.stderr
    assert "2 failed, 1 passed" in told, told
    assert "# here it waits" in told
    assert 'test_some.py", line 8 in test_that_blocks' in told
