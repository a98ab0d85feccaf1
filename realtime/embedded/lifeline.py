"""Ties the life of a process to its parent's: when the parent dies, even by SIGKILL, the kernel ends the child.

Two ways to use it. A Python child calls `die_with_parent` first thing. For any other program this file is run as a
launcher, which asks for the signal and then becomes the program; that is safer than a `preexec_fn`, which runs Python
between fork and exec of a process that may have threads, and costs 20 ms::

    python -I -S lifeline.py <parent's pid> <program> <arguments…>

The kernel counts the *thread* that started the child as its parent (prctl(2), PR_SET_PDEATHSIG): start children from a
thread that lives as long as the process, such as the main one.

Nothing but the standard library is imported here, for the launcher runs without `site-packages`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, signum: int = signal.SIGTERM) -> None:
    """Have the kernel send `signum` to this process when its parent, the process `parent`, is gone.

    If it is gone already, the signal comes at once. Linux only: elsewhere this does nothing, and a parent that is
    killed with SIGKILL leaves its children behind.

    Raises:
        OSError: the kernel refused.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    if os.getppid() != parent:
        os.kill(os.getpid(), signum)


def _launch() -> None:
    """Become the program that the arguments name."""
    _, parent, *program = sys.argv
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # inherited: what the parent blocks would never end the program
    die_with_parent(int(parent))
    os.execv(program[0], program)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    _launch()
