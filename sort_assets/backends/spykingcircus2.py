"""SpyKING CIRCUS 2 (Yger et al. 2018), as rewritten within SpikeInterface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from sort_assets.backends.memory import MemoryParameter
from sort_assets.backends.sorting_components import SortingComponentsBackend


class SpykingCircus2Backend(SortingComponentsBackend):
    """SpyKING CIRCUS 2, whitening what we filtered."""

    name = "spykingcircus2"
    # Filter and common reference; the whitening has a switch of its own and stays on.
    filter_off: ClassVar[Mapping[str, Any]] = {"apply_preprocessing": False}
    own_defaults: ClassVar[Mapping[str, Any]] = {
        # Motion is corrected once for all sorters, where recording.preprocessing asks for it; an estimate from few
        # channels or minutes does harm.
        "apply_motion_correction": False,
        "seed": 0,
        # See SortingComponentsBackend.
        "cache_preprocessing": {"mode": "no-cache"},
    }
    memory_parameters: ClassVar[tuple[MemoryParameter, ...]] = (
        # Peaks that are clustered, each with its waveform's features: the larger of the two counts. Every unit needs
        # some tens of them.
        MemoryParameter("sorter.params.selection.method_kwargs.n_peaks_per_channel", default=5000, limit=1000),
        MemoryParameter("sorter.params.selection.method_kwargs.min_n_peaks", default=100000, limit=20000),
    )
