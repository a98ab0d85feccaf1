"""The step of the comparisons: each rollout puts the client into one of its arms, always the same one.

Rollouts know nothing of each other. In the order of the document, the first whose arm has a preference decides the
order of transports; later ones set parameters that none before them set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.buckets import subject
from policies.conditions import all_hold

if TYPE_CHECKING:
    from policies.decide import Choice, Context
    from policies.policy import CompiledArm, Policy


def rollouts(choice: Choice, policy: Policy, context: Context) -> Choice:
    """Find the client's arms, and take what they want."""
    if choice.ruled:
        return choice.with_(choice.transports, "rollouts", "a rule has decided: no rollout applies")
    if not policy.rollouts:
        return choice.with_(choice.transports, "rollouts", "the policy has no rollouts")
    who = subject(context.sub, context.client_id)
    if who is None:
        return choice.with_(choice.transports, "rollouts", "the client has no subject and no id: it is in no rollout")
    found = {one.name: one.arm(who) for one in policy.rollouts if all_hold(one.conditions, context)}
    if not found:
        return choice.with_(choice.transports, "rollouts", "no rollout is for this client")
    return _given(choice, found)


def _given(choice: Choice, found: dict[str, CompiledArm]) -> Choice:
    arms = {rollout: arm.name for rollout, arm in found.items()}
    overlays = tuple([arm.parameters for arm in found.values() if arm.parameters])
    for rollout, arm in found.items():
        if arm.preference is not None:
            words = "the client is in {}; {} prefers {}"
            chosen = choice.with_(arm.preference, "rollouts", words, arms, rollout, arm.preference)
            break
    else:
        chosen = choice.with_(choice.transports, "rollouts", "the client is in {}", arms)
    return chosen.in_arms(arms, overlays)
