"""The small changes that operators make most: a switch, a ramp. Pure: a document in, a document out."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from policies.document import parse
from realtime.errors import InvalidField, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from policies.document import Document


def switched(document: Document, name: str, *, enabled: bool) -> Document:
    """Switch a transport on or off; its parameters stay.

    Raises:
        NotFound: the document knows no such transport.
    """
    value = document.dump()
    if name not in value["transports"]:
        raise NotFound(f"there is no transport {name!r}{_nearest(name, value['transports'])}")
    value["transports"][name]["enabled"] = enabled
    return parse(value)


def ramped(document: Document, name: str, weights: Mapping[str, float]) -> Document:
    """Give a rollout's arms other weights, in percent; an arm that is not named keeps its own.

    Raises:
        NotFound: there is no such rollout.
        InvalidField: there is no such arm, or the weights don't sum to 100.
    """
    value = document.dump()
    rollouts = {rollout["name"]: rollout for rollout in value["rollouts"]}
    if name not in rollouts:
        raise NotFound(f"there is no rollout {name!r}{_nearest(name, rollouts)}")
    arms = rollouts[name]["arms"]
    for arm in weights:
        if arm not in arms:
            raise InvalidField(
                f"weights.{arm}: the rollout has no such arm{_nearest(arm, arms)}", field=f"weights.{arm}"
            )
    for arm, weight in weights.items():
        arms[arm]["weight"] = weight
    try:
        return parse(value)
    except InvalidField as error:
        raise InvalidField(f"weights: {error.detail}", field="weights") from None


def _nearest(wanted: str, known: Iterable[str]) -> str:
    known = list(known)
    near = get_close_matches(wanted, known, 1)
    return (
        f"; did you mean {near[0]}?"
        if near
        else f"; there {'are' if len(known) > 1 else 'is'} {', '.join(known) or 'none'}"
    )
