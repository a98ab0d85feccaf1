"""The step that begins: the operator's order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from policies.decide import Choice, Context
    from policies.policy import Policy


def preference(choice: Choice, policy: Policy, context: Context) -> Choice:  # noqa: ARG001 - every step takes these
    """Start from the policy's preference."""
    if not policy.preference:
        return choice.with_((), "preference", "nothing that the policy prefers is installed on this gateway")
    return choice.with_(policy.preference, "preference", "the policy prefers {}", policy.preference)
