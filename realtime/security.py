"""What is logged of those who were refused, under ``gapless.security``: why, and never what they showed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from realtime.errors import BadCredential, Forbidden

if TYPE_CHECKING:
    from realtime.errors import GaplessError

_log = structlog.get_logger("gapless.security")


def note(error: GaplessError, route: str) -> None:
    """Tell of a credential that is no good, and of one that may not; `route` is a template of ours.

    A client without any credential is no such event. What a scope is called is the client's text, and left out.
    """
    if isinstance(error, BadCredential):
        _log.info("credential refused", reason=error.detail, route=route)
    elif isinstance(error, Forbidden):
        _log.info("access refused", code=error.code, route=route)
