"""What every part of the configuration is: frozen, closed to keys that it doesn't know, and consistent in itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Section(BaseModel):
    """A part of the configuration or of the policy; no section exists that contradicts itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Name what is right by itself and wrong together: the key, and what is expected of it."""
        yield from ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = tuple(self.contradictions())
        if found:
            raise PydanticCustomError("contradictions", "settings contradict each other", {"found": found})
        return self
