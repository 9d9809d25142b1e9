"""Parts of a configuration: the model of a section in which nothing is required and nothing has a default."""

import types
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, create_model

from sort_assets.config.section import Section


class SparseSection(Section):
    """Base of sections that hold only what was chosen."""

    model_config = ConfigDict(validate_default=False)


@cache
def sparse_model(model: type[BaseModel]) -> type[SparseSection]:
    """The model whose fields are those of `model`, each checked on its own and none required.

    Relations between fields are not checked: the other field may be chosen in another layer.

    Raises
    ------
    TypeError
        When a field is checked by a method of the model, and not by its annotation.
    """
    if model.__pydantic_decorators__.field_validators:
        raise TypeError(f"{model.__name__}: write the checks of single fields into their annotations")
    fields: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        nested = nested_model(info.annotation)
        annotation: Any = info.annotation if nested is None else sparse_model(nested) | None
        for constraint in info.metadata:
            annotation = Annotated[annotation, constraint]
        fields[name] = (annotation, Field(default=None, description=info.description))
    return create_model(f"Sparse{model.__name__}", __base__=SparseSection, **fields)


def nested_model(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds: itself, or None, or a list of it. None when it holds no model."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Annotated, Union, types.UnionType, tuple, list):
        return next((model for part in get_args(annotation) if (model := nested_model(part)) is not None), None)
    return None


def fields_beside(model: type[BaseModel], location: tuple[int | str, ...]) -> dict[str, type[BaseModel] | None]:
    """The fields that may stand where `location` (keys and indices, as pydantic names them) ends, with their models."""
    for part in location[:-1]:
        if isinstance(part, str) and (inner := nested_model(model.model_fields[part].annotation)) is not None:
            model = inner
    return {name: nested_model(info.annotation) for name, info in model.model_fields.items()}
