"""JSON Schemas of models: pydantic's and msgspec's, by name, as the document's components."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

if TYPE_CHECKING:
    from collections.abc import Collection

    from pydantic import GetJsonSchemaHandler
    from pydantic_core.core_schema import CoreSchema, WithDefaultSchema

    from realtime.openapi.operation import Schema

_PLACE: Final = "#/components/schemas/"


class Told(BaseModel):
    """What the service answers, for its description alone: what has a default may be absent."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class As:
    """Marks a field that is checked elsewhere, and described as this model: ``Annotated[dict, As(Model)]``."""

    def __init__(self, model: type[BaseModel]) -> None:
        """Describe as a model."""
        self._model = model

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Give pydantic the model's schema for that of the field."""
        return handler(self._model.__pydantic_core_schema__)


class _Plain(GenerateJsonSchema):
    """Without titles, which would repeat names, and without defaults, which are written in units of our own."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401, ARG002 - as pydantic has it
        return False

    def default_schema(self, schema: WithDefaultSchema) -> Schema:
        return self.generate_inner(schema["schema"])


def reference(model: type) -> Schema:
    """Refer to a model's schema."""
    return {"$ref": _PLACE + model.__name__}


def components(models: Collection[type]) -> Schema:
    """Return the schemas of models and of what is in them, by name."""
    pairs: Any = [(model, "validation") for model in models if issubclass(model, BaseModel)]
    _, schema = models_json_schema(pairs, ref_template=_PLACE + "{model}", schema_generator=_Plain)
    structs = [model for model in models if issubclass(model, msgspec.Struct)]
    _, described = msgspec.json.schema_components(structs, ref_template=_PLACE + "{name}")
    return {name: _untitled(definition) for name, definition in {**described, **schema["$defs"]}.items()}


def _untitled(schema: Schema) -> Schema:
    return {name: value for name, value in schema.items() if name != "title"}
