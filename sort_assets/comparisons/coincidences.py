"""Coincident spikes of two sortings, counted by SpikeInterface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.comparisons.fates import SharedSpikes
from sort_assets.errors import ComparisonError
from sort_assets.machine.machine_code import keep

if TYPE_CHECKING:
    from spikeinterface.core import BaseSorting

COINCIDENCE_MS = 0.4
"""SpikeInterface's default: about half the width of a spike, so that two ways to place it on a waveform agree."""
FEWEST_SAMPLES = 10
"""At least this many samples count as coincident, for low sampling frequencies: sorters place spikes at different
points of a waveform, whatever the frequency."""


def coincidence_samples(sampling_hz: float) -> int:
    """How far apart two spikes may be to count as the same, in samples."""
    return max(int(COINCIDENCE_MS * sampling_hz / 1000), FEWEST_SAMPLES)


def shared_spikes(old: BaseSorting, new: BaseSorting) -> SharedSpikes:
    """How many spikes each pair of units shares.

    One pass over both spike vectors, which may be memory-mapped; what it needs beyond them are a few matrices of old
    by new units. A spike is counted once for each pair of units.

    Parameters
    ----------
    old, new : BaseSorting
        On the same clock (`same_clock.on_same_clock`).

    Raises
    ------
    ComparisonError
        When they differ in the number of segments.
    """
    if old.get_num_segments() != new.get_num_segments():
        raise ComparisonError(
            f"One sorting has {old.get_num_segments()} segments, the other {new.get_num_segments()}.",
            remedy="Compare sortings of the same recording, opened in the same way.",
        )
    counts = [sorting.count_num_spikes_per_unit(outputs="array").astype(np.int64) for sorting in (old, new)]
    if not len(counts[0]) or not len(counts[1]):
        return SharedSpikes(np.zeros((len(counts[0]), len(counts[1])), dtype=np.int64), *counts)
    from spikeinterface.comparison import comparisontools

    keep(comparisontools.get_optimized_compute_matching_matrix())
    samples = coincidence_samples(old.get_sampling_frequency())
    matrix = comparisontools.make_match_count_matrix(old, new, samples, ensure_symmetry=True).to_numpy()
    # Bursts can be counted once too often in the unit of the first sorting (SpikeInterface limits only the second).
    return SharedSpikes(np.minimum(matrix.astype(np.int64), counts[0][:, None]), *counts)


def repeated_within(sorting: BaseSorting, one: int, other: int) -> float:
    """The part of a unit's spikes that another unit of the same sorting has too.

    Parameters
    ----------
    sorting : BaseSorting
    one, other : int
        Indices of the units.
    """
    from spikeinterface.comparison import comparisontools

    samples = coincidence_samples(sorting.get_sampling_frequency())
    shared = spikes = 0
    # Not by `get_unit_spike_train`, which keeps all trains in memory from the first one on.
    for vector in sorting.to_spike_vector(concatenated=False):
        first, second = (vector["sample_index"][vector["unit_index"] == index] for index in (one, other))
        shared += comparisontools.count_matching_events(first, second, samples)
        spikes += len(first)
    return shared / spikes if spikes else 0.0


def numpy_sorting(
    frames: list[np.ndarray], units: list[np.ndarray], unit_ids: Sequence[object] | np.ndarray, sampling_hz: float
) -> BaseSorting:
    """A sorting in memory.

    Parameters
    ----------
    frames, units : list of np.ndarray
        By segment, the sample and the index of the unit of each spike, in any order.
    unit_ids : sequence
    sampling_hz : float
    """
    from spikeinterface.core import NumpySorting
    from spikeinterface.core.base import minimum_spike_dtype

    vectors = []
    for segment, (samples, indices) in enumerate(zip(frames, units, strict=True)):
        order = np.argsort(samples, kind="stable")
        vector = np.zeros(len(samples), dtype=minimum_spike_dtype)
        vector["sample_index"], vector["unit_index"] = samples[order], indices[order]
        vector["segment_index"] = segment
        vectors.append(vector)
    return NumpySorting(np.concatenate(vectors), sampling_hz, unit_ids)
