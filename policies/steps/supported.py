"""The step that keeps what the client can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from policies.decide import Choice, Context
    from policies.policy import Policy


def supported(choice: Choice, policy: Policy, context: Context) -> Choice:  # noqa: ARG001 - every step takes these
    """Remove what the client does not support; one that does not say supports everything."""
    able = context.supported
    if able is None:
        return choice.with_(choice.transports, "supported", "the client did not say what it supports: all")
    kept = [name for name in choice.transports if name in able]
    return choice.with_(kept, "supported", "the client supports {}", able or "nothing")
