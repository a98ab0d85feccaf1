"""The step that keeps what the client can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from policies.decide import Choice, Context, Policy


def supported(choice: Choice, policy: Policy, context: Context) -> Choice:  # noqa: ARG001 - every step takes these
    """Remove what the client does not support; one that does not say supports everything."""
    if context.supported is None:
        return choice.with_(choice.transports, "supported", "the client did not say what it supports: all")
    kept = [name for name in choice.transports if name in context.supported]
    return choice.with_(kept, "supported", f"the client supports {', '.join(context.supported) or 'nothing'}")
