"""The step of the exceptions: the first rule that matches wins, and keeps the client out of all rollouts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.conditions import all_hold

if TYPE_CHECKING:
    from policies.decide import Choice, Context
    from policies.policy import Policy


def rule(choice: Choice, policy: Policy, context: Context) -> Choice:
    """Take the order and the parameters of the first rule that is for this client."""
    for one in policy.rules:
        if all_hold(one.conditions, context):
            break
    else:
        words = "no rule is for this client" if policy.rules else "the policy has no rules"
        return choice.with_(choice.transports, "rule", words)
    if one.preference is None:
        chosen = choice.with_(choice.transports, "rule", 'the rule "{}" sets parameters', one.name)
    else:
        chosen = choice.with_(one.preference, "rule", 'the rule "{}" prefers {}', one.name, one.preference)
    return chosen.by_rule(one.parameters)
