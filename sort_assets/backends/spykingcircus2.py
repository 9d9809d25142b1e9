"""SpyKING CIRCUS 2 (Yger et al. 2018), as rewritten within SpikeInterface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from sort_assets.backends.sorting_components import SortingComponentsBackend, cache_mode
from sort_assets.backends.spikeinterface_backend import CHUNK_DURATION, MemoryParameter

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording


class SpykingCircus2Backend(SortingComponentsBackend):
    """SpyKING CIRCUS 2, whitening what we filtered."""

    name = "spykingcircus2"
    # Filter and common reference; the whitening has a switch of its own and stays on.
    filter_off: ClassVar[Mapping[str, Any]] = {"apply_preprocessing": False}
    own_defaults: ClassVar[Mapping[str, Any]] = {
        # Motion is corrected once for all sorters, where recording.preprocessing asks for it; an estimate from few
        # channels or minutes does harm.
        "apply_motion_correction": False,
        # Otherwise peaks are looked for until there are enough, and which ones that are depends on the threads' speed.
        "deterministic_peaks_detection": True,
        "seed": 0,
    }
    memory_parameters: ClassVar[tuple[MemoryParameter, ...]] = (
        CHUNK_DURATION,
        # Peaks that are clustered, each with its waveform's features: the larger of the two counts. Every unit needs
        # some tens of them.
        MemoryParameter("sorter.params.selection.method_kwargs.n_peaks_per_channel", default=5000, floor=1000),
        MemoryParameter("sorter.params.selection.method_kwargs.min_n_peaks", default=100000, floor=20000),
    )

    def machine_params(self, recording: BaseRecording) -> dict[str, Any]:
        return {**super().machine_params(recording), "cache_preprocessing": {"mode": cache_mode(recording)}}
