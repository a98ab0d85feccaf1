"""The last step: the parameters of what remains. Defaults, what the policy sets for everyone, then for this client."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from policies.decide import Choice, Context
    from policies.policy import Overlay, Policy


def parameters(choice: Choice, policy: Policy, context: Context) -> Choice:  # noqa: ARG001 - every step takes these
    """Lay what a rule or arms set over the policy's parameters; of several arms, the first that sets one wins."""
    overlays = choice.overlays
    if not any(overlays):
        words = "the policy's own parameters"
        return choice.with_(choice.transports, "parameters", words, parameters=policy.parameters)
    merged = {name: _merged(policy.parameters[name], name, overlays) for name in choice.transports}
    changed = tuple([name for name in choice.transports if any(name in overlay for overlay in overlays)])
    words, by = "{} set parameters for {}", "the rule" if choice.ruled else "the arms"
    told = changed or "nothing that is left"
    return choice.with_(choice.transports, "parameters", words, by, told, parameters=merged)


def _merged(defaults: Mapping[str, int], name: str, overlays: tuple[Overlay, ...]) -> Mapping[str, int]:
    merged = dict(defaults)
    for overlay in reversed(overlays):
        merged.update(overlay.get(name, {}))
    return merged
