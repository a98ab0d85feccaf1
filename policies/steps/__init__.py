"""The steps of a decision, in their order. A step is one function in a file of its own, named here and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.steps.failed import failed
from policies.steps.parameters import parameters
from policies.steps.preference import preference
from policies.steps.rollouts import rollouts
from policies.steps.rule import rule
from policies.steps.supported import supported
from policies.steps.switches import switches

if TYPE_CHECKING:
    from collections.abc import Callable

    from policies.decide import Choice, Context
    from policies.policy import Policy

    Step = Callable[[Choice, Policy, Context], Choice]

STEPS: tuple[Step, ...] = (
    preference,
    rule,
    rollouts,
    supported,
    failed,
    # What is degraded for many is taken back here, once breakers tell: after what failed for this client, and before
    # the switches, which nothing overrules.
    switches,
    parameters,
)
