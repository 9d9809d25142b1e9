"""MountainSort 5 (https://github.com/flatironinstitute/mountainsort5), through SpikeInterface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from sort_assets.backends.memory import MemoryParameter
from sort_assets.backends.spikeinterface_backend import SpikeInterfaceBackend

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording


class MountainSort5Backend(SpikeInterfaceBackend):
    """MountainSort 5, whitening what we filtered.

    It reads from a flat file only, so SpikeInterface writes the whitened recording as float32, twice the size of an
    int16 `.dat`, and removes it afterwards.
    """

    name = "mountainsort5"
    # Only the filter; the whitening, which the sorter relies on, has a switch of its own.
    filter_off: ClassVar[Mapping[str, Any]] = {"filter": False}
    own_defaults: ClassVar[Mapping[str, Any]] = {
        # The whitening looks at random parts; nothing else is random.
        "whitening_seed": 0,
    }
    copies_recording = True
    temporary_copy = "recording"
    memory_parameters: ClassVar[tuple[MemoryParameter, ...]] = (
        # The training data are held as a whole, with all channels of every spike in them. A minute holds the hundreds
        # of spikes per unit that the classifier takes (200), down to rates of some hertz.
        MemoryParameter("sorter.params.scheme2_training_duration_sec", default=300, limit=60),
    )

    def machine_params(self, recording: BaseRecording) -> dict[str, Any]:
        return self.job_kwargs
