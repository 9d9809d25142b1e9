"""What a sorter's parameters are when nobody chose them: where the shape of the recording decides, and why.

The shape is what is sorted together: number of channels, their places, sampling rate and duration. A backend names its
choices (`SorterBackend.shape_choices`); whatever a preset, a rules file, a sidecar or a run sets takes precedence.
`benchmarks/shapes.py` made the numbers that stand behind them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ShapeChoice:
    """A parameter's value for the recording's shape.

    Attributes
    ----------
    value : Any
        As JSON holds it.
    reason : str
        For people, as a sentence: what in the shape asks for it.
    """

    value: Any
    reason: str


ShapeChoices = Mapping[str, ShapeChoice]
"""By the name of the sorter's parameter. What is decided of the recording that the sorter is given, and not by a
parameter, has a name of its own, with a dot: `INPUT_REFERENCE`."""

INPUT_REFERENCE = "input.common_reference"
"""Whether the sorter is given the recording with a common reference."""
SORTER_PARAMS = "sorter.params."
"""What the dotted field of every parameter of a sorter begins with."""


def dotted_field(name: str) -> str:
    """The name of a choice among all settings: "sorter.params.do_CAR" for "do_CAR"."""
    return name if "." in name else f"{SORTER_PARAMS}{name}"


def values(choices: ShapeChoices) -> dict[str, Any]:
    """The values alone."""
    return {name: choice.value for name, choice in choices.items()}
