"""The steps of a decision, in their order. A step is one function in a file of its own, named here and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.steps.failed import failed
from policies.steps.preference import preference
from policies.steps.supported import supported

if TYPE_CHECKING:
    from policies.decide import Step

STEPS: tuple[Step, ...] = (preference, supported, failed)
