"""What a sorter's parameters are when nobody chose them: where the shape of the recording decides, and why.

The shape is what is sorted together: number of channels, their places, sampling rate and duration. A backend names its
choices (`SorterBackend.shape_choices`); whatever a preset, a rules file, a sidecar or a run sets takes precedence.
`benchmarks/shapes.py` made the numbers that stand behind them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np


class Shaped(Protocol):
    """What a recording tells of its shape, as SpikeInterface names it."""

    @property
    def sampling_frequency(self) -> float: ...
    def get_num_channels(self) -> int: ...
    def get_num_samples(self) -> int: ...
    def get_duration(self) -> float: ...
    def has_probe(self) -> bool: ...
    def get_channel_locations(self) -> np.ndarray: ...
    def get_channel_groups(self) -> np.ndarray: ...


@dataclass(frozen=True)
class RecordingShape:
    """The shape of a recording that is not opened.

    Attributes
    ----------
    channels : int
    sampling_frequency : float
        In Hz.
    duration_s : float
    locations : numpy.ndarray or None
        Shape (channels, 2): x and y in micrometres; None where they are not known.
    groups : numpy.ndarray or None
        Shape (channels,): each channel's shank; None for one shank.
    """

    channels: int
    sampling_frequency: float
    duration_s: float
    locations: np.ndarray | None = None
    groups: np.ndarray | None = None

    def get_num_channels(self) -> int:
        """Number of channels."""
        return self.channels

    def get_num_samples(self) -> int:
        """Samples per channel."""
        return round(self.duration_s * self.sampling_frequency)

    def get_duration(self) -> float:
        """Length in seconds."""
        return self.duration_s

    def has_probe(self) -> bool:
        """Whether the places of the channels are known."""
        return self.locations is not None

    def get_channel_locations(self) -> np.ndarray:
        """Places of the channels, shape (channels, 2), in micrometres.

        Raises
        ------
        ValueError
            When they are not known.
        """
        if self.locations is None:
            raise ValueError("the places of the channels are not known")
        return self.locations

    def get_channel_groups(self) -> np.ndarray:
        """Each channel's shank, shape (channels,)."""
        import numpy as np

        return np.zeros(self.channels, dtype=int) if self.groups is None else self.groups

    @property
    def num_bytes(self) -> int:
        """Size of the whole recording as float32."""
        return 4 * self.channels * self.get_num_samples()


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
