"""The step that avoids what just failed for this client. It lasts as long as the client keeps reporting it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from policies.decide import Choice, Context
    from policies.policy import Policy


def failed(choice: Choice, policy: Policy, context: Context) -> Choice:  # noqa: ARG001 - every step takes these
    """Remove what the client reports as failed, unless nothing would remain."""
    removed = tuple([name for name in choice.transports if name in context.failed])
    if not removed:
        return choice.with_(choice.transports, "failed", "nothing that is left has failed for the client")
    kept = [name for name in choice.transports if name not in context.failed]
    if not kept:
        return choice.with_(choice.transports, "failed", "everything left has failed for the client: none is removed")
    return choice.with_(kept, "failed", "the client reports that {} failed", removed)
