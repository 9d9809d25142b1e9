"""The launchpad's form for `SortingPipelineConfig`: typed, described, and sparse.

A `dagster.Config` would fill in every default, and then nobody could tell "default" from "chosen". Dagster's config
schema has optional fields without a default, so what is not chosen stays absent; types and misspelt names are still
checked when the run is launched.
"""

import types
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import dagster as dg
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined


def sparse_shape(model: type[BaseModel], path: str = "") -> dg.Shape:
    """The config shape of a pydantic model in which every field is optional and none has a default."""
    return dg.Shape({name: _field(f"{path}{name}", info) for name, info in model.model_fields.items()})


def one_of(values: Iterable[str]) -> dg.Enum:
    """A choice among words, named after them: Dagster's message for a wrong one shows only the name."""
    return dg.Enum(" | ".join(values), [dg.EnumValue(value) for value in values])


def _field(path: str, info: FieldInfo) -> dg.Field:
    annotation: Any = info.annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return dg.Field(sparse_shape(annotation, f"{path}."), is_required=False, description=info.description)
    return dg.Field(_config_type(annotation, path), is_required=False, description=_description(info))


def _description(info: FieldInfo) -> str:
    default = info.get_default(call_default_factory=True, validated_data={})
    shown = "" if default is PydanticUndefined else f" Default: {_yaml_word(default)}."
    return f"{info.description}{shown}"


def _yaml_word(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return "empty" if value in ({}, ()) else str(value)


def _config_type(annotation: Any, path: str) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _config_type(arguments[0], path)
    if origin in (Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return dg.Noneable(_config_type(inner, path))
    if origin is Literal:
        return one_of(arguments)
    if origin is tuple:
        return dg.Array(_config_type(arguments[0], path))
    if origin is dict:
        return dg.Permissive()
    if annotation in (int, float, bool, str):
        return annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return sparse_shape(annotation, f"{path}.")
    raise TypeError(f"{path}: the launchpad has no form for {annotation}")
