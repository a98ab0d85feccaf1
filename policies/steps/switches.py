"""The step of the kill switches, which nothing overrules: what is switched off is offered to nobody.

A client never ends up with nothing while something that it supports is switched on, whatever a rule or an arm names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from policies.decide import Choice, Context
    from policies.policy import Policy


def switches(choice: Choice, policy: Policy, context: Context) -> Choice:
    """Remove what is switched off; if nothing remains, look for anything else that the client could use."""
    kept = [name for name in choice.transports if name in policy.enabled]
    if kept:
        if len(kept) == len(choice.transports):
            return choice.with_(kept, "switches", "nothing that is left is switched off")
        off = tuple([name for name in choice.transports if name not in policy.enabled])
        return choice.with_(kept, "switches", "{} switched off", off)
    instead = _instead(policy, context)
    if not instead:
        return choice.with_((), "switches", "nothing that the client supports is switched on")
    return choice.with_(instead, "switches", "nothing is left that is switched on: {} instead", instead)


def _instead(policy: Policy, context: Context) -> tuple[str, ...]:
    """Return what the policy prefers, else what is installed; what has failed for the client only when it must be."""
    able = [_usable(names, policy, context) for names in (policy.preference, policy.installed)]
    working = [tuple([name for name in names if name not in context.failed]) for names in able]
    return next((names for names in (*working, *able) if names), ())


def _usable(names: tuple[str, ...], policy: Policy, context: Context) -> tuple[str, ...]:
    able = context.supported
    return tuple([name for name in names if name in policy.enabled and (able is None or name in able)])
