"""The acts on the policy: a switch, a ramp, and the way back. Each tells whom it will move before it is in force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from admin.acts import Question, counted, field, number
from policies.difference import differences
from realtime.errors import InvalidField, PreconditionRequired

if TYPE_CHECKING:
    from collections.abc import Mapping

    from admin.acts import Form, Reading
    from admin.desk import Desk, Operator, Preview
    from policies.document import Document

_WEIGHT: Final = "weight."


@dataclass(frozen=True, slots=True)
class Switch:
    """Switch a transport on or off."""

    name: str
    enabled: bool

    @classmethod
    def read(cls, form: Form) -> Switch:
        """Read it from a form."""
        return cls(field(form, "name"), form.get("enabled") == "on")

    @property
    def fields(self) -> Mapping[str, str]:
        """What the form of the dialog repeats."""
        return {"act": "switch", "name": self.name, "enabled": "on" if self.enabled else "off"}

    async def ask(self, desk: Desk, expected: int | None) -> Question:
        """Tell whom it would move."""
        words = f"Switch {self.name} {'on' if self.enabled else 'off'}"
        return await _question(desk, expected, desk.switched(self.name, enabled=self.enabled), words)

    async def do(self, desk: Desk, operator: Operator, reason: str, expected: int | None) -> str:
        """Throw the switch."""
        document = desk.switched(self.name, enabled=self.enabled)
        revision = await desk.put(document.dump(), operator, reason, _required(expected))
        return f"{self.name} is switched {'on' if self.enabled else 'off'}: revision {revision.number} is in force"


@dataclass(frozen=True, slots=True)
class Ramp:
    """Give a rollout's arms other weights."""

    name: str
    weights: Mapping[str, float]

    @classmethod
    def read(cls, form: Form) -> Ramp:
        """Read it from a form, whose fields are called `weight.<arm>`."""
        arms = [key.removeprefix(_WEIGHT) for key in form if key.startswith(_WEIGHT)]
        return cls(field(form, "name"), {arm: _percent(arm, form[f"{_WEIGHT}{arm}"]) for arm in arms})

    @property
    def fields(self) -> Mapping[str, str]:
        """What the form of the dialog repeats."""
        return {"act": "ramp", "name": self.name} | {f"{_WEIGHT}{arm}": f"{one:g}" for arm, one in self.weights.items()}

    async def ask(self, desk: Desk, expected: int | None) -> Question:
        """Tell whom it would move."""
        document = desk.ramped(self.name, self.weights)
        return await _question(desk, expected, document, f"Change the weights of {self.name}")

    async def do(self, desk: Desk, operator: Operator, reason: str, expected: int | None) -> str:
        """Change the weights."""
        document = desk.ramped(self.name, self.weights)
        revision = await desk.put(document.dump(), operator, reason, _required(expected))
        return f"{self.name} has other weights: revision {revision.number} is in force"


@dataclass(frozen=True, slots=True)
class Restore:
    """Put an earlier revision in force again."""

    number: int

    @classmethod
    def read(cls, form: Form) -> Restore:
        """Read it from a form."""
        return cls(number(form, "number"))

    @property
    def fields(self) -> Mapping[str, str]:
        """What the form of the dialog repeats."""
        return {"act": "restore", "number": str(self.number)}

    @property
    def _what(self) -> str:
        return f"revision {self.number}" if self.number else "the configuration"

    async def ask(self, desk: Desk, expected: int | None) -> Question:
        """Tell whom it would move."""
        return await _question(desk, expected, await desk.revisions.earlier(self.number), f"Restore {self._what}")

    async def do(self, desk: Desk, operator: Operator, reason: str, expected: int | None) -> str:
        """Restore it."""
        revision = await desk.restore(self.number, operator, reason, _required(expected))
        return f"Restored {self._what}: revision {revision.number} is in force"


CHANGES: Final[Reading] = {"switch": Switch.read, "ramp": Ramp.read, "restore": Restore.read}


async def _question(desk: Desk, expected: int | None, document: Document, title: str) -> Question:
    await desk.revisions.require(_required(expected))
    changes = differences(desk.revisions.document.dump(), document.dump())
    if not changes:
        return Question(title, "Apply", "Nothing would change: this is what is in force.", wants_reason=False)
    preview = await desk.preview(document)
    warning = _unanswered(preview)
    return Question(title, "Apply", _summary(preview), _moves(preview), changes, warning)


def _summary(preview: Preview) -> str:
    if not preview.moved:
        return f"Moves none of {counted(preview.connections, 'connection')}."
    return f"Moves {preview.moved:,} of {counted(preview.connections, 'connection')}:"


def _moves(preview: Preview) -> list[str]:
    moves = [(count, before, after) for before, counts in preview.moves.items() for after, count in counts.items()]
    return [f"{before or 'none'} → {after}: {count:,}" for count, before, after in sorted(moves, reverse=True)]


def _unanswered(preview: Preview) -> str:
    if not preview.unanswered:
        return ""
    return f"{counted(preview.unanswered, 'worker')} did not answer in time: their clients are not counted."


def _required(expected: int | None) -> int:
    if expected is None:
        raise PreconditionRequired("the form does not say which revision it was made from: reload the page")
    return expected


def _percent(arm: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidField(f"{arm}: a number of percent from 0 to 100 is expected", field=f"weights.{arm}") from None
