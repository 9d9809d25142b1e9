"""Lupin, SpikeInterface's own sorter, put together from the best parts of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from sort_assets.backends.memory import MemoryParameter
from sort_assets.backends.sorting_components import SortingComponentsBackend


class LupinBackend(SortingComponentsBackend):
    """Lupin, whitening what we filtered."""

    name = "lupin"
    # No steps in place of filter and common reference; apply_preprocessing=False would also skip the whitening.
    filter_off: ClassVar[Mapping[str, Any]] = {"preprocessing_dict": []}
    own_defaults: ClassVar[Mapping[str, Any]] = {
        "seed": 0,
        # See SortingComponentsBackend.
        "cache_preprocessing_mode": "no-cache",
        # Intermediate results, all peaks among them: only of use to who works on the sorter.
        "save_array": False,
    }
    memory_parameters: ClassVar[tuple[MemoryParameter, ...]] = (
        # Peaks that are clustered, each with its waveform's features. Every unit needs some tens of them.
        MemoryParameter("sorter.params.n_peaks_per_channel", default=5000, limit=1000),
    )
