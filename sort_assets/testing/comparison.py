"""Comparing a sorting with the known spikes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording, BaseSorting

_SEARCH_SAMPLES = 10


def unit_accuracies(known: BaseSorting, found: BaseSorting) -> np.ndarray:
    """How well each known unit was found: matched spikes over all spikes of the pair, in [0, 1]; shape (units,)."""
    from spikeinterface.comparison import compare_sorter_to_ground_truth

    performance = compare_sorter_to_ground_truth(known, found, exhaustive_gt=True).get_performance()
    return np.asarray(performance["accuracy"], dtype=float)


def spike_depths_uv(recording: BaseRecording, sorting: BaseSorting) -> np.ndarray:
    """How far the trace goes down at each unit's spikes on its main channel, in microvolts; shape (units,)."""
    traces = recording.get_traces(return_in_uV=True)
    traces = traces - np.median(traces, axis=0)
    channels = recording.ids_to_indices(sorting.get_property("main_channel_id"))
    around = np.arange(-_SEARCH_SAMPLES, _SEARCH_SAMPLES + 1)
    depths = []
    for unit_id, channel in zip(sorting.unit_ids, channels, strict=True):
        spikes = sorting.get_unit_spike_train(unit_id)
        spikes = spikes[(spikes >= _SEARCH_SAMPLES) & (spikes < len(traces) - _SEARCH_SAMPLES)]
        depths.append(-np.median(traces[spikes[:, None] + around, channel], axis=0).min())
    return np.asarray(depths)
