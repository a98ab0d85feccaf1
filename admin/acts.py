"""What an operator can do from the console. Each act says what it will bring about before it is confirmed.

An act is a value. The page asks about it (`ask`), the answer is a dialog whose form repeats the act's fields, and its
confirmation does it (`do`). Acts on the policy are in `admin.changes`, acts on clients and gateways in
`admin.commands`; the tables there name them, and nothing else needs to know how many there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from realtime.errors import InvalidField

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from admin.desk import Desk, Operator
    from policies.difference import Change

    Form = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Question:
    """What the operator is asked before an act is done."""

    title: str
    label: str
    """What the button says that does it."""
    summary: str = ""
    moves: Sequence[str] = ()
    changes: Sequence[Change] = ()
    warning: str = ""
    wants_reason: bool = True
    is_grave: bool = False
    """Whether it takes something away."""


class Act(Protocol):
    """Something that an operator can do."""

    @property
    def fields(self) -> Mapping[str, str]:
        """What the form of the dialog repeats, so that the same act is read from it."""

    async def ask(self, desk: Desk, expected: int | None) -> Question:
        """Look at what it would bring about; `expected` is the revision that the operator saw."""

    async def do(self, desk: Desk, operator: Operator, reason: str, expected: int | None) -> str:
        """Do it, and tell that it was done."""


Reading = dict[str, "Callable[[Form], Act]"]


def field(form: Form, name: str) -> str:
    """Return a field of a form.

    Raises:
        InvalidField: it is not there.
    """
    text = form.get(name, "")
    if not text:
        raise InvalidField(f"{name}: a value is expected", field=name)
    return text


def number(form: Form, name: str) -> int:
    """Return a field of a form that is a whole number; raises as `field` does."""
    text = field(form, name)
    if not (text.isascii() and text.isdigit() and len(text) < 16):  # noqa: PLR2004 - what JSON carries exactly
        raise InvalidField(f"{name}: a whole number is expected", field=name)
    return int(text)


def counted(count: int, noun: str) -> str:
    """Write a number with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def total(counts: Mapping[str, Any]) -> int:
    """Add up connections."""
    return sum(counts.values())
