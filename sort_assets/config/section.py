"""What the parts of the configuration are made of."""

import math
from collections.abc import Iterator
from numbers import Real
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError


def _only_finite(parameters: dict[str, Any]) -> dict[str, Any]:
    for path, number in _numbers(parameters):
        if not math.isfinite(number):
            raise PydanticCustomError("finite_number", "Input should be a finite number", {"inside": path})
    return parameters


def _numbers(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Real]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _numbers(inner, (*path, str(index)))
    elif isinstance(value, Real):
        yield path, value


PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Parameters = Annotated[dict[str, Any], AfterValidator(_only_finite)]
"""Parameters of somebody else's function: anything that JSON holds, and so no NaN and no infinite number."""


class Section(BaseModel):
    """Base of all parts: unknown keys, NaN and infinite values are errors, and nothing changes afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True, defer_build=True)
