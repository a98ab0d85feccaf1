"""The command line: ``gapless serve``, ``publish``, ``tail`` …, the operator's in ``admin/``, and ``doctor/``.

Rules:

* Standard output is for results (an address, a token, ids, envelopes), one a line; everything else goes to standard
  error.
* Exit statuses: 0, done, or ended by Ctrl-C where that is how it ends (serve, demo, tail); 1, it couldn't be done, and
  the message says why; 2, wrong usage or configuration; 130, publish was interrupted. `policy diff` has its own.
* What a user can cause is told in words, never as a traceback.
"""

from realtime.cli.interrupts import ending_at_once

with ending_at_once():  # loading takes a moment, in which somebody may change their mind: no traceback
    from typer.main import get_command

    from realtime.cli.commands import app
    from realtime.cli.streams import open_closed_streams

__all__ = ["app", "run"]


def run() -> None:
    """Run the command that was asked for; what comes before it ends at once too."""
    with ending_at_once():
        open_closed_streams()
        command = get_command(app)
    command()
